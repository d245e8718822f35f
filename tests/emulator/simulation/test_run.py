"""Whole runs against the plan's prediction, and what budgets, silence and evaluation do to them."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest

from prefine.emulator.channel.base import StaticChannel
from prefine.emulator.scenario.study import CompareSettings
from prefine.emulator.simulation.faults import Faults
from prefine.emulator.simulation.radio import TargetPower
from prefine.emulator.simulation.run import run
from prefine.emulator.types import Budget, EvaluatedWorkload, WorkloadCost
from tests.emulator.simulation.worlds import CountingLearner, plan, problem, run_spec


@pytest.mark.parametrize("faults", [Faults(), Faults(round_deadline_s=1e9)], ids=["computed", "simulated"])
def test_static_channel_realises_the_prediction(faults: Faults) -> None:
    world = run_spec(problem(), plan(problem()), faults=faults)
    assert world.is_predictable is (faults == Faults())
    result = run(world, "p", 0)
    assert result.run.stop_reason == "plan"
    assert result.run.delay_s == pytest.approx(world.prediction.delay_s, rel=1e-9)
    assert result.run.energy_j == pytest.approx(world.prediction.energy_j, rel=1e-9)
    assert (result.run.pretrain_rounds, result.run.finetune_rounds) == (2, 3)
    assert result.run.wasted_energy_j == 0.0


def test_static_channel_with_target_power_realises_the_prediction() -> None:
    world = run_spec(problem(), plan(problem(), power_share=0.3), power_control=TargetPower())
    result = run(world, "p", 0)
    assert result.run.delay_s == pytest.approx(world.prediction.delay_s, rel=1e-9)
    assert result.run.energy_j == pytest.approx(world.prediction.energy_j, rel=1e-9)


def test_learning_happens_once_a_round_with_the_plans_batches() -> None:
    learner = CountingLearner()
    run(run_spec(problem(), plan(problem()), learner=learner), "p", 0)
    assert learner.pretrained == [32, 32]
    assert [batches for batches, _ in learner.finetuned] == [(16, 16, 16)] * 3
    assert all(weights == pytest.approx((1 / 3,) * 3) for _, weights in learner.finetuned)


@pytest.mark.parametrize("share", [0.05, 0.3, 0.77])
def test_delay_budget_stops_the_run_exactly_there(share: float) -> None:
    base = run_spec(problem(), plan(problem()))
    small = replace(base.problem, budget=Budget(base.prediction.delay_s * share, 1e3))
    result = run(run_spec(small, plan(small)), "p", 0)
    assert result.run.stop_reason == "delay"
    assert result.run.delay_s == small.budget.delay_s
    assert all(record.end_s <= small.budget.delay_s for record in result.rounds)
    assert result.run.energy_j < base.prediction.energy_j


@pytest.mark.parametrize("share", [0.05, 0.3, 0.77])
def test_energy_budget_is_never_passed(share: float) -> None:
    base = run_spec(problem(), plan(problem()))
    small = replace(base.problem, budget=Budget(100.0, base.prediction.energy_j * share))
    result = run(run_spec(small, plan(small)), "p", 0)
    assert result.run.stop_reason == "energy"
    assert result.run.energy_j <= small.budget.energy_j * (1 + 1e-9)


def test_recorded_overrun() -> None:
    base = run_spec(problem(), plan(problem()))
    small = replace(base.problem, budget=Budget(base.prediction.delay_s / 2, base.prediction.energy_j / 2))
    result = run(run_spec(small, plan(small), stop_at_budget=False), "p", 0)
    assert result.run.stop_reason == "plan"
    assert result.run.overrun_delay_s == pytest.approx(base.prediction.delay_s / 2, rel=1e-9)
    assert result.run.overrun_energy_j == pytest.approx(base.prediction.energy_j / 2, rel=1e-7)


def test_lost_work_is_counted() -> None:
    world = problem()
    tight = replace(world, budget=Budget(run_spec(world, plan(world, 0, 1)).prediction.delay_s * 0.9, 1e3))
    result = run(run_spec(tight, plan(tight, 0, 1)), "p", 0)
    assert result.run.finetune_rounds == 0
    assert result.run.wasted_energy_j == pytest.approx(
        sum(r.compute_energy_j + r.uplink_energy_j for r in result.devices if r.outcome == "budget"), rel=1e-12
    )
    assert result.run.wasted_energy_j > 0.0


def test_no_signal_ends_at_the_budget() -> None:
    world = problem()
    result = run(run_spec(world, plan(world), StaticChannel(np.zeros(3))), "p", 0)
    assert result.run.stop_reason in {"delay", "energy"}
    assert result.run.finetune_rounds == 0
    assert {record.outcome for record in result.devices} == {"budget"}


def test_every_second_round_evaluated_and_always_the_last() -> None:
    result = run(run_spec(problem(), plan(problem(), 2, 3), evaluate_every=2), "p", 0)
    assert [bool(np.isnan(r.test_accuracy)) for r in result.rounds] == [True, False, True, False, False]
    assert [bool(np.isnan(r.grad_norm_sq)) for r in result.rounds] == [False, True, False, True, False]
    assert result.run.test_accuracy == result.rounds[-1].test_accuracy


@pytest.mark.parametrize(("rounds", "samples"), [((0, 1), 90.0), ((40, 7), 90.0), ((40, 7), 2000.0), ((0, 200), 1.0)])
def test_automatic_evaluation_takes_a_part_of_the_work_and_no_less_than_it_may(
    rounds: tuple[int, int], samples: float
) -> None:
    looked_at: Any = Mock(spec=EvaluatedWorkload, cost=WorkloadCost(1.0, 2, 1.0, 1.0), evaluation_samples=samples)
    unknown: Any = SimpleNamespace(cost=looked_at.cost)
    wanted = plan(problem(), *rounds)
    every = CompareSettings(evaluate_every="auto").spacing(wanted, looked_at)
    work = rounds[0] * wanted.server.batch + rounds[1] * 2 * float(wanted.devices.batch.sum())
    cheap = [n for n in range(1, sum(rounds) + 1) if sum(rounds) / n * samples <= 0.25 * work]
    assert every == max(1, min([sum(rounds) // 20, *cheap[:1]]))
    assert CompareSettings(evaluate_every=3).spacing(wanted, looked_at) == 3
    assert CompareSettings(evaluate_every="auto").spacing(wanted, unknown) == 1


@pytest.mark.parametrize(("every", "rounds", "known"), [(1, 5, 5), (4, 5, 2), (5, 5, 1), (99, 5, 1), (99, 1, 1)])
def test_one_end_of_the_way_is_no_mean_of_it(every: int, rounds: int, known: int) -> None:
    result = run(run_spec(problem(), plan(problem(), 0, rounds), evaluate_every=every), "p", 0)
    norms = [record.grad_norm_sq for record in result.rounds if not np.isnan(record.grad_norm_sq)]
    assert len(norms) == known
    expected = np.nan if known == 1 < rounds else np.mean(norms)
    assert result.run.mean_grad_norm_sq == pytest.approx(expected, nan_ok=True)
