"""Sweeps on Dask: runs a second with one worker and with two, what travels, and 200 workers with empty runs.

``python -m benchmarks.cluster [PART ...]``. A run of the first part sleeps for a second, so what is measured is the
way there and back and not how many cores this machine has. Others say what empty runs take in the client and the
scheduler, and the bytes of a real job and its result. In the last, client, scheduler and 200 workers share one process
and one lock: its runs a second are a lower bound.
"""

import logging
import os
import pickle
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cloudpickle

from prefine.emulator.experiment.attempts import attempt, recorded
from prefine.emulator.experiment.cluster import Dask, _DaskExecutor
from prefine.emulator.experiment.executor import Serial, Workers
from prefine.emulator.experiment.job import execute
from prefine.emulator.experiment.runs import run_many
from prefine.emulator.experiment.store import Store
from prefine.emulator.experiment.sweep import jobs_of
from prefine.emulator.plugins import policy_parts
from prefine.emulator.scenario.source import read_source
from tests.emulator.experiment import synthetic
from tests.emulator.experiment.synthetic import SyntheticJob

LONG_RUNS, RUN_S = 24, 1.0
EMPTY_RUNS, MANY = 1000, 200
ROOT = Path(__file__).parents[1]


def swept(workers: Workers, runs: int, run_s: float) -> float:
    """Runs a second of a sweep, its results stored."""
    jobs = [SyntheticJob("uniform", seed, (("budget.delay_s", 4),), run_s) for seed in range(runs)]
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        run_many(jobs, synthetic.execute, workers, Store(Path(folder)))
        return runs / (time.perf_counter() - began)


@contextmanager
def cluster(workers: int) -> Iterator[tuple[str, int]]:
    """A scheduler and ``workers`` worker processes of this machine; the scheduler's address and process id."""
    from distributed import Client

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "scheduler.json"
        started = [_dask("scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(file))]
        try:
            while not file.exists() or not file.stat().st_size:
                time.sleep(0.05)
            started += [
                _dask("worker", "--scheduler-file", str(file), "--nthreads", "1", "--no-nanny") for _ in range(workers)
            ]
            with Client(scheduler_file=str(file), set_as_default=False) as client:  # type: ignore[no-untyped-call]  # untyped
                client.wait_for_workers(workers, timeout=60)
                address = str(client.scheduler.address)
            swept(Dask(address), 2 * workers, 0.0)  # imports
            yield address, started[0].pid
        finally:
            for process in started:
                process.kill()
                process.wait()


def _dask(*words: str) -> "subprocess.Popen[bytes]":
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-m", "dask", *words, "--no-dashboard"], env=environment, **quiet)


def efficiency() -> None:
    """One worker, then two."""
    rates = []
    for workers in (1, 2):
        with cluster(workers) as (address, _):
            rates.append(swept(Dask(address), LONG_RUNS, RUN_S))
        share = rates[-1] / (workers * rates[0])
        print(f"{workers} worker(s), runs of {RUN_S:g} s: {rates[-1]:.3f} runs/s, {share:.2f} of {workers} times one")


def empty() -> None:
    """Empty runs on two workers: processor time of a run here, where results are kept, and in the scheduler."""
    import psutil

    with cluster(2) as (address, process_id):
        scheduler = psutil.Process(process_id)
        before = scheduler.cpu_times()
        rate, here_s = _measured(Dask(address))
        after = scheduler.cpu_times()
        there_s = (after.user + after.system - before.user - before.system) / EMPTY_RUNS
    print(
        f"2 workers, {EMPTY_RUNS} empty runs: {rate:.0f} runs/s; processor a run: {1e3 * here_s:.2f} ms here, "
        f"{1e3 * there_s:.2f} ms in the scheduler"
    )


def travelling() -> None:
    """A job and its result as they go to the scheduler and come back."""
    for name in ("both-stages", "default"):
        (job,) = jobs_of(read_source(name), [], policy_parts(["uniform"]), [0])
        sent = len(cloudpickle.dumps((recorded, execute, job)))
        plain, back = (len(pickle.dumps(work(execute, job))) for work in (attempt, recorded))
        print(f"{name}: {sent} bytes there, {back} back ({plain} if results were pickled as they are)")


QUIET = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.system-monitor.interval": "1h",
    "distributed.admin.system-monitor.gil.enabled": False,
}
"""Each worker watches its process; 200 that watch the same one do nothing else."""


@dataclass(frozen=True)
class Local:
    """The workers of a cluster inside this process."""

    cluster: Any
    width: int
    far: bool = True

    def open(self) -> Executor:
        """An executor on it, by a client of its own."""
        from distributed import Client

        return _DaskExecutor(Client(self.cluster, set_as_default=False))  # type: ignore[no-untyped-call]  # untyped


def many() -> None:
    """Empty runs on 200 workers in this process, and here without a cluster."""
    import dask
    from distributed import LocalCluster

    logging.disable(logging.ERROR)  # when they end, all say that the scheduler is gone
    alone, alone_s = _measured(Serial())
    options: dict[str, Any] = {"processes": False, "dashboard_address": ":0", "memory_limit": 0}
    with (
        dask.config.set(QUIET),
        LocalCluster(n_workers=MANY, threads_per_worker=1, **options) as local,  # type: ignore[no-untyped-call]  # untyped
    ):
        workers = Local(local, 2 * MANY)
        swept(workers, MANY, 0.0)
        rate, used_s = _measured(workers)
    print(
        f"{MANY} workers in one process, {EMPTY_RUNS} empty runs: {rate:.0f} runs/s, {1e3 * used_s:.2f} ms of "
        f"processor a run; without Dask {alone:.0f} runs/s, {1e3 * alone_s:.2f} ms"
    )


def _measured(workers: Workers) -> tuple[float, float]:
    """Empty runs a second, and processor time of one in seconds."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    rate = swept(workers, EMPTY_RUNS, 0.0)
    after = resource.getrusage(resource.RUSAGE_SELF)
    return rate, (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / EMPTY_RUNS


PARTS: dict[str, Callable[[], None]] = {
    "efficiency": efficiency,
    "empty": empty,
    "travelling": travelling,
    "many": many,
}


def main(wanted: Sequence[str]) -> None:
    """The parts that are ``wanted``, or all."""
    for name in wanted or PARTS:
        PARTS[name]()


if __name__ == "__main__":
    main(sys.argv[1:])
