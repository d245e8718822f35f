"""Problems of numbers that double precision cannot hold together: every policy answers, or says so in one line."""

import math
from dataclasses import replace

import numpy as np
import pytest

from prefine.emulator.errors import PolicyError, PrefineError, one_line
from prefine.emulator.plugins import calling, make_policy
from prefine.emulator.types import Problem
from prefine.policies import device_barrier
from prefine.policies.baselines import fill_rounds, with_batch
from prefine.policies.root import IncreasingRoot
from tests.fuzz.effort import examples
from tests.policies.instances import load, with_pretraining

POLICIES = (
    "joint", "joint-ft", "joint-simple", "pretrain-only", "finetune-only", "separate", "fixed-batch", "fixed-share",
    "max-power", "max-frequency", "uniform", "random", "min-delay", "min-energy", "fedl",
)  # fmt: skip


def _budget(problem: Problem, **values: float) -> Problem:
    return replace(problem, budget=replace(problem.budget, **values))


def _learning(problem: Problem, **values: float) -> Problem:
    return replace(problem, learning=replace(problem.learning, **values))


BASE = with_pretraining(load("base"))
ODD = (
    _budget(BASE, energy_j=1e300),
    _budget(BASE, energy_j=1e40, delay_s=1e40),
    _budget(BASE, energy_j=1e-40),
    _learning(BASE, learning_rate=1e300),
    _learning(BASE, learning_rate=5e-324),
    _learning(BASE, initial_gap=1e-40, discrepancy=1e40),
    replace(BASE, devices=replace(BASE.devices, gain=np.full(len(BASE.devices), 1e-40))),
    replace(BASE, devices=replace(BASE.devices, capacitance=np.geomspace(1e-40, 1e40, len(BASE.devices)))),
    replace(BASE, server=replace(BASE.server, cycles_per_sample=1e-40)),
)


@pytest.mark.parametrize("problem", ODD, ids=range(len(ODD)))
def test_every_policy_answers_or_says_that_it_cannot(problem: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_barrier, "MOST_RESPONSES", examples(500, 40_000))
    for name in POLICIES:
        try:
            plan = calling(name, "plan", problem, make_policy(name, {}))
        except PrefineError as error:
            assert str(error) == one_line(str(error))  # noqa: PT017  # either is an answer
        else:
            assert plan.pretrain_rounds + plan.finetune_rounds > 0


def test_a_search_that_would_not_end_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_barrier, "MOST_RESPONSES", 20)
    with pytest.raises(PolicyError, match="a plan did not end within 20 steps; the problem's numbers"):
        make_policy("joint", {}).plan(BASE)
    root = IncreasingRoot(0.0, -1.0, 1.0)
    with pytest.raises(PolicyError, match="lost its way"):
        root.update(0.0, math.nan)


def test_rounds_that_are_too_many_to_count_are_not_counted_down() -> None:
    """Beyond 2**53 rounds one less changes nothing."""
    sized = with_batch(BASE, 4)
    plan = make_policy("uniform", {"batch": 4}).plan(sized)
    short = _budget(sized, delay_s=1e30, energy_j=1e30)
    try:
        found = fill_rounds(short, 0.5, plan.server, plan.devices)
    except PolicyError as error:
        assert "rounds that fit did not end" in str(error)  # noqa: PT017  # either is an answer
    else:
        assert found is not None
