"""A learner that learns when somebody looks: the same steps in the same order, many after one another.

Clock and learner each find in the processor's caches what the other has put out. Taking turns at every round, a round
of ten devices takes half as long again.
"""

from collections.abc import Callable
from functools import partial
from typing import Protocol

from prefine.emulator.types import (
    AsynchronousLearner,
    ClientLearner,
    ClientResults,
    Evaluation,
    FloatArray,
    IntArray,
    Learner,
    PopulationLearner,
    ReportingLearner,
    Reports,
)

MOST = 32
"""Steps that are put off: twice as many save no more, and an error of a step is told so much later."""


class _Whole(ReportingLearner, ClientLearner, Protocol):
    """All that a run with a barrier may ask of a learner."""


def deferred(learner: Learner) -> Learner:
    """``learner``, its steps put off where all that can be asked of it is known."""
    if isinstance(learner, AsynchronousLearner | PopulationLearner):
        return learner
    return (
        _Deferred(learner) if isinstance(learner, ReportingLearner) and isinstance(learner, ClientLearner) else learner
    )


class _Deferred:
    """Answers as ``learner`` would that had made each step at once."""

    def __init__(self, learner: _Whole) -> None:
        self._learner = learner
        self._due: list[Callable[[], None]] = []

    def pretrain(self, batch: int) -> None:
        """See `Learner`."""
        self._put_off(partial(self._learner.pretrain, batch))

    def finetune(self, batches: IntArray, weights: FloatArray) -> None:
        """See `Learner`."""
        self._put_off(partial(self._learner.finetune, batches.copy(), weights.copy()))

    def evaluate(self) -> Evaluation:
        """See `Learner`."""
        return self._up_to_date().evaluate()

    def reports(self) -> Reports:
        """See `ReportingLearner`."""
        return self._up_to_date().reports()

    def client_results(self) -> ClientResults:
        """See `ClientLearner`."""
        return self._up_to_date().client_results()

    def _put_off(self, step: Callable[[], None]) -> None:
        self._due.append(step)
        if len(self._due) == MOST:
            self._up_to_date()

    def _up_to_date(self) -> _Whole:
        due, self._due = self._due, []
        for step in due:
            step()
        return self._learner
