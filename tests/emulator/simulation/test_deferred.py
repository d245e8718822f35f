"""Steps that are put off are the steps: same order, same arguments, made before anybody looks."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from prefine.emulator.scenario.task import TaskSettings
from prefine.emulator.scenario.training import TrainingSettings
from prefine.emulator.simulation.aggregation import Asynchronous
from prefine.emulator.simulation.deferred import MOST, deferred
from prefine.emulator.simulation.run import Emulation, run
from prefine.emulator.simulation.spec import RunSpec
from prefine.emulator.types import ClientResults, Evaluation, FloatArray, IntArray, Learner, Reports
from prefine.models.workload import Workload
from tests.emulator.simulation.worlds import CountingLearner, plan, problem, run_spec

DEVICES = 3


class Noting:
    """Notes what it is told and asked; its loss is the number of steps made."""

    def __init__(self) -> None:
        self.noted: list[tuple[Any, ...]] = []
        self.steps = 0

    def _step(self, *what: Any) -> None:
        self.noted.append(what)
        self.steps += 1

    def pretrain(self, batch: int) -> None:
        self._step("pretrain", batch)

    def finetune(self, batches: IntArray, weights: FloatArray) -> None:
        self._step("finetune", *batches.tolist(), *weights.tolist())

    def evaluate(self) -> Evaluation:
        self.noted.append(("evaluate",))
        return Evaluation(float(self.steps), 0.0, 1.0)

    def reports(self) -> Reports:
        return Reports(np.full(DEVICES, float(self.steps)), np.zeros(DEVICES))

    def client_results(self) -> ClientResults:
        self.noted.append(("client_results",))
        none = np.zeros(DEVICES)
        return ClientResults(none.astype(np.int64), none, none.astype(np.int64), none, none)


def _spec(learner: Learner) -> RunSpec:
    world = problem(DEVICES)
    return run_spec(world, plan(world, 1, 1), learner=learner)


@pytest.mark.parametrize("every", [1, 7, 10**6])
def test_a_run_tells_its_learner_the_same(every: int) -> None:
    at_once, put_off = Noting(), Noting()
    world, wanted = problem(DEVICES), plan(problem(DEVICES), MOST + 5, 2 * MOST + 3)
    slow = Emulation(run_spec(world, wanted, learner=at_once, evaluate_every=every))
    slow.finish()
    assert repr(run(run_spec(world, wanted, learner=put_off, evaluate_every=every), "p", 0)) == repr(
        slow.result("p", 0)
    )
    assert put_off.noted == at_once.noted
    assert put_off.steps == 3 * MOST + 8


def test_whoever_looks_sees_all_steps_and_arguments_may_change_afterwards() -> None:
    noting = Noting()
    learner: Any = deferred(_spec(noting)).learner
    batches, weights = np.ones(DEVICES, dtype=np.int64), np.full(DEVICES, 1.0 / DEVICES)
    learner.finetune(batches, weights)
    batches[:], weights[:] = 9, 0.0
    assert noting.steps == 0
    assert learner.reports().loss.tolist() == [1.0] * DEVICES
    assert noting.noted == [("finetune", 1, 1, 1, *[1.0 / DEVICES] * 3)]
    for _ in range(MOST):
        learner.pretrain(4)
    assert noting.steps == 1 + MOST


def test_a_learner_of_which_less_is_known_learns_at_once() -> None:
    counting = _spec(CountingLearner())
    assert deferred(counting) is counting


def test_no_barrier_no_putting_off() -> None:
    spec = replace(_spec(Noting()), aggregation=Asynchronous(buffer=2, concurrency=DEVICES))
    assert deferred(spec) is spec


class Telling(Noting):
    """Can be told of several rounds, and notes how many."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[int] = []

    def pretrain_rounds(self, batch: int, rounds: int) -> None:
        self.told.append(rounds)

    def finetune_rounds(self, batches: IntArray, weights: FloatArray, rounds: int) -> None:
        self.told.append(rounds)

    def look(self) -> None:
        self.told.append(0)

    def seen(self) -> list[Evaluation]:
        return []


def test_rounds_that_are_alike_are_told_together() -> None:
    telling = Telling()
    learner: Any = deferred(_spec(telling)).learner
    batches, weights = np.ones(DEVICES, dtype=np.int64), np.full(DEVICES, 1.0 / DEVICES)
    for batch in (4, 4, 4, 5):
        learner.pretrain(batch)
    for weight in (weights, weights, 2.0 * weights, weights):
        learner.finetune(batches, weight)
    learner.finetune(2 * batches, weights)
    learner.evaluate()
    assert telling.told == [3, 1, 2, 1, 1, 1]
    for _ in range(MOST + 1):
        learner.pretrain(4)
    assert telling.told[6:] == [MOST]
    learner.look()
    learner.look()
    learner.pretrain(4)
    assert telling.told[7:] == []
    learner.seen()
    assert telling.told[7:] == [1, 0, 0, 1]


def test_the_trained_learner_makes_the_same_of_rounds_told_together() -> None:
    """Bundled learners are put off; several steps, momentum, decay and tail averaging included, to the last bit."""
    recipe = TrainingSettings.model_validate({"momentum": 0.5, "decay": 0.1, "average_last": 0.5})
    made = Workload(TaskSettings(samples=40), recipe, DEVICES, 0)
    at_once, put_off = made.learner(0, 0.1), deferred(_spec(made.learner(0, 0.1))).learner
    assert put_off is not at_once
    batches, weights = np.array([1, 4, 6]), np.array([0.5, 0.0, 0.5])
    for learner in (at_once, put_off):
        for _ in range(5):
            learner.pretrain(7)
        for weight in (weights, weights, weights[::-1].copy(), np.full(DEVICES, 1.0 / DEVICES)):
            for _ in range(3):
                learner.finetune(batches, weight)
    assert repr(put_off.evaluate()) == repr(at_once.evaluate())
