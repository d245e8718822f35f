"""What whole rounds and batches cost, against what they must cost at least."""

import pytest

from emulator.types import Plan
from policies.joint import Joint, JointFinetune
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
