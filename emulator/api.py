"""The public functions: what the command line plans, runs and reports, a scenario in, pandas tables out.

>>> import prefine                                                              # doctest: +SKIP
>>> prefine.compare("default", policies=["joint-ft", "uniform"], seeds=3).comparison    # doctest: +SKIP
"""

import math
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from prefine.emulator.analysis.citing import bibtex
from prefine.emulator.analysis.output import analyse, write_paper
from prefine.emulator.analysis.reading import write_parquet
from prefine.emulator.analysis.targets import Targets
from prefine.emulator.bound import Prediction, predict
from prefine.emulator.charge import NO_CHARGE, Charge, charge_of
from prefine.emulator.errors import InputError
from prefine.emulator.experiment.executor import Dask, Processes, Serial, Workers
from prefine.emulator.experiment.folder import check_tables, manifest, result_store, write_folder
from prefine.emulator.experiment.hindsight import check_hindsight, family
from prefine.emulator.experiment.job import Job, execute
from prefine.emulator.experiment.runs import SILENT, Listener, run_many
from prefine.emulator.experiment.sweep import check_feasible, check_parameters, jobs_of, reference_of, seeds_of
from prefine.emulator.files import write_bytes
from prefine.emulator.loading import installed
from prefine.emulator.plugins import POLICY, SELECTION, Part, calling, find, make_policy, part, policy_parts, rehearses
from prefine.emulator.policy_check import faults
from prefine.emulator.problem_file import parse_problem, plan_document
from prefine.emulator.report.figure import Format
from prefine.emulator.report.page import write_report
from prefine.emulator.report.plots import DrawableTables as Tables
from prefine.emulator.scenario.scenario import Overrides
from prefine.emulator.scenario.source import Source, bundled, bundled_text, read_source
from prefine.emulator.simulation.control import check_plan
from prefine.emulator.types import CalibrationWork, CertifyingPolicy, Plan, Problem
from prefine.emulator.world import World

MOST_JOBS = 1000

Scenario = str | Path | Mapping[str, Any] | Source | None
"""A path, a bundled scenario's name, TOML text, a dictionary of sections, one read already, or None (the default)."""

Policies = object
"""One policy, several, or a mapping from labels to them; each a name, ``file.py:Class``, a class or an instance."""

TableFormat = Literal["csv", "parquet", "latex", "markdown"]

Watch = Callable[[int], AbstractContextManager[Listener]]
"""Called with the number of runs; what it opens hears of each run that is done."""


