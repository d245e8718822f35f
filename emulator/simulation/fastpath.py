"""The fast path: rounds in which no event can change what another device meets are computed, not simulated.

Where every device has its own band, its own idle and cool processor and no upload goes wrong, a round is known when it
begins. Its records are what the devices' own processes would have written (tests hold the two against each other), for
the price of a few array operations. A round that would meet the end of a budget or of a battery, in which somebody
leaves, or is late for its deadline, is left to the processes.

As long as the orders stay the same, the next rounds are known as well: some are worked out together, each from the
instant at which the one before ends. That is a guess at what will be asked for, and at when; where something else is,
it is thrown away.
"""

from collections.abc import Iterator
from typing import Protocol

from prefine.emulator.simulation.course import ComputedRound, Course
from prefine.emulator.simulation.orders import Orders
from prefine.emulator.simulation.spec import RunSpec

MOST_AHEAD = 64
"""Rounds that are worked out together, at most."""

MOST_ROWS = 2048
"""Device records that are: with more devices it is they that cost, not the rounds."""


class FastPath(Protocol):
    """Computes whole rounds, where that gives the records the processes would have written."""

    def round(self, orders: Orders, number: int, start_s: float) -> ComputedRound | None:
        """Round ``number`` from ``start_s`` on, or None where the devices' processes have to run."""
        ...


class NoFastPath:
    """Leaves every round to the processes."""

    def round(self, orders: Orders, number: int, start_s: float) -> ComputedRound | None:
        """None: every round is simulated."""
        return None


class IndependentDevices:
    """Computes every round that ends before its limit, for a run whose devices do not change what others meet."""

    def __init__(self, spec: RunSpec) -> None:
        self._spec = spec
        self._ahead: Iterator[ComputedRound] = iter(())
        self._orders: Orders | None = None
        self._together = 1

    def round(self, orders: Orders, number: int, start_s: float) -> ComputedRound | None:
        """One that is known already, or the first of a new course."""
        known = next(self._ahead, None)
        if known is not None and orders is self._orders and (known.number, known.start_s) == (number, start_s):
            return known
        self._ahead = Course(self._spec, orders, number, start_s, self._how_many(orders, number)).rounds()
        return next(self._ahead, None)

    def _how_many(self, orders: Orders, number: int) -> int:
        """Rounds to work out together from ``number`` on: twice as many each time that the orders are the same."""
        self._together = min(2 * self._together, MOST_AHEAD) if orders is self._orders else 1
        self._orders = orders
        if not orders.are_settled:
            return 1
        planned = self._spec.plan.finetune_rounds - number + 1
        most = max(1, MOST_ROWS // len(orders.devices))
        return min(self._together, most, planned) if planned > 0 else min(self._together, most)


def fast_path(spec: RunSpec) -> FastPath:
    """The fast path of ``spec``'s run, if it has one."""
    return IndependentDevices(spec) if spec.is_foreseeable else NoFastPath()
