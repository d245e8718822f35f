"""One emulation: everything set up on a fresh virtual clock, run to its end, recorded and audited."""

import math
from itertools import chain

import simpy

from prefine.emulator.records import RunRecord, RunResult
from prefine.emulator.simulation.audit import audit
from prefine.emulator.simulation.cohort import Cohort
from prefine.emulator.simulation.device import Device
from prefine.emulator.simulation.energy import BUDGET_SLACK, Ledger
from prefine.emulator.simulation.fastpath import foresight
from prefine.emulator.simulation.processor import Processor
from prefine.emulator.simulation.server import EdgeServer
from prefine.emulator.simulation.spec import Setting
from prefine.emulator.simulation.uplink import Medium

OVERRUN_HORIZON = 1000.0
"""With ``on_budget = "record"``, a run without signal ends after this multiple of its delay budget."""


def run(setting: Setting, run_id: str, policy: str, seed: int) -> RunResult:
    """Emulate ``setting`` and return its records.

    Raises AuditError where the run breaks an invariant, TraceEndError where a trace ends, PolicyError where an
    adaptive policy decides what cannot be done.
    """
    problem, budget, channel = setting.problem, setting.problem.budget, setting.channel
    env = simpy.Environment(0.0)
    ledger = Ledger(budget.energy_j if setting.stop_at_budget else math.inf)
    medium = Medium(env, channel, setting.access, problem.radio.noise_psd_w_hz, ledger)
    horizon_s = budget.delay_s * (1.0 + BUDGET_SLACK if setting.stop_at_budget else OVERRUN_HORIZON)
    devices = [
        Device(
            k,
            run_id,
            env,
            problem,
            channel,
            medium,
            ledger,
            Processor(setting.processor, k, float(problem.devices.capacitance[k])),
            setting.faults,
            lambda: server.stop("energy"),
        )
        for k in range(len(problem.devices))
    ]
    cohort = Cohort(env, devices, setting.faults, setting.participation, setting.selection, horizon_s)
    ahead = foresight(run_id, problem, channel, setting.access, setting.processor, setting.faults)
    server = EdgeServer(run_id, env, setting, cohort, ahead, ledger, horizon_s)
    env.timeout(horizon_s).callbacks.append(lambda _: server.stop("delay" if setting.stop_at_budget else "no signal"))
    reason = str(env.run(until=server.process))
    result = RunResult(
        _summary(setting, run_id, policy, seed, server, ledger, env.now, reason),
        tuple(server.rounds),
        tuple(chain.from_iterable(server.device_rounds)),
    )
    audit(result, setting, medium.peak_band_hz)
    return result


def _summary(
    setting: Setting,
    run_id: str,
    policy: str,
    seed: int,
    server: EdgeServer,
    ledger: Ledger,
    now_s: float,
    reason: str,
) -> RunRecord:
    budget = setting.problem.budget
    delay_s = min(now_s, budget.delay_s) if setting.stop_at_budget else now_s
    norms = [record.grad_norm_sq for record in server.rounds if not math.isnan(record.grad_norm_sq)]
    return RunRecord(
        run_id=run_id,
        policy=policy,
        seed=seed,
        status="done",
        pretrain_rounds=server.rounds_done["pretrain"],
        finetune_rounds=server.rounds_done["finetune"],
        planned_pretrain_rounds=int(setting.plan.pretrain_rounds),
        planned_finetune_rounds=int(setting.plan.finetune_rounds),
        predicted_delay_s=setting.prediction.delay_s,
        delay_s=delay_s,
        predicted_energy_j=setting.prediction.energy_j,
        energy_j=ledger.total_j,
        server_energy_j=float(ledger.spent_j["server"]),
        compute_energy_j=float(ledger.spent_j["compute"]),
        uplink_energy_j=float(ledger.spent_j["uplink"]),
        downlink_energy_j=float(ledger.spent_j["downlink"]),
        wasted_energy_j=ledger.wasted_j,
        overrun_delay_s=max(0.0, delay_s - budget.delay_s),
        overrun_energy_j=max(0.0, ledger.total_j - budget.energy_j * (1.0 + BUDGET_SLACK)),
        bound=setting.prediction.bound,
        bound_ft=setting.prediction.bound_ft,
        mean_grad_norm_sq=math.fsum(norms) / len(norms) if norms else math.nan,
        train_loss=server.evaluation.train_loss,
        test_accuracy=server.evaluation.test_accuracy,
        stop_reason=reason,
    )
