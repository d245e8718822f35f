"""The public functions: what the command line plans, runs and reports, a scenario in, pandas tables out.

>>> import prefine                                                              # doctest: +SKIP
>>> prefine.compare("default", policies=["joint-ft", "uniform"], seeds=3).comparison    # doctest: +SKIP
"""

import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefine.emulator.analysis.citing import bibtex
from prefine.emulator.analysis.targets import Targets
from prefine.emulator.errors import InputError
from prefine.emulator.experiment.cluster import Dask
from prefine.emulator.experiment.executor import Serial, Standing, Workers
from prefine.emulator.experiment.folder import check_tables, manifest, result_store, write_folder
from prefine.emulator.experiment.hindsight import check_hindsight, family
from prefine.emulator.experiment.job import Job, execute
from prefine.emulator.experiment.processes import Processes
from prefine.emulator.experiment.runs import SILENT, Listener, run_many
from prefine.emulator.experiment.sweep import check_feasible, jobs_of, reference_of, seeds_of
from prefine.emulator.experiment.tracking import tracked
from prefine.emulator.files import write_bytes
from prefine.emulator.garbage import importing
from prefine.emulator.loading import installed
from prefine.emulator.options import FigureFormat, FigureWidth, TableFormat, TrackFormat
from prefine.emulator.planning import Scenario, Solution, calibrate, measured_of, plan, validate
from prefine.emulator.plugins import POLICY, SELECTION, Part, find, policy_parts
from prefine.emulator.policy_check import faults
from prefine.emulator.report.made import is_made
from prefine.emulator.scenario.scenario import Overrides
from prefine.emulator.scenario.source import bundled, bundled_text, read_source

if TYPE_CHECKING:
    from prefine.emulator.report.drawable import DrawableTables as Tables

__all__ = [
    "MOST_JOBS",
    "Policies",
    "Scenario",
    "Solution",
    "TableFormat",
    "Watch",
    "calibrate",
    "check_policy",
    "cite",
    "compare",
    "list_policies",
    "list_scenarios",
    "list_selections",
    "new_scenario",
    "plan",
    "report",
    "run",
    "sweep",
    "validate",
    "workers",
]

MOST_JOBS = 1000

SELDOM_SPARED = ("scipy.special",)
"""What is loaded where it is first named, and needed in nearly every world."""

Policies = object
"""One policy, several, or a mapping from labels to them; each a name, ``file.py:Class``, a class or an instance."""

Watch = Callable[[int], AbstractContextManager[Listener]]
"""Called with the number of runs; what it opens hears of each run that is done."""


def _unheard(total: int) -> AbstractContextManager[Listener]:
    return nullcontext(SILENT)


def compare(
    scenario: Scenario = None,
    policies: Policies = None,
    *,
    seeds: int | Sequence[int] | None = None,
    reference: str | None = None,
    overrides: Overrides = (),
    vary: Sequence[str] = (),
    pairs: bool = False,
    workload: object = None,
    channel: object = None,
    out: str | Path | None = None,
    jobs: int = 1,
    scheduler: str | None = None,
    tables: TableFormat = "csv",
    figures: Sequence[FigureFormat] = (),
    width: FigureWidth = "page",
    hindsight: bool = False,
    track: TrackFormat | None = None,
    command: str = "prefine.compare",
    watch: Watch = _unheard,
) -> "Tables":
    """Every policy with every seed on identical channels, faults and batches.

    ``seeds`` is a number of seeds or the seeds themselves; ``reference`` is the policy that the others are compared
    with, by name or label. What is None comes from the scenario's ``[compare]``. ``overrides`` are ``KEY=VALUE`` texts
    or a dictionary of dotted keys. ``vary`` makes it a sweep: texts such as ``"budget.delay_s=16,32"``, all
    combinations or, with ``pairs``, all keys together. ``workload`` and ``channel`` are classes or instances in
    place of the scenario's. ``hindsight`` also runs the family of shares in hindsight: a row ``hindsight`` and a regret
    for each policy (docs/tables.md). ``jobs`` is the number of processes, ``scheduler`` the address of a Dask cluster.
    ``track`` also tells each run, when it is done, to an experiment tracker below ``out`` (docs/tracking.md).

    Files go to ``out``, and the same call with the same ``out`` resumes after an interruption; its tables are those of
    the last call. Without ``out`` only the tables are returned and nothing is drawn. Raises InputError where something
    asked for is wrong, PrefineError where ``out`` cannot be written; a run that fails is a row.
    """
    source = read_source(scenario, overrides, workload, channel)
    settings = source.scenario.compare
    chosen = policy_parts(settings.policies if policies is None else policies)
    numbers = seeds_of(settings.seeds if seeds is None else seeds)
    shares = family() if hindsight else []
    if hindsight:
        check_hindsight(chosen, numbers)
    work = jobs_of(source, vary, [*chosen, *shares], numbers, pairs=pairs)
    against = reference_of(source, reference, chosen)
    where = workers(jobs, scheduler, [*source.modules, *(name for each in chosen for name in each.modules)])
    if not isinstance(where, Serial):
        for each in (*chosen, *source.own):
            each.require_portable()
    check_tables(tables)
    if track is not None and out is None:
        raise InputError("track: needs out, the folder in which it is kept")
    with ExitStack() as stack:
        folder = Path(out or stack.enter_context(tempfile.TemporaryDirectory()))
        listener = stack.enter_context(watch(len(work)))
        if track is not None:
            listener = tracked(track, folder, listener)
        standing = stack.enter_context(closing(Standing(where)))

        def check() -> None:
            """Before the first run, while the workers' server imports what runs need."""
            standing.open()
            if not vary:
                check_feasible(source, chosen)
            _load(drawing=out is not None)

        results = run_many(work, execute, standing, result_store(folder), listener, check)
        measured = measured_of(source, results.store, standing.call, costs=not vary)
        standing.close()
        checksums = {**measured["provenance"], **dict(source.checksums)}
        described = source.scenario.model_dump(mode="json", exclude_none=True)
        own, yardstick = (results.where(partial(_is_of, parts=parts)) for parts in (chosen, shares))
        members = [each.label for each in shares]
        content = manifest(own.jobs, described, against.label, command, checksums, source.origin(), members)
        content["calibration"] = measured["calibration"]
        write_folder(folder, own, content, Targets(settings.targets, against.label), yardstick)
        if out is None or (tables == "csv" and is_made(folder, figures, width)):
            return _tables(folder)
        return report(folder, figures, tables, width)


