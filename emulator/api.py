"""The verbs of the command line as functions: a scenario in, pandas tables out.

>>> from prefine.emulator import api                                            # doctest: +SKIP
>>> api.compare("default", policies=["joint-ft", "uniform"], seeds=3).comparison    # doctest: +SKIP
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from prefine.emulator.bound import Prediction, predict
from prefine.emulator.errors import InfeasibleError, InputError
from prefine.emulator.experiment.executor import Dask, Processes, Serial, Workers
from prefine.emulator.experiment.job import Job, execute
from prefine.emulator.experiment.manifest import manifest
from prefine.emulator.experiment.output import check_tables, result_store, write_output
from prefine.emulator.experiment.runs import run_many
from prefine.emulator.experiment.sweep import combinations
from prefine.emulator.files import write_bytes
from prefine.emulator.plugins import calling, label_of, make_policy, policy_class
from prefine.emulator.problem_file import parse_problem, plan_document
from prefine.emulator.records import RunResult
from prefine.emulator.report.data import Tables, read_tables
from prefine.emulator.report.figure import Format
from prefine.emulator.report.page import write_report
from prefine.emulator.scenario.source import Source, bundled_text, read_source
from prefine.emulator.simulation.control import check_plan
from prefine.emulator.types import Plan, Problem
from prefine.emulator.world import World

Scenario = str | Path | Source | None
"""A path, the name of a bundled scenario, one that was read already, or None for the bundled default."""

OnDone = Callable[[Job, RunResult], None]


@dataclass(frozen=True)
class Solution:
    """What a policy plans for a problem, what that promises, and how long it took."""

    policy: str
    problem: Problem
    plan: Plan
    predicted: Prediction
    solve_s: float


def source_of(scenario: Scenario, overrides: Sequence[str] = ()) -> Source:
    """``scenario`` as a Source. Raises InputError where it is wrong."""
    return scenario if isinstance(scenario, Source) else read_source(scenario, overrides)


def workers(jobs: int, scheduler: str | None = None) -> Workers:
    """Where runs go: this process, ``jobs`` processes, or the Dask cluster at ``scheduler``."""
    if scheduler is not None:
        return Dask(scheduler)
    return Serial() if jobs == 1 else Processes(jobs)


def plan(problem: Problem, policy: str = "joint", parameters: dict[str, object] | None = None) -> Solution:
    """What ``policy`` plans for ``problem``.

    Raises InfeasibleError where the budgets do not allow one round, PolicyError where the policy's answer is no plan.
    """
    made = make_policy(policy, parameters or {})
    start = time.perf_counter()
    answer = calling(policy, "plan", problem, made)
    solve_s = time.perf_counter() - start
    checked = check_plan(policy, problem, answer)
    return Solution(policy, problem, checked, predict(problem, checked), solve_s)


def plan_scenario(scenario: Scenario = None, policy: str = "joint", overrides: Sequence[str] = ()) -> Solution:
    """What ``policy`` plans for ``scenario``, with its ``[policies.NAME]`` parameters; raises as `plan` does."""
    source = source_of(scenario, overrides)
    return plan(source.world().problem, policy, source.scenario.policies.get(policy, {}))


def compare(
    scenario: Scenario = None,
    *,
    vary: Sequence[str] = (),
    pairs: bool = False,
    policies: Sequence[str] | None = None,
    seeds: int | Sequence[int] | None = None,
    reference: str | None = None,
    overrides: Sequence[str] = (),
    out: str | Path | None = None,
    jobs: int = 1,
    scheduler: str | None = None,
    tables: Literal["csv", "parquet"] = "csv",
    figures: Sequence[Format] = (),
    command: str = "prefine.emulator.api.compare",
    on_done: OnDone = lambda job, result: None,
) -> Tables:
    """Every policy with every seed on identical channels, faults and batches; raises InputError, PrefineError.

    ``seeds`` is a number of seeds or the seeds themselves. What is None comes from the scenario's ``[compare]``.
    ``vary`` makes it a sweep: texts such as ``"budget.delay_s=16,32"``, all combinations or, with ``pairs``, all keys
    together. Files go to ``out``, and the same call with the same ``out`` resumes after an interruption; without it
    only the tables are returned.
    """
    source = source_of(scenario, overrides)
    work = jobs_of(source, vary=vary, pairs=pairs, policies=policies, seeds=seeds)
    names = list(dict.fromkeys(job.policy for job in work))
    against = reference_of(source, reference, names)
    world = source.world()
    if not vary:
        check_feasible(world, names)
    check_tables(tables)
    with ExitStack() as stack:
        folder = Path(out or stack.enter_context(tempfile.TemporaryDirectory()))
        results = run_many(work, execute, workers(jobs, scheduler), result_store(folder), on_done)
        checksums = {**world.workload.provenance(), **dict(source.inputs())}
        described = source.scenario.model_dump(mode="json", exclude_none=True)
        content = manifest(work, described, label_of(against), command, checksums, source.origin())
        return write_output(folder, results, content, tables, figures)


def sweep(scenario: Scenario, vary: Sequence[str], **options: Any) -> Tables:
    """A comparison in every scenario of a grid: `compare` with ``vary``."""
    return compare(scenario, vary=vary, **options)


def jobs_of(
    source: Source,
    *,
    vary: Sequence[str] = (),
    pairs: bool = False,
    policies: Sequence[str] | None = None,
    seeds: int | Sequence[int] | None = None,
) -> list[Job]:
    """The jobs of a comparison, scenario by scenario, policy by policy.

    Raises InputError where a policy is unknown, or a key, a value or a combination of them makes no scenario.
    """
    settings = source.scenario.compare
    names = list(dict.fromkeys(settings.policies if policies is None else policies))
    for name in names:
        policy_class(name)
    chosen = _seeds(settings.seeds if seeds is None else seeds)
    rows = combinations(vary, pairs=pairs)
    return [job for row in rows for job in source.varied(row).jobs(names, chosen, row)]


def reference_of(source: Source, reference: str | None, policies: Sequence[str]) -> str:
    """The policy to compare with: as asked, else the scenario's if it takes part, else the first.

    Raises InputError where the one asked for is not among ``policies``.
    """
    if reference is None:
        wanted = source.scenario.compare.reference
        return wanted if wanted in policies else policies[0]
    if reference not in policies:
        raise InputError(f"reference {reference!r} is not among the policies compared: {', '.join(policies)}")
    return reference


def report(folder: str | Path, figures: Sequence[Format] = ()) -> Tables:
    """Rebuild plots and report.html of an output folder from its CSV files; raises InputError where there are none."""
    write_report(Path(folder), figures)
    return read_tables(Path(folder))


def validate(scenario: Scenario = None, overrides: Sequence[str] = ()) -> Problem:
    """The problem of ``scenario``, everything it refers to read and checked; raises InputError where it is wrong."""
    source = source_of(scenario, overrides)
    source.inputs()
    world = source.world()
    for name in {*source.scenario.policies, *source.scenario.compare.policies}:
        world.policy(name)
    world.channel(seed=0)
    return world.problem


def calibrate(scenario: Scenario = None, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The measured constants of the bound, by name: ``value``, ``spread`` and ``definition`` each.

    Raises InputError where the scenario is wrong.
    """
    return source_of(scenario, overrides).world().workload.calibration()


