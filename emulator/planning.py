"""Planning without running: the problem of a scenario, its measured constants, a policy's plan and what it promises."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from prefine.emulator.bound import NO_ROUND, Prediction, RoundCost, predict
from prefine.emulator.charge import NO_CHARGE, Charge, charge_of
from prefine.emulator.errors import InputError
from prefine.emulator.experiment.store import Store
from prefine.emulator.experiment.sweep import check_parameters, check_policies
from prefine.emulator.identity import address
from prefine.emulator.plugins import POLICY, Part, calling, make_policy, part, rehearses
from prefine.emulator.scenario.scenario import Overrides, overridden
from prefine.emulator.scenario.source import Source, read_source
from prefine.emulator.simulation.aggregation import Asynchronous
from prefine.emulator.simulation.control import check_plan
from prefine.emulator.types import CalibrationWork, CertifyingPolicy, Plan, Problem
from prefine.emulator.world import World

Scenario = str | Path | Mapping[str, Any] | Source | None
"""A path, a bundled scenario's name, TOML text, a dictionary of sections, one read already, or None (the default)."""


@dataclass(frozen=True)
class Solution:
    """What a policy plans for a problem, what that promises, and how long it took.

    ``charge`` is what measuring the constants took of the scenario's budgets, ``handover`` what is set aside to send
    devices the base model once; the budgets of ``problem`` are what is left, and ``predicted`` is of the plan alone. No
    plan of whole numbers has an objective below ``integer_lower_bound``; None where the policy does not say.
    """

    policy: str
    problem: Problem
    plan: Plan
    predicted: Prediction
    solve_s: float
    charge: Charge = NO_CHARGE
    integer_lower_bound: float | None = None
    handover: RoundCost = NO_ROUND

    def document(self) -> dict[str, object]:
        """The JSON object of ``prefine plan --json``."""
        from prefine.emulator.problem_file import plan_document  # its tables are made when it is imported

        document = plan_document(
            self.policy, self.problem, self.plan, self.predicted, self.solve_s, self.integer_lower_bound
        )
        if self.charge != NO_CHARGE:
            document |= {"calibration": {"delay_s": self.charge.delay_s, "energy_j": self.charge.energy_j}}
        if self.handover != NO_ROUND:
            document |= {"handover": self.handover._asdict()}
        return document


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

    ``problem`` is one from Python or the path of a JSON file, and ``overrides`` then are of ``policies.NAME`` alone;
    the rest is as for `compare`. Raises InputError where scenario or problem is wrong, InfeasibleError where the
    budgets do not allow one round, PolicyError where the policy's answer is no plan.
    """
    wanted = part(POLICY, policy)
    if problem is None:
        source = read_source(scenario, overrides, workload, channel)
        check_parameters(source, [wanted])
        world, parameters = source.world(), source.scenario.policies.get(wanted.name, {})
        made = make_policy(wanted, parameters)
        posed, charge = world.problem_of(made), world.charge(made)
        found = _solution(wanted, made, posed, lambda: world.plan(wanted.name, made), charge)
        return replace(found, handover=world.handover)
    if scenario is not None or workload is not None or channel is not None:
        raise InputError("give a scenario (with what goes with it) or a problem, not both")
    posed = problem if isinstance(problem, Problem) else _read_problem(Path(problem))
    made = make_policy(wanted, _parameters(wanted, overrides))
    if rehearses(made):
        raise InputError(f"policy {wanted.name}: rehearses on data and model, which a problem lacks; give a scenario")
    name = wanted.name
    return _solution(wanted, made, posed, lambda: check_plan(name, posed, calling(name, "plan", posed, made)))


def _parameters(wanted: Part, overrides: Overrides) -> Mapping[str, Any]:
    """The parameters of the policy ``wanted`` among ``overrides``. Raises InputError for any other key."""
    tree = overridden({}, overrides)
    policies = tree.get("policies", {})
    for key in tree:
        if key != "policies":
            raise InputError(f"--set {key}: with a problem only policies.NAME.KEY can be set; the rest is in the file")
    if not isinstance(policies, Mapping) or not all(isinstance(each, Mapping) for each in policies.values()):
        raise InputError("--set policies: must be policies.NAME.KEY=VALUE")
    check_policies(policies, [wanted])
    parameters: Mapping[str, Any] = policies.get(wanted.name, {})
    return parameters


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


def validate(scenario: Scenario = None, *, overrides: Overrides = (), measure: bool = False) -> Problem:
    """The problem of ``scenario``, everything it refers to read and checked; raises InputError where it is wrong.

    Constants of the bound that the scenario wants measured are NaN, unless ``measure`` says to measure them.
    """
    source = read_source(scenario, overrides)
    world = source.world() if measure else replace(source.world(), measures=False)
    for name in {*source.scenario.policies, *source.scenario.compare.policies}:
        world.policy(name)
    world.channel(seed=0)
    if isinstance(source.scenario.aggregation, Asynchronous):
        world.learner(seed=0)
    return world.problem


def calibrate(scenario: Scenario = None, *, overrides: Overrides = ()) -> dict[str, Any]:
    """The measured constants of the bound, by name: ``value``, ``spread``, ``least``, ``most``, ``definition`` each.

    Where one is not to be relied on it has a ``warning`` too.

    One more key, ``cost``: how many runs and rounds measuring them takes, what time and energy that would be in this
    world (None where a device cannot be reached), and what the runs see. Raises InputError where the scenario is wrong.
    """
    world = read_source(scenario, overrides).world()
    return {**world.workload.calibration(), "cost": calibration_cost(world, world.workload.constants().work)}


Measure = Callable[[], dict[str, Any]]


def measured_of(
    source: Source, store: Store, ask: Callable[[Measure], dict[str, Any]], *, costs: bool
) -> dict[str, Any]:
    """What a manifest says of data and measuring: ``provenance`` and, with ``costs``, ``calibration``.

    Kept in ``store`` beside the runs, for to find it takes the data, the model and the training library; ``ask``
    answers what the function that it is given answers, wherever that is called.
    """
    make = partial(_measured, source, costs)
    if not source.lasting:
        return ask(make)
    return store.noted(address({**source.content, "costs": costs}), lambda: ask(make))


def _measured(source: Source, costs: bool) -> dict[str, Any]:
    world = source.world()
    calibration = calibration_cost(world, world.constants.work) if costs else {}
    return {"provenance": dict(world.workload.provenance()), "calibration": calibration}


def calibration_cost(world: World, work: CalibrationWork) -> dict[str, object]:
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


def _read_problem(path: Path) -> Problem:
    from prefine.emulator.problem_file import parse_problem

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as text ({error})") from error
    return parse_problem(text, str(path))
