"""Phi with a shift that bends: certified, equal to a conic solver, and a straight shift is what it always was."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefine.emulator.bound import predict
from prefine.emulator.types import Budget, Problem, Relaxed
from prefine.policies import bent_shift
from prefine.policies.bent_shift import relax_phi
from prefine.policies.dual import Start, relax_all_rounds
from prefine.policies.subproblems import Stages
from tests.policies.conic import InaccurateError, solve_conic
from tests.policies.instances import load, odd_problem, with_bend

seeds = st.integers(0, 10**6)


def _problem(seed: int) -> Problem:
    generator = np.random.default_rng(seed)
    return with_bend(odd_problem(seed, int(generator.integers(1, 11))), generator)


@given(seed=seeds, share=st.sampled_from([None, 1.0, 0.3, 0.0]))
@settings(max_examples=80, deadline=None, derandomize=True)
def test_odd_problems_are_certified(seed: int, share: float | None) -> None:
    problem = _problem(seed)
    relaxed = relax_phi(Stages(problem), share)[0]
    predicted = predict(problem, relaxed)
    assert 0.0 <= relaxed.gap <= 1e-6
    assert relaxed.lower_bound <= relaxed.bound * (1.0 + 1e-12)
    assert predicted.bound == pytest.approx(relaxed.bound, rel=1e-9)
    assert predicted.delay_s <= problem.budget.delay_s * (1.0 + 1e-9)
    assert predicted.energy_j <= problem.budget.energy_j * (1.0 + 1e-9)
    if share is not None:
        total = relaxed.pretrain_rounds + relaxed.finetune_rounds
        assert relaxed.pretrain_rounds == pytest.approx(share * total, rel=1e-9)


def test_against_the_conic_solver() -> None:
    """Its exponential cone holds y exp(-r n / y); both stages, one alone, and budgets left unused are among these."""
    compared, kinds = 0, set()
    for seed in range(24):
        problem = _problem(seed)
        relaxed = relax_phi(Stages(problem))[0]
        try:
            reference = solve_conic(problem, relaxed)
        except InaccurateError:
            continue
        assert relaxed.bound == pytest.approx(reference, rel=1e-6)
        kinds.add((relaxed.pretrain_rounds > 0.0, relaxed.finetune_rounds > 0.0))
        compared += 1
    assert compared >= 18
    assert kinds == {(True, True), (True, False), (False, True)}


def test_rounds_that_no_longer_help_are_left_out() -> None:
    """With budgets for more, N stops where A + D(N) = N D'(N), at the largest batch."""
    problem = load("pretrain-only")
    learning = replace(problem.learning, discrepancy=5.0, discrepancy_relief=500.0, discrepancy_rate=0.01)
    devices = replace(problem.devices, gain=np.zeros(10))
    problem = replace(problem, learning=learning, devices=devices, budget=Budget(1e4, 1e5))
    relaxed = relax_phi(Stages(problem))[0]
    n, start = relaxed.pretrain_rounds, 2.0 * learning.initial_gap / learning.learning_rate
    falls = 500.0 * np.exp(-0.01 * n)
    assert start + 5.0 * n - 500.0 + falls == pytest.approx(n * (5.0 - 0.01 * falls), rel=1e-4)
    assert relaxed.server.batch == pytest.approx(problem.server.max_batch)
    assert relaxed.delay_price == pytest.approx(0.0, abs=1e-9)


def test_a_bend_of_nothing_changes_no_digit() -> None:
    for name in ("both-stages", "tight", "pretrain-only"):
        problem = load(name)
        old = relax_all_rounds(Stages(problem))[0]
        flat = replace(problem, learning=replace(problem.learning, discrepancy_rate=0.1))
        assert relax_phi(Stages(flat))[0].bound == old.bound
        slight = replace(flat, learning=replace(flat.learning, discrepancy_relief=1e-12))
        assert relax_phi(Stages(slight))[0].bound == pytest.approx(old.bound, rel=1e-8)


def test_prices_are_what_one_more_unit_buys() -> None:
    problem = load("both-stages")
    learning = replace(problem.learning, discrepancy=0.3, discrepancy_relief=4.0, discrepancy_rate=0.05)
    problem = replace(problem, learning=learning)
    here, step = relax_phi(Stages(problem))[0], 1e-4
    assert here.pretrain_rounds > 1.0
    for key, price in (("delay_s", here.delay_price), ("energy_j", here.energy_price)):
        size = getattr(problem.budget, key)
        less, more = (
            relax_phi(Stages(replace(problem, budget=replace(problem.budget, **{key: size * factor}))))[0].bound
            for factor in (1.0 - step, 1.0 + step)
        )
        assert price * size == pytest.approx((less - more) / (2.0 * step), rel=1e-3, abs=1e-4 * here.bound)


def test_few_tangents_close_the_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    """24 problems, with and without a given share; the limit is what they took and a twentieth more."""
    tangents, straight = 0, bent_shift._straight

    def counted(stages: Stages, share: float | None, start: Start | None) -> tuple[Relaxed, Start]:
        nonlocal tangents
        tangents += 1
        return straight(stages, share, start)

    monkeypatch.setattr(bent_shift, "_straight", counted)
    for seed in range(24):
        relaxed = relax_phi(Stages(_problem(seed)), (None, 0.3)[seed % 2])[0]
        assert relaxed.gap <= 1e-6
    assert tangents <= 88
