"""Plans with a given number of server rounds: what is given is kept, the rest is split as well as may be."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given as given_examples
from hypothesis import settings
from hypothesis import strategies as st

from prefine.emulator.bound import predict
from prefine.emulator.errors import InfeasibleError, InputError
from prefine.emulator.types import Budget
from prefine.policies.baselines import FinetuneOnly
from prefine.policies.family import Given, given
from tests.policies.instances import load, odd_problem, with_pretraining


def test_without_server_rounds_it_is_the_finetune_only_design() -> None:
    problem = with_pretraining(load("base"))
    plan, alone = Given().plan(problem), FinetuneOnly().plan(problem)
    assert predict(problem, plan) == predict(problem, alone)
    assert plan.relaxed is not None


@pytest.mark.parametrize("name", ["base", "energy-scarce"])
def test_the_servers_time_leaves_the_lowest_finetuning_bound_of_twelve(name: str) -> None:
    """The twelve times are taken anew here, from kappa c f^2 alone."""
    problem, rounds, batch = with_pretraining(load(name)), 45, 16
    server, budget = problem.server, problem.budget
    cycles = rounds * batch * server.cycles_per_sample
    slowest_s = min(0.98 * budget.delay_s, cycles / server.min_frequency_hz if server.min_frequency_hz else np.inf)
    bounds = []
    for time_s in np.geomspace(cycles / server.max_frequency_hz, slowest_s, 12):
        energy_j = server.capacitance * cycles * (cycles / time_s) ** 2
        left = Budget(budget.delay_s - time_s, budget.energy_j - energy_j)
        if left.energy_j > 0.0:
            try:
                relaxed = FinetuneOnly().plan(replace(problem, budget=left)).relaxed
            except InfeasibleError:
                continue
            assert relaxed is not None
            bounds.append((relaxed.bound, cycles / time_s))
    plan = given(problem, rounds, batch)
    assert (plan.pretrain_rounds, plan.server.batch) == (rounds, batch)
    assert plan.finetune_rounds >= 1
    assert plan.server.frequency_hz == pytest.approx(min(bounds)[1], rel=1e-9)
    predicted = predict(problem, plan)
    assert predicted.delay_s <= budget.delay_s
    assert predicted.energy_j <= budget.energy_j
    assert predicted.delay_s >= 0.9 * budget.delay_s or predicted.energy_j >= 0.9 * budget.energy_j


@pytest.mark.parametrize(("rounds", "batch"), [(10**7, 16), (45, 10**9)])
def test_what_does_not_fit_is_said(rounds: int, batch: int) -> None:
    with pytest.raises(InfeasibleError, match=f"{rounds} server rounds of {batch} samples .* do not fit"):
        given(load("base"), rounds, batch)


@pytest.mark.parametrize("wrong", [{"pretrain_rounds": -1}, {"server_batch": 0}])
def test_parameters_out_of_range_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(InputError, match=r"policies\.given\."):
        Given(**wrong)


@given_examples(seed=st.integers(0, 10**6), rounds=st.sampled_from((1, 11, 90)), batch=st.sampled_from((1, 16)))
@settings(max_examples=30, deadline=None, derandomize=True)
def test_odd_problems_are_planned_within_both_budgets_or_refused(seed: int, rounds: int, batch: int) -> None:
    problem = odd_problem(seed, 1 + seed % 8)
    try:
        plan = given(problem, rounds, batch)
    except InfeasibleError:
        return
    predicted = predict(problem, plan)
    assert (plan.pretrain_rounds, plan.server.batch) == (rounds, batch)
    assert problem.server.min_frequency_hz <= plan.server.frequency_hz <= problem.server.max_frequency_hz
    assert predicted.delay_s <= problem.budget.delay_s  # to the last digit
    assert predicted.energy_j <= problem.budget.energy_j
