"""A learner that learns when somebody looks: the same steps in the same order, many after one another.

Clock and learner each find in the processor's caches what the other has put out. Taking turns at every round, a round
of ten devices takes half as long again. Rounds that are alike are handed on together.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

from prefine.emulator.simulation.aggregation import Synchronous
from prefine.emulator.simulation.curve import AtOnce
from prefine.emulator.simulation.spec import RunSpec
from prefine.emulator.types import (
    ClientLearner,
    ClientResults,
    Evaluation,
    FloatArray,
    IntArray,
    Learner,
    LookingLearner,
    PopulationLearner,
    RepeatingLearner,
    ReportingLearner,
    Reports,
)

MOST = 32
"""Steps that are put off: twice as many save no more, and an error of a step is told so much later."""


class _Whole(ReportingLearner, ClientLearner, Protocol):
    """All that a run with a barrier may ask of a learner."""


def deferred(spec: RunSpec) -> RunSpec:
    """``spec`` with a learner whose steps are put off, where all that the run asks of it is known."""
    learner = spec.learner
    if not isinstance(spec.aggregation, Synchronous) or isinstance(learner, PopulationLearner):
        return spec
    if not isinstance(learner, ReportingLearner) or not isinstance(learner, ClientLearner):
        return spec
    return replace(spec, learner=_Deferred(learner))


@dataclass
class _Alike:
    """Steps in a row that are alike in ``what``; ``make`` makes so many of them."""

    what: tuple[Any, ...]
    make: Callable[[int], None]
    rounds: int = 0


class _Deferred:
    """Answers as ``learner`` would that had made each step at once."""

    def __init__(self, learner: _Whole) -> None:
        self._learner = learner
        self._rounds: RepeatingLearner = learner if isinstance(learner, RepeatingLearner) else _OneByOne(learner)
        self._looks: LookingLearner = learner if isinstance(learner, LookingLearner) else AtOnce(learner)
        self._due: list[_Alike] = []
        self._count = 0

    def pretrain(self, batch: int) -> None:
        """See `Learner`."""
        self._put_off((batch,), partial(self._rounds.pretrain_rounds, batch))

    def finetune(self, batches: IntArray, weights: FloatArray) -> None:
        """See `Learner`."""
        steps = partial(self._rounds.finetune_rounds, batches.copy(), weights.copy())
        self._put_off((batches.tobytes(), weights.tobytes()), steps)

    def evaluate(self) -> Evaluation:
        """See `Learner`."""
        return self._up_to_date().evaluate()

    def look(self) -> None:
        """See `LookingLearner`."""
        self._put_off(("look",), self._look)

    def seen(self) -> list[Evaluation]:
        """See `LookingLearner`."""
        self._up_to_date()
        return self._looks.seen()

    def _look(self, times: int) -> None:
        for _ in range(times):
            self._looks.look()

    def reports(self) -> Reports:
        """See `ReportingLearner`."""
        return self._up_to_date().reports()

    def client_results(self) -> ClientResults:
        """See `ClientLearner`."""
        return self._up_to_date().client_results()

    def _put_off(self, what: tuple[Any, ...], make: Callable[[int], None]) -> None:
        if not self._due or self._due[-1].what != what:
            self._due.append(_Alike(what, make))
        self._due[-1].rounds += 1
        self._count += 1
        if self._count == MOST:
            self._up_to_date()

    def _up_to_date(self) -> _Whole:
        due, self._due, self._count = self._due, [], 0
        for alike in due:
            alike.make(alike.rounds)
        return self._learner


class _OneByOne:
    """``learner`` told of several rounds, which knows of single ones."""

    def __init__(self, learner: Learner) -> None:
        self.pretrain, self.finetune, self.evaluate = learner.pretrain, learner.finetune, learner.evaluate

    def pretrain_rounds(self, batch: int, rounds: int) -> None:
        """See `RepeatingLearner`."""
        for _ in range(rounds):
            self.pretrain(batch)

    def finetune_rounds(self, batches: IntArray, weights: FloatArray, rounds: int) -> None:
        """See `RepeatingLearner`."""
        for _ in range(rounds):
            self.finetune(batches, weights)
