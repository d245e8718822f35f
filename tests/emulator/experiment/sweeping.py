"""A sweep as a process of its own, to be killed: python -m tests.emulator.experiment.sweeping FOLDER [SCHEDULER]."""

import os
import signal
import sys
from pathlib import Path

from prefine.emulator.analysis.writing import write_tables
from prefine.emulator.experiment.cluster import Dask
from prefine.emulator.experiment.executor import Workers
from prefine.emulator.experiment.folder import result_store
from prefine.emulator.experiment.processes import Processes
from prefine.emulator.experiment.runs import run_many
from tests.emulator.experiment.synthetic import SyntheticJob, execute

POLICIES = ("joint", "uniform", "finetune-only")
SEEDS = 5
NAP_S = 0.06


def jobs(nap_s: float) -> list[SyntheticJob]:
    """3 budgets x 3 policies x 5 seeds."""
    return [
        SyntheticJob(policy, seed, (("budget.delay_s", delay),), nap_s)
        for delay in (4, 8, 12)
        for policy in POLICIES
        for seed in range(SEEDS)
    ]


def sweep(folder: Path, workers: Workers, nap_s: float = NAP_S) -> None:
    write_tables(folder, run_many(jobs(nap_s), execute, workers, result_store(folder)))


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell began in the background ignores it
    workers = Dask(sys.argv[2]) if len(sys.argv) > 2 else Processes(2)
    sweep(Path(sys.argv[1]), workers, float(os.environ.get("NAP_S", NAP_S)))
