"""Steps that are put off are the steps: same order, same arguments, made before anybody looks."""

from typing import Any

import numpy as np
import pytest

from prefine.emulator.simulation.deferred import MOST, deferred
from prefine.emulator.simulation.run import Emulation, run
from prefine.emulator.types import ClientResults, Evaluation, FloatArray, IntArray, Reports
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
    learner: Any = deferred(noting)
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
    counting = CountingLearner()
    assert deferred(counting) is counting
