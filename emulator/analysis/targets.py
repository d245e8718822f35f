"""When a run first reached a target accuracy, and what it had spent by then."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from prefine.emulator.records import RoundRecord, RunRecord

SHARE = 0.9
"""Of the reference policy's mean final accuracy: the target where the scenario names none."""

_OTHER = re.compile(r"time_to_accuracy_.+_s|energy_to_accuracy_.+_j")


class Best(NamedTuple):
    """An evaluated round that ended with a higher accuracy than any before it, and what was spent by its end."""

    accuracy: float
    time_s: float
    energy_j: float


@dataclass(frozen=True)
class Targets:
    """The accuracies ``named`` in the scenario; without any, `SHARE` of the mean final accuracy of ``reference``.

    That one does not move when other policies are added, and the reference itself reaches it in nearly every run.
    """

    named: tuple[float, ...] = ()
    reference: str = ""

    def first(self, runs: Iterable[tuple[str, RunRecord]]) -> Mapping[str, float]:
        """The first target in each case; ``runs`` are all runs with the case (combination of varied values) of each.

        NaN where no target is named and the reference has no finished run.
        """
        scores: dict[str, list[float]] = {}
        for case, run in runs:
            mine = scores.setdefault(case, [])
            if run.policy == self.reference and run.status == "done":
                mine.append(run.test_accuracy)
        if self.named:
            return dict.fromkeys(scores, self.named[0])
        return {case: SHARE * math.fsum(mine) / len(mine) if mine else math.nan for case, mine in scores.items()}


def climb(rounds: Iterable[RoundRecord], spent_j: float = 0.0) -> tuple[Best, ...]:
    """The rounds of one run, in order, that ended with a higher test accuracy than any before them.

    ``spent_j`` was spent before the first of them.
    """
    bests: list[Best] = []
    highest = -math.inf
    for each in rounds:
        spent_j += each.energy_j
        if each.test_accuracy > highest:
            highest = each.test_accuracy
            bests.append(Best(highest, each.end_s, spent_j))
    return tuple(bests)


def reached(bests: Sequence[Best], target: float) -> tuple[float, float]:
    """Time in s and energy in J at the end of the first evaluated round at or above ``target``; NaN if there is none.

    >>> reached((Best(0.3, 1.0, 2.0), Best(0.8, 4.0, 5.0)), 0.5)
    (4.0, 5.0)
    """
    return next(((best.time_s, best.energy_j) for best in bests if best.accuracy >= target), (math.nan, math.nan))


def columns(target: float) -> tuple[str, str]:
    """The columns of a target that is not the first one, which has the plain names.

    >>> columns(0.9)
    ('time_to_accuracy_0.9_s', 'energy_to_accuracy_0.9_j')
    """
    return f"time_to_accuracy_{target}_s", f"energy_to_accuracy_{target}_j"


def is_target(column: str) -> bool:
    """Whether ``column`` belongs to a target that is not the first one."""
    return _OTHER.fullmatch(column) is not None
