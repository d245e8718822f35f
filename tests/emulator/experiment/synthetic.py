"""Stands in for the engine: jobs whose results look like emulations, at no cost. Importable by worker processes."""

import math
import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from prefine.emulator.analysis.entries import run_name
from prefine.emulator.errors import InfeasibleError
from prefine.emulator.randomness import stream
from prefine.emulator.records import DeviceRecord, RoundRecord, RunRecord, RunResult

DEVICES = 4
PRETRAIN_SHARE = {"joint": 0.3, "uniform": 0.5, "finetune-only": 0.0, "pretrain-only": 1.0}
ROUNDS_PER_S = {"joint": 2.0, "uniform": 1.2, "finetune-only": 1.5, "pretrain-only": 4.0}


@dataclass(frozen=True)
class SyntheticJob:
    """``nap_s`` of real time per run; ``mischief`` names a file that is left behind by the first to misbehave."""

    policy: str
    seed: int
    varied: tuple[tuple[str, object], ...] = ()
    nap_s: float = 0.0
    mischief: str = ""

    @property
    def run_id(self) -> str:
        return run_name(self.varied, self.policy, self.seed)

    @property
    def label(self) -> str:
        return self.policy

    @property
    def lasting(self) -> bool:
        return not self.mischief.startswith("unknown")

    def content(self) -> Mapping[str, object]:
        return {"policy": self.policy, "seed": self.seed, "varied": list(map(list, self.varied))}


def execute(job: SyntheticJob) -> RunResult:
    """A run with a plausible course; the same job always gives the same result."""
    time.sleep(job.nap_s)
    if job.policy not in PRETRAIN_SHARE:
        raise InfeasibleError("budget.delay_s = 0.1: one round needs\nat least 2 s")
    delay_s = float(dict(job.varied).get("budget.delay_s", 10.0))  # type: ignore[arg-type]  # tests vary it by numbers
    total = int(delay_s * ROUNDS_PER_S[job.policy])
    pretrain = int(total * PRETRAIN_SHARE[job.policy])
    rounds, devices = _rounds(job, total, pretrain, 0.98 * delay_s / total)
    gradients = [row.grad_norm_sq for row in rounds]
    run = RunRecord(
        policy=job.policy,
        seed=job.seed,
        status="done",
        pretrain_rounds=pretrain,
        finetune_rounds=total - pretrain,
        planned_pretrain_rounds=pretrain,
        planned_finetune_rounds=total - pretrain + 1,
        predicted_delay_s=delay_s,
        delay_s=rounds[-1].end_s,
        predicted_energy_j=0.02 * pretrain + 0.6,
        energy_j=0.02 * pretrain + 0.55,
        server_energy_j=0.02 * pretrain,
        compute_energy_j=0.3,
        uplink_energy_j=0.2,
        downlink_energy_j=0.05,
        wasted_energy_j=0.0,
        overrun_delay_s=0.0,
        overrun_energy_j=0.0,
        bound=2.0 / total + 0.1,
        bound_ft=math.nan,
        mean_grad_norm_sq=sum(gradients) / total,
        train_loss=rounds[-1].train_loss,
        test_accuracy=rounds[-1].test_accuracy,
        stop_reason="delay budget",
    )
    return RunResult(run, rounds, devices)


def _rounds(
    job: SyntheticJob, total: int, pretrain: int, length_s: float
) -> tuple[tuple[RoundRecord, ...], tuple[DeviceRecord, ...]]:
    random = stream(job.seed, "synthetic")
    rounds, devices = [], []
    for index in range(total):
        start = index * length_s
        tuning = index >= pretrain
        progress = 1 - math.exp(-index / (20 if tuning else 40))
        noise = 0.01 * random.standard_normal()
        rounds.append(
            RoundRecord(
                stage="finetune" if tuning else "pretrain",
                round=index,
                start_s=start,
                end_s=start + length_s,
                energy_j=0.02,
                train_loss=2.3 - progress,
                test_accuracy=0.1 + 0.8 * progress + noise,
                grad_norm_sq=0.5 * (1 - progress) + 0.01,
                participants=DEVICES if tuning else 0,
                server_batch=0 if tuning else 32,
                server_frequency_hz=math.nan if tuning else 4e9,
            )
        )
        for device in range(DEVICES if tuning else 0):
            heard = start + 0.1 * length_s
            computed = start + length_s * (0.3 + 0.1 * device)
            devices.append(
                DeviceRecord(
                    round=index,
                    device=device,
                    batch=16 + device,
                    frequency_hz=1e9 + 1e8 * device,
                    power_w=0.1,
                    download_start_s=start,
                    download_end_s=heard,
                    compute_start_s=heard,
                    compute_end_s=computed,
                    upload_start_s=computed,
                    upload_end_s=computed + length_s * random.uniform(0.1, 0.3),
                    compute_energy_j=0.003,
                    uplink_energy_j=0.002,
                    delivered_bits=1e5,
                    outcome="delivered",
                )
            )
    return tuple(rounds), tuple(devices)


def die_once(job: SyntheticJob) -> RunResult:
    """As ``execute``, but the first process that gets here is killed as the kernel kills one that is out of memory."""
    if job.policy == "joint" and job.seed == 1:
        try:
            Path(job.mischief).touch(exist_ok=False)
        except FileExistsError:
            return execute(job)
        os.kill(os.getpid(), signal.SIGKILL)
    return execute(job)


def die_always(job: SyntheticJob) -> RunResult:
    """As ``execute``, but one job kills its process each time."""
    if job.policy == "joint" and job.seed == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return execute(job)


def raise_bug(job: SyntheticJob) -> RunResult:
    """As ``execute``, but one policy has a bug."""
    if job.policy == "uniform":
        raise ZeroDivisionError("float division by zero")
    return execute(job)


def count(job: SyntheticJob) -> RunResult:
    """As ``execute``, but appends a line to the job's ``mischief`` file each time it is really run."""
    with Path(job.mischief).open("a") as handle:
        handle.write(f"{job.run_id}\n")
    return execute(job)