def plan_file(problem: str | Path, policy: str = "joint") -> Solution:
    """What ``policy`` plans for the problem in a JSON file; raises InputError where the file is wrong."""
    path = Path(problem)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as text ({error})") from error
    return plan(parse_problem(text, str(path)), policy)


def document(solution: Solution) -> dict[str, object]:
    """A solution as the JSON object of ``prefine plan --json``."""
    return plan_document(solution.policy, solution.problem, solution.plan, solution.predicted, solution.solve_s)


def new_scenario(file: str | Path, like: str) -> None:
    """Write a copy of the bundled scenario ``like``; raises InputError where ``file`` exists."""
    path = Path(file)
    if path.exists():
        raise InputError(f"{path}: exists already; give a new name")
    write_bytes(path, bundled_text(like).encode())


def check_feasible(world: World, policies: Sequence[str]) -> None:
    """Raises InputError where none of the policies can afford one round."""
    errors: list[InfeasibleError] = []
    for name in policies:
        try:
            world.plan(name, world.policy(name))
        except InfeasibleError as error:
            errors.append(error)
    if errors and len(errors) == len(policies):
        raise errors[0]


def _seeds(seeds: int | Sequence[int]) -> list[int]:
    chosen = list(range(seeds)) if isinstance(seeds, int) else list(dict.fromkeys(seeds))
    if not chosen or min(chosen) < 0:
        raise InputError(f"seeds = {seeds}: at least one seed is needed, and none may be negative")
    return chosen
