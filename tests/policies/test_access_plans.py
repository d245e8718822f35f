"""Every policy under every access: whole plans within both budgets, near what proves them, and on the clock."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from prefine.emulator.bound import predict
from prefine.emulator.errors import InfeasibleError
from prefine.emulator.simulation.control import check_plan
from prefine.emulator.simulation.radio import Access, Fdma, Ofdma, Tdma
from prefine.emulator.simulation.run import run
from prefine.emulator.types import Plan, Policy, Problem
from prefine.policies.baselines import Uniform
from prefine.policies.dual import relax_all_rounds
from prefine.policies.joint import Joint, JointFinetune
from prefine.policies.sca import JointSca
from prefine.policies.subproblems import Stages
from tests.emulator.simulation.worlds import run_spec
from tests.policies.instances import load, odd_problem, with_bend, with_pretraining
from tests.policies.test_access import under
from tests.policies.test_plans import DESIGNS

ACCESSES = ("tdma", "ofdma", "optimise")


def _discipline(problem: Problem) -> Access:
    own_hz = problem.devices.bandwidth_hz
    accesses: dict[str, Access] = {"tdma": Tdma(own_hz), "ofdma": Ofdma(own_hz), "fdma": Fdma(own_hz)}
    return accesses["fdma" if problem.radio.bandwidth == "optimise" else problem.radio.access]


def _assert_kept(problem: Problem, plan: Plan) -> None:
    """Within both budgets as predicted; on the clock the same, to 1e-9."""
    check_plan("p", problem, plan)
    predicted, budget = predict(problem, plan), problem.budget
    assert predicted.delay_s <= budget.delay_s
    assert predicted.energy_j <= budget.energy_j
    result = run(run_spec(problem, plan, access=_discipline(problem)), "p", 0)
    assert result.run.stop_reason == "plan"
    assert result.run.delay_s == pytest.approx(predicted.delay_s, rel=1e-9)
    assert result.run.energy_j == pytest.approx(predicted.energy_j, rel=1e-9)


@pytest.mark.parametrize("access", ACCESSES)
@pytest.mark.parametrize("make", [*DESIGNS, lambda: JointSca(tolerance=1e-3, evaluations=20)])
def test_plans_keep_the_budgets_and_the_clock_agrees(make: Callable[[], Policy], access: str) -> None:
    problem = load("tight")
    devices = replace(problem.devices.at(np.array([0, 5])), weight=np.full(2, 0.5))
    problem = with_pretraining(under(access, replace(problem, devices=devices)))
    least_w = 0.1 * problem.devices.max_power_w * (np.arange(len(problem.devices)) % 2)
    problem = replace(problem, devices=replace(problem.devices, min_power_w=least_w))
    _assert_kept(problem, make().plan(problem))


@pytest.mark.parametrize("access", ACCESSES)
@pytest.mark.parametrize("seed", [6, 8, 12, 21])
def test_odd_problems(access: str, seed: int) -> None:
    generator = np.random.default_rng(seed)
    problem = with_bend(with_pretraining(under(access, odd_problem(seed, 1 + seed % 5)), 0.03, 0.1), generator)
    for make in (Joint, JointFinetune, Uniform):
        try:
            plan = make().plan(problem)
        except InfeasibleError:
            continue
        _assert_kept(problem, plan)


@pytest.mark.parametrize("access", ["tdma", "optimise"])
@pytest.mark.parametrize("name", ["base", "energy-scarce"])
def test_whole_plans_are_near_their_relaxed_optimum(name: str, access: str) -> None:
    """As near as under FDMA; and no whole plan is below what the policy proves."""
    problem = under(access, load(name))
    plan = Joint().plan(problem)
    assert plan.integer_gap is not None
    assert plan.relaxed is not None
    assert 0.0 <= plan.integer_gap <= 0.005
    certified = Joint().certify(problem, plan)
    assert certified is not None
    assert plan.relaxed.lower_bound <= certified <= predict(problem, plan).bound


def test_a_divided_band_is_better_than_equal_shares_and_all_of_it_is_used() -> None:
    equal = load("both-stages")
    divided, fixed = (relax_all_rounds(Stages(each))[0] for each in (under("optimise", equal), equal))
    assert divided.bound < fixed.lower_bound * 0.99
    assert divided.devices.bandwidth_hz is not None
    assert divided.devices.bandwidth_hz.sum() == pytest.approx(equal.devices.bandwidth_hz.sum(), rel=1e-9)


def test_one_device_has_all_of_the_band_under_every_access() -> None:
    problem = odd_problem(34, 1)
    bounds = [Joint().plan(under(access, problem)).relaxed.bound for access in ("fdma", *ACCESSES)]  # type: ignore[union-attr]
    assert bounds == pytest.approx([bounds[0]] * 4, rel=1e-9)
