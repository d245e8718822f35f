"""Output folders of synthetic runs, made once."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from prefine.emulator.analysis.output import analyse
from prefine.emulator.experiment.executor import Serial
from prefine.emulator.experiment.folder import manifest, result_store, write_folder
from prefine.emulator.experiment.runs import run_many
from prefine.emulator.options import FigureFormat, FigureWidth
from prefine.emulator.report.page import write_report
from tests.emulator.experiment.synthetic import SyntheticJob, execute

Varied = tuple[tuple[str, object], ...]
POLICIES = ("joint", "uniform", "pretrain-only")


def make_folder(folder: Path, varied: Sequence[Varied], *extra: SyntheticJob) -> Path:
    jobs = [SyntheticJob(policy, seed, values) for values in varied for policy in POLICIES for seed in range(3)]
    jobs += extra
    results = run_many(jobs, execute, Serial(), result_store(folder))
    content = manifest(
        jobs, {"name": "synthetic <b>", "budget": {"delay_s": 10.0}}, "joint", "prefine compare", {"t": "1"}
    )
    write_folder(folder, results, content)
    draw(folder)
    return folder


def draw(folder: Path, formats: Sequence[FigureFormat] = (), width: FigureWidth = "page") -> Path:
    """The report of what the CSV files in ``folder`` say now."""
    return write_report(folder, analyse(folder), formats, width)


@pytest.fixture(scope="session")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three policies, three seeds, one failed run."""
    return make_folder(tmp_path_factory.mktemp("compared"), [()], SyntheticJob("no-such", 0))


@pytest.fixture(scope="session")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A grid of two scenario keys."""
    values: list[Varied] = [
        (("budget.delay_s", delay), ("budget.energy_j", energy)) for delay in (5.0, 10.0) for energy in (1, 2)
    ]
    return make_folder(tmp_path_factory.mktemp("swept"), values)