def _load(drawing: bool) -> None:
    """Import now what tables, and where wanted figures, are made with, for this process has nothing else to do."""
    with importing():
        import_module("prefine.emulator.report.page" if drawing else "prefine.emulator.report.drawable")


def _tables(folder: Path) -> "Tables":
    """The tables of an output folder, comparison and ranking written anew."""
    from prefine.emulator.analysis.output import analyse
    from prefine.emulator.report.drawable import DrawableTables

    return DrawableTables.of(analyse(folder))


def _is_of(job: Job, parts: Sequence[Part]) -> bool:
    return job.part in parts


def run(scenario: Scenario, policy: object, seed: int = 0, **options: Any) -> "Tables":
    """One policy with one seed: `compare` with both; ``options`` as there."""
    return compare(scenario, [policy], seeds=[seed], **options)


def sweep(scenario: Scenario, vary: Sequence[str], **options: Any) -> "Tables":
    """A comparison in every scenario of a grid: `compare` with ``vary``; ``options`` as there."""
    return compare(scenario, vary=vary, **options)


def workers(jobs: int, scheduler: str | None = None, modules: Sequence[str] = ()) -> Workers:
    """Where runs go: this process, ``jobs`` processes, or the Dask cluster at ``scheduler``.

    The processes import ``modules`` together, once.
    """
    if scheduler is not None:
        return Dask(scheduler)
    if not 1 <= jobs <= MOST_JOBS:
        raise InputError(f"jobs = {jobs}: must be from 1 to {MOST_JOBS}")
    return (
        Serial()
        if jobs == 1
        else Processes(jobs, ("prefine.garbage", execute.__module__, *dict.fromkeys(modules), *SELDOM_SPARED))
    )


def report(
    folder: str | Path,
    figures: Sequence[FigureFormat] = (),
    tables: TableFormat = "csv",
    width: FigureWidth = "page",
) -> "Tables":
    """Rebuild comparison, ranking, plots and report.html of an output folder from its CSV files.

    ``figures`` names formats for plots as files, ``width`` what of a paper they fill: a "column" (3.5 in) or a "page"
    (7.16 in). ``tables`` names another form of the tables: "parquet" beside the CSV files, "latex" or "markdown" of the
    comparison for a paper. Raises InputError where the CSV files are missing or broken.
    """
    from prefine.emulator.analysis.output import write_paper
    from prefine.emulator.analysis.reading import write_parquet
    from prefine.emulator.report.page import write_report  # half a second to import

    check_tables(tables)
    found = _tables(Path(folder))
    if tables == "parquet":
        write_parquet(Path(folder))
    elif tables != "csv":
        write_paper(Path(folder), found, tables)
    write_report(Path(folder), found, figures, width)
    return found


def cite(folder: str | Path) -> str:
    """BibTeX of what the runs in an output folder used; raises InputError where it has no manifest."""
    return bibtex(Path(folder))


def new_scenario(file: str | Path, like: str = "default") -> None:
    """Write a copy of the bundled scenario ``like``; raises InputError where ``file`` exists."""
    path = Path(file)
    if path.exists():
        raise InputError(f"{path}: exists already; give a new name")
    write_bytes(path, bundled_text(like).encode())


def check_policy(policy: object) -> list[str]:
    """What is wrong with ``policy``, a line each: it plans and runs in a few small worlds, checked as every run is.

    An empty list where nothing is. ``policy`` is a name, ``file.py:Class``, a class or an instance. Raises InputError
    where there is no such policy.
    """
    return list(faults(policy))


def list_policies() -> dict[str, type]:
    """The installed policies: their classes by name."""
    return {name: find(POLICY, name) for name in installed(POLICY.group)}


def list_selections() -> dict[str, type]:
    """The installed selection rules: their classes by name."""
    return {name: find(SELECTION, name) for name in installed(SELECTION.group)}


def list_scenarios() -> dict[str, str]:
    """The bundled scenarios: their descriptions by name."""
    return {name: read_source(name).scenario.description for name in bundled()}