@dataclass(frozen=True)
class Solution:
    """What a policy plans for a problem, what that promises, and how long it took.

    ``charge`` is what measuring the constants took of the scenario's budgets; the budgets of ``problem`` are what is
    left, and ``predicted`` is of the plan alone. No plan of whole numbers has an objective below
    ``integer_lower_bound``; None where the policy does not say.
    """

    policy: str
    problem: Problem
    plan: Plan
    predicted: Prediction
    solve_s: float
    charge: Charge = NO_CHARGE
    integer_lower_bound: float | None = None

    def document(self) -> dict[str, object]:
        """The JSON object of ``prefine plan --json``."""
        document = plan_document(
            self.policy, self.problem, self.plan, self.predicted, self.solve_s, self.integer_lower_bound
        )
        if self.charge == NO_CHARGE:
            return document
        return document | {"calibration": {"delay_s": self.charge.delay_s, "energy_j": self.charge.energy_j}}


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
    figures: Sequence[Format] = (),
    hindsight: bool = False,
    command: str = "prefine.compare",
    watch: Watch = _unheard,
) -> Tables:
    """Every policy with every seed on identical channels, faults and batches.

    ``seeds`` is a number of seeds or the seeds themselves; ``reference`` is the policy that the others are compared
    with, by name or label. What is None comes from the scenario's ``[compare]``. ``overrides`` are ``KEY=VALUE`` texts
    or a dictionary of dotted keys. ``vary`` makes it a sweep: texts such as ``"budget.delay_s=16,32"``, all
    combinations or, with ``pairs``, all keys together. ``workload`` and ``channel`` are classes or instances in
    place of the scenario's. ``hindsight`` also runs the family of shares in hindsight: a row ``hindsight`` and a regret
    for each policy (docs/tables.md). ``jobs`` is the number of processes, ``scheduler`` the address of a Dask cluster.

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
    where = workers(jobs, scheduler)
    if not isinstance(where, Serial):
        for each in (*chosen, *source.own):
            each.require_portable()
    if not vary:
        check_feasible(source, chosen)
    check_tables(tables)
    with ExitStack() as stack:
        folder = Path(out or stack.enter_context(tempfile.TemporaryDirectory()))
        listener = stack.enter_context(watch(len(work)))
        results = run_many(work, execute, where, result_store(folder), listener)
        checksums = {**source.world().workload.provenance(), **dict(source.checksums)}
        described = source.scenario.model_dump(mode="json", exclude_none=True)
        own, yardstick = (results.where(partial(_is_of, parts=parts)) for parts in (chosen, shares))
        members = [each.label for each in shares]
        content = manifest(own.jobs, described, against.label, command, checksums, source.origin(), members)
        content["calibration"] = {} if vary else _calibration_cost(source.world(), source.world().constants.work)
        write_folder(folder, own, content, Targets(settings.targets, against.label), yardstick)
        return Tables.of(analyse(folder)) if out is None else report(folder, figures, tables)


def _is_of(job: Job, parts: Sequence[Part]) -> bool:
    return job.part in parts


def run(scenario: Scenario, policy: object, seed: int = 0, **options: Any) -> Tables:
    """One policy with one seed: `compare` with both; ``options`` as there."""
    return compare(scenario, [policy], seeds=[seed], **options)


def sweep(scenario: Scenario, vary: Sequence[str], **options: Any) -> Tables:
    """A comparison in every scenario of a grid: `compare` with ``vary``; ``options`` as there."""
    return compare(scenario, vary=vary, **options)


def workers(jobs: int, scheduler: str | None = None) -> Workers:
    """Where runs go: this process, ``jobs`` processes, or the Dask cluster at ``scheduler``."""
    if scheduler is not None:
        return Dask(scheduler)
    if not 1 <= jobs <= MOST_JOBS:
        raise InputError(f"jobs = {jobs}: must be from 1 to {MOST_JOBS}")
    return Serial() if jobs == 1 else Processes(jobs)


def report(folder: str | Path, figures: Sequence[Format] = (), tables: TableFormat = "csv") -> Tables:
    """Rebuild comparison, ranking, plots and report.html of an output folder from its CSV files.

    ``figures`` names formats for plots as files, ``tables`` another form of the tables: "parquet" beside the CSV files,
    "latex" or "markdown" of the comparison for a paper. Raises InputError where the CSV files are missing or broken.
    """
    check_tables(tables)
    found = Tables.of(analyse(Path(folder)))
    if tables == "parquet":
        write_parquet(Path(folder))
    elif tables != "csv":
        write_paper(Path(folder), found, tables)
    write_report(Path(folder), found, figures)
    return found


def cite(folder: str | Path) -> str:
    """BibTeX of what the runs in an output folder used; raises InputError where it has no manifest."""
    return bibtex(Path(folder))


def plan(
    scenario: Scenario = None,
    policy: object = "joint",
    *,
    overrides: Overrides = (),
    problem: Problem | str | Path | None = None,
    workload: object = None,
    channel: object = None,
) -> Solution:
    """What ``policy`` plans for ``scenario``, with its ``[policies.NAME]`` parameters; or for ``problem``.

    ``problem`` is one from Python or the path of a JSON file; the rest is as for `compare`. Raises InputError where
    scenario or problem is wrong, InfeasibleError where the budgets do not allow one round, PolicyError where the
    policy's answer is no plan.
    """
    wanted = part(POLICY, policy)
    if problem is None:
        source = read_source(scenario, overrides, workload, channel)
        check_parameters(source, [wanted])
        world, parameters = source.world(), source.scenario.policies.get(wanted.name, {})
        made = make_policy(wanted, parameters)
        posed, charge = world.problem_of(made), world.charge(made)
        return _solution(wanted, made, posed, lambda: world.plan(wanted.name, made), charge)
    if scenario is not None or overrides or workload is not None or channel is not None:
        raise InputError("give a scenario (with what goes with it) or a problem, not both")
    posed = problem if isinstance(problem, Problem) else _read_problem(Path(problem))
    made = make_policy(wanted, {})
    if rehearses(made):
        raise InputError(f"policy {wanted.name}: rehearses on data and model, which a problem lacks; give a scenario")
    name = wanted.name
    return _solution(wanted, made, posed, lambda: check_plan(name, posed, calling(name, "plan", posed, made)))


def _solution(
    wanted: Part, made: object, problem: Problem, decide: Callable[[], Plan], charge: Charge = NO_CHARGE
) -> Solution:
    """What ``decide`` plans, timed, and what the policy ``made`` can prove of it."""
    start = time.perf_counter()
    decided = decide()
    solve_s = time.perf_counter() - start
    certified = None
    if isinstance(made, CertifyingPolicy):
        certified = calling(wanted.name, "certify", problem, made, decided)
    return Solution(wanted.name, problem, decided, predict(problem, decided), solve_s, charge, certified)


def validate(scenario: Scenario = None, *, overrides: Overrides = ()) -> Problem:
    """The problem of ``scenario``, everything it refers to read and checked; raises InputError where it is wrong."""
    source = read_source(scenario, overrides)
    world = source.world()
    for name in {*source.scenario.policies, *source.scenario.compare.policies}:
        world.policy(name)
    world.channel(seed=0)
    return world.problem


def calibrate(scenario: Scenario = None, *, overrides: Overrides = ()) -> dict[str, Any]:
    """The measured constants of the bound, by name: ``value``, ``spread``, ``least``, ``most``, ``definition`` each.

    One more key, ``cost``: how many runs and rounds measuring them takes, what time and energy that would be in this
    world (None where a device cannot be reached), and what the runs see. Raises InputError where the scenario is wrong.
    """
    world = read_source(scenario, overrides).world()
    return {**world.workload.calibration(), "cost": _calibration_cost(world, world.workload.constants().work)}


def _calibration_cost(world: World, work: CalibrationWork) -> dict[str, object]:
    """What the ``work`` of measuring constants takes in ``world`` and sees; empty where nothing was measured."""
    if not work.runs:
        return {}
    charge = charge_of(world.problem, work)
    return {
        "runs": work.runs,
        "step_size_searches": work.searches,
        "pretrain_rounds": dict(work.pretrain),
        "finetune_rounds": dict(work.finetune),
        "delay_s": charge.delay_s if math.isfinite(charge.delay_s) else None,
        "energy_j": charge.energy_j if math.isfinite(charge.energy_j) else None,
        "charged": world.scenario.learning.charge_pilots,
        "sees": "the raw task data of every device, in one place",
    }


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


def _read_problem(path: Path) -> Problem:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as text ({error})") from error
    return parse_problem(text, str(path))
