"""Planning online: on the planned channel it ends where the plan ends; under fading it overspends nothing."""

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest

from prefine.emulator.analysis.statistics import estimate
from prefine.emulator.bound import device_round, server_round
from prefine.emulator.experiment.job import Job, execute
from prefine.emulator.plugins import POLICY, part
from prefine.emulator.records import RunRecord
from prefine.emulator.scenario.source import read_source
from prefine.emulator.types import Budget, Observation, Problem
from prefine.policies.online import JointOnline
from tests.emulator.scenario.small import SMALL
from tests.policies.instances import load, with_pretraining
from tests.policies.seen import facts


def _emulate(
    problem: Problem, policy: JointOnline, fading: np.random.Generator | None
) -> tuple[int, int, float, float]:
    """N, M and the used shares of both budgets, with gains that hold for a round; a round that does not fit ends it."""
    plan, budget, count = policy.plan(problem), problem.budget, len(problem.devices)
    done = {"pretrain": 0, "finetune": 0}
    delay_s = energy_j = 0.0
    while True:
        gain = problem.devices.gain * (1.0 if fading is None else 0.1 + fading.exponential(0.9, count))
        left = Budget(budget.delay_s - delay_s, budget.energy_j - energy_j)
        available = np.ones(count)
        available[0] = float(fading is None or fading.random() < 0.9)
        seen = Observation(
            problem, plan, done["pretrain"], done["finetune"], delay_s, left, gain, available, 1.0, facts(gain)
        )
        decision = policy.adapt(seen)
        again = policy.adapt(seen)
        assert np.array_equal(decision.devices.batch, again.devices.batch)  # a pure function of what it sees
        if decision.stage == "stop":
            return done["pretrain"], done["finetune"], delay_s / budget.delay_s, energy_j / budget.energy_j
        if decision.stage == "pretrain":
            cost = server_round(problem.server, decision.server)
        else:
            cost = device_round(replace(problem.devices, gain=gain), problem.radio, decision.devices)
        if cost.delay_s > left.delay_s or cost.energy_j > left.energy_j:
            return done["pretrain"], done["finetune"], delay_s / budget.delay_s, energy_j / budget.energy_j
        delay_s, energy_j = delay_s + cost.delay_s, energy_j + cost.energy_j
        done[decision.stage] += 1


@pytest.mark.parametrize(
    ("name", "objective", "measured", "least_energy"),
    [
        ("tight", "bound_ft", False, 0.97),
        ("energy-scarce", "bound_ft", True, 0.97),
        ("both-stages", "bound", True, 0.93),  # delay binds: the plan itself leaves 2 % of the energy
    ],
)
def test_on_the_planned_channel_it_ends_where_the_plan_ends(
    name: str, objective: Literal["bound", "bound_ft"], measured: bool, least_energy: float
) -> None:
    """``measured``: with noise that settles, a shift that bends and curvatures that devices meet."""
    problem = with_pretraining(load(name))
    if measured:
        learning = replace(
            problem.learning, discrepancy=0.3, discrepancy_relief=3.0, discrepancy_rate=0.05, pretrain_noise=0.5
        )
        curvature = np.linspace(0.2, 0.4, len(problem.devices)) * learning.smoothness
        problem = replace(problem, learning=learning, devices=replace(problem.devices, noise_curvature=curvature))
    policy = JointOnline(objective=objective)
    plan = policy.plan(problem)
    pretraining, finetuning, delay, energy = _emulate(problem, policy, None)
    assert pretraining == plan.pretrain_rounds
    assert finetuning == pytest.approx(plan.finetune_rounds, rel=0.04)
    assert 0.97 <= delay <= 1.0
    assert least_energy <= energy <= 1.0


def test_seeing_gains_that_hold_buys_rounds() -> None:
    problem = with_pretraining(load("energy-scarce"))
    blind = _emulate(problem, JointOnline(trust=0.0), np.random.default_rng(1))
    seeing = _emulate(problem, JointOnline(trust=1.0), np.random.default_rng(1))
    assert seeing[1] > 1.1 * blind[1]
    assert seeing[2] <= 1.0
    assert seeing[3] <= 1.0


HUNGRIER = (
    SMALL.replace("energy_j = 30.0", "energy_j = 3.0").replace('"static"', '"block"\nblock_s = 0.1')
    + "[processor]\nlevels_hz = [0.5e9, 1e9, 2e9]\n"
)
"""Energy is scarce, and the processors' levels cost more of it than the planner knows."""


def test_where_energy_runs_out_early_it_turns_more_of_the_budgets_into_rounds() -> None:
    """Paired over 5 seeds: at least 3 rounds and 10 % of the delay budget more than joint-ft, at 95 %."""
    source = read_source(HUNGRIER)

    def runs(policy: str) -> list[RunRecord]:
        return [execute(Job(source, part(POLICY, policy), seed)).run for seed in range(5)]

    online, static = runs("joint-online"), runs("joint-ft")
    assert {run.stop_reason for run in static} == {"energy"}
    rounds = estimate([a.finetune_rounds - b.finetune_rounds for a, b in zip(online, static, strict=True)])
    delay_s = estimate([a.delay_s - b.delay_s for a, b in zip(online, static, strict=True)])
    assert rounds.mean - rounds.half_width > 3.0
    assert delay_s.mean - delay_s.half_width > 0.1 * source.scenario.budget.delay_s
    for run in online:
        assert run.overrun_delay_s == run.overrun_energy_j == 0.0
        assert run.energy_j <= 3.0 * (1.0 + 1e-9)
