"""What whole rounds and batches cost, against what they must cost at least."""

import math

import numpy as np
import pytest

from prefine.emulator.bound import RoundCost
from prefine.emulator.types import Budget, Plan
from prefine.policies.joint import Joint, JointFinetune
from prefine.policies.objectives.all_rounds import AllRounds
from prefine.policies.objectives.base import Objective
from prefine.policies.objectives.counting import FinetuneRound
from prefine.policies.objectives.fine_tuned import FineTuned
from prefine.policies.subproblems import Stages
from tests.policies.instances import NAMES, load, with_pretraining
from tests.policies.whole_bound import whole_lower_bound

# 0.5 % where whole numbers allow it; elsewhere just above what `test_near_the_best_whole_design` proves necessary.
MOST_GAP = {"both-stages": 0.0155, "both-stages-biased": 0.0203, "downlink": 0.0130, "tight": 0.0091}
MOST_ABOVE_BOUND = 0.002


def _gap(plan: Plan) -> float:
    assert plan.integer_gap is not None
    return plan.integer_gap


@pytest.mark.parametrize("name", NAMES)
def test_integer_gap(name: str) -> None:
    assert 0.0 <= _gap(Joint().plan(load(name))) <= MOST_GAP.get(name, 0.005)


@pytest.mark.parametrize(
    ("name", "finetuned", "certified"),
    [
        ("both-stages", False, 0.0150),
        ("both-stages-biased", False, 0.0200),
        ("both-stages-biased", True, 0.0325),
        ("downlink", False, 0.0115),
        ("tight", False, 0.0065),
    ],
)
def test_near_the_best_whole_design(name: str, finetuned: bool, certified: float) -> None:
    problem = with_pretraining(load(name))
    plan = (JointFinetune() if finetuned else Joint()).plan(problem)
    assert plan.relaxed is not None
    least_gap = whole_lower_bound(problem, finetuned=finetuned) / plan.relaxed.lower_bound - 1.0
    assert certified <= least_gap <= _gap(plan) <= least_gap + MOST_ABOVE_BOUND


@pytest.mark.parametrize("objective", [AllRounds(), FineTuned()])
def test_a_budget_that_finetuning_uses_up_leaves_no_fewer_than_no_rounds(objective: Objective) -> None:
    """Rounding lets M rounds into a budget that is less than M times a round."""
    stages = Stages(with_pretraining(load("base")))
    overdrawn = 0
    for round_s in np.random.default_rng(0).uniform(0.01, 2.0, 500).tolist():
        budget_s = math.nextafter(50 * round_s, 0.0)
        overdrawn += math.floor(budget_s / round_s) == 50
        finetuning = FinetuneRound(RoundCost(round_s, 1e-9), 1e-9)
        found = objective.best_counts(stages, Budget(budget_s, 1e3), np.array([8.0]), finetuning)
        assert found.pretrain_rounds >= 0
    assert overdrawn > 0
