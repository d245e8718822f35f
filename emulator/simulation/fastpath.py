"""The fast path: rounds in which no event can change what another device meets are computed, not simulated.

Where every device has its own band, its own idle and cool processor and nothing goes wrong, a round is known when it
begins. Its records are what the devices' own processes would have written (tests hold the two against each other), for
the price of a few array operations. A round that would meet the end of a budget or of a battery is left to the
processes.

As long as the orders stay the same, the next rounds are known as well: some are worked out together, each from the
instant at which the one before ends. That is a guess at what will be asked for, and at when; where something else is,
it is thrown away.
"""

from collections import deque
from typing import NamedTuple, Protocol

import numpy as np

from prefine.emulator.device_table import Round
from prefine.emulator.errors import TraceEndError
from prefine.emulator.physics import compute_energy, compute_time
from prefine.emulator.simulation.orders import Assignment, Orders
from prefine.emulator.simulation.spec import RunSpec
from prefine.emulator.simulation.transfer import Uploads
from prefine.emulator.types import FloatArray, IntArray

MOST_AHEAD = 64
"""Rounds that are worked out together, at most."""

MOST_ROWS = 2048
"""Device records that are: with more devices it is they that cost, not the rounds."""


class ComputedRound(NamedTuple):
    """A whole round: when its last upload ends, the energy of all devices and of each (n,), and their records."""

    end_s: float
    compute_j: float
    uplink_j: float
    each_j: FloatArray
    records: Round

    @property
    def energy_j(self) -> float:
        """What all devices use in the round."""
        return self.compute_j + self.uplink_j


class FastPath(Protocol):
    """Computes whole rounds, where that gives the records the processes would have written."""

    def round(self, orders: Orders, number: int, start_s: float) -> tuple[Assignment, ComputedRound | None]:
        """Round ``number`` from ``start_s`` on; and how it goes, or None where the devices' processes have to run."""
        ...


class NoFastPath:
    """Leaves every round to the processes."""

    def round(self, orders: Orders, number: int, start_s: float) -> tuple[Assignment, ComputedRound | None]:
        """None: every round is simulated."""
        return orders.assignment(number, start_s), None


class Sent(NamedTuple):
    """The uploads of the round of ``assignment``: when each begins and ends, and what it delivered, (n,)."""

    assignment: Assignment
    start_s: FloatArray
    end_s: FloatArray
    delivered_bits: FloatArray
    last_s: float


class IndependentDevices:
    """Computes every round that ends before its limit, for a run whose devices do not change what others meet."""

    def __init__(self, spec: RunSpec) -> None:
        self._spec = spec
        self._ahead: deque[tuple[Assignment, ComputedRound]] = deque()
        self._orders: Orders | None = None
        self._together = 1

    def round(self, orders: Orders, number: int, start_s: float) -> tuple[Assignment, ComputedRound | None]:
        """The sums of docs/theory.md, with the upload integrated over the channel as it will be."""
        known = self._ahead.popleft() if self._ahead else None
        if known is not None and orders is self._orders and known[0].round == number and known[0].start_s == start_s:
            return known
        first = orders.assignment(number, start_s)
        self._ahead = deque(self._course(orders, first, self._how_many(orders, number)))
        return self._ahead.popleft() if self._ahead else (first, None)

    def _how_many(self, orders: Orders, number: int) -> int:
        """Rounds to work out together from ``number`` on: twice as many each time that the orders are the same."""
        self._together = min(2 * self._together, MOST_AHEAD) if orders is self._orders else 1
        self._orders = orders
        if not orders.are_settled:
            return 1
        planned = self._spec.plan.finetune_rounds - number + 1
        most = max(1, MOST_ROWS // len(orders.devices))
        return min(self._together, most, planned) if planned > 0 else min(self._together, most)

    def _course(self, orders: Orders, first: Assignment, count: int) -> list[tuple[Assignment, ComputedRound]]:
        """``first`` and the rounds after it, ``count`` at most, as far as they are known."""
        spec, of = self._spec, orders.devices
        devices, batch, bits = spec.problem.devices, first.batch.astype(np.float64), spec.problem.radio.uplink_bits
        cycles = devices.cycles_per_sample[of]
        compute_s = compute_time(batch, cycles, first.frequency_hz)
        compute_j = compute_energy(batch, cycles, first.frequency_hz, devices.capacitance[of])
        compute_j = compute_j + spec.processor.static_power_w * compute_s
        uploads = Uploads(spec.channel, of, bits, first.bandwidth_hz, spec.noise_psd_w_hz[of])
        course: list[Sent] = []
        assignment = first
        while True:
            start_s = assignment.start_compute_s + compute_s
            try:
                sent = uploads.sent(start_s, assignment.power_w, assignment.limit_s)
            except TraceEndError:  # a budget may end first
                break
            last_s = float(sent[0].max())
            if not last_s < assignment.limit_s:
                break
            course.append(Sent(assignment, start_s, *sent, last_s))
            if len(course) == count:
                break
            next_s = assignment.start_s + (last_s - assignment.start_s)  # as the clock adds up
            assignment = orders.assignment(assignment.round + 1, next_s)
        return _booked(course, compute_j) if course else []


def _booked(course: list[Sent], compute_j: FloatArray) -> list[tuple[Assignment, ComputedRound]]:
    """The rounds of ``course``, whose devices compute with ``compute_j`` (n,) in each."""
    assignments, *columns, last_s = zip(*course, strict=True)
    start_s, end_s, delivered = (np.array(column) for column in columns)
    power_w = np.array([assignment.power_w for assignment in assignments])
    uplink_j = power_w * (end_s - start_s)
    each_j, whole_j, size = compute_j + uplink_j, float(compute_j.sum()), len(compute_j)
    records = _records(
        assignments, power_w, start_s, end_s, np.broadcast_to(compute_j, each_j.shape), uplink_j, delivered
    )
    rounds = zip(last_s, uplink_j.sum(axis=1).tolist(), each_j, strict=True)
    return [
        (assignment, ComputedRound(end, whole_j, sum_j, device_j, Round(records, n * size, (n + 1) * size)))
        for n, (assignment, (end, sum_j, device_j)) in enumerate(zip(assignments, rounds, strict=True))
    ]


def _records(
    assignments: tuple[Assignment, ...], power_w: FloatArray, start_s: FloatArray, *rest: FloatArray
) -> tuple[object, ...]:
    """The columns of the device records of all rounds, one after the other; the other arrays are (rounds, n)."""
    first, count, size = assignments[0], len(assignments), start_s.shape[1]

    def of_round(*values: object) -> object:
        return values[0] if count == 1 else np.repeat(np.array(values), size)

    def of_device(values: FloatArray | IntArray) -> object:
        return values if count == 1 else np.tile(values, count)

    return (
        of_round(*(each.round for each in assignments)),
        of_device(first.devices),
        of_device(first.batch),
        of_device(first.frequency_hz),
        power_w.ravel(),
        of_round(*(each.start_s for each in assignments)),
        np.array([each.download_end_s for each in assignments]).ravel(),
        of_round(*(each.start_compute_s for each in assignments)),
        start_s.ravel(),
        start_s.ravel(),
        *(column.ravel() for column in rest),
        "delivered",
        0,
    )


def fast_path(spec: RunSpec) -> FastPath:
    """The fast path of ``spec``'s run, if it has one."""
    return IndependentDevices(spec) if spec.is_predictable else NoFastPath()
