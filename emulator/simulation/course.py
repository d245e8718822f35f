"""Rounds one after the other, each from the instant at which the one before ends, and their records in columns."""

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import repeat
from typing import NamedTuple

import numpy as np

from prefine.emulator.device_table import Column, Round
from prefine.emulator.errors import TraceEndError
from prefine.emulator.physics import compute_energy, compute_time
from prefine.emulator.simulation.orders import Opening, Orders
from prefine.emulator.simulation.spec import RunSpec
from prefine.emulator.simulation.uploads import Uploads
from prefine.emulator.types import FloatArray

TICK = 1e-12
"""Of the time on the clock: far more than rounding makes of a sum of instants."""


class ComputedRound(NamedTuple):
    """A whole round: when its last upload ends, the energy of all devices and of each (n,), and their records."""

    number: int
    start_s: float
    end_s: float
    downlink_j: float
    compute_j: float
    uplink_j: float
    each_j: FloatArray
    records: Round

    @property
    def energy_j(self) -> float:
        """What server and devices use in the round."""
        return self.downlink_j + (self.compute_j + self.uplink_j)


_round, _computed = partial(tuple.__new__, Round), partial(tuple.__new__, ComputedRound)
"""Each class's ``_make`` in a third of the time."""


class Course:
    """``count`` rounds of ``orders``, the first of them ``number`` and from ``start_s`` on; fewer where one is late.

    The sums of docs/theory.md, with the uploads integrated over the channel as it will be. Every round has to end
    before its limit, and before a trace does.
    """

    def __init__(self, spec: RunSpec, orders: Orders, number: int, start_s: float, count: int) -> None:
        of, devices, radio = orders.devices, spec.problem.devices, spec.problem.radio
        batch, cycles = orders.batch.astype(np.float64), devices.cycles_per_sample[of]
        self._orders, self._number, self._count = orders, number, count
        self._compute_s = compute_time(batch, cycles, orders.frequency_hz)
        compute_j = compute_energy(batch, cycles, orders.frequency_hz, devices.capacitance[of])
        self._compute_j = compute_j + spec.processor.static_power_w * self._compute_s
        noise_psd_w_hz = spec.noise_psd_w_hz[of]
        self._uploads = Uploads(spec.channel, of, radio.uplink_bits, orders.bandwidth_hz, noise_psd_w_hz)
        self._opened: list[Opening] = []
        self._last_s: list[float] = []
        self._power_w: list[FloatArray] = []
        self._sent: list[tuple[FloatArray, ...]] = []
        """When uploads begin and end, and what they have delivered, (rounds, n) each."""
        try:
            while len(self._opened) < count and self._goes_on(start_s):
                self._go_on_alike()
                start_s = self._next_s()
        except TraceEndError:  # a budget may end first
            pass

    def _next_s(self) -> float:
        """When the next round begins, as the clock adds up."""
        start_s = self._opened[-1].start_s
        return start_s + (self._last_s[-1] - start_s)

    def _goes_on(self, start_s: float) -> bool:
        """Add the round that begins at ``start_s``, if it ends in time."""
        opening, power_w = self._orders.opening(start_s), self._orders.power_w(start_s)
        begin_s = opening.start_compute_s + self._compute_s
        end_s, delivered = self._uploads.sent(begin_s, power_w, opening.limit_s)
        last_s = float(end_s.max())
        if not last_s < opening.limit_s:
            return False
        self._opened.append(opening)
        self._last_s.append(last_s)
        self._power_w.append(power_w)
        self._sent.append((begin_s[None], end_s[None], delivered[None]))
        return True

    def _go_on_alike(self) -> None:
        """Add rounds of which all uploads go at the rates of the one before.

        Only who may be the last decides when a round ends; the others' instants follow, for all rounds at once.
        """
        begun, took_s, last = len(self._opened), self._uploads.took_s, self._opened[-1]
        busy_s, slack_s = self._compute_s + took_s, TICK * last.limit_s
        until_s = min(last.limit_s, self._uploads.until_s - slack_s)
        if not self._orders.is_power_fixed or not self._last_s[-1] + busy_s.max() < until_s:
            return
        late = np.flatnonzero(busy_s >= busy_s.max() - slack_s)
        slowest = list(zip(self._compute_s[late].tolist(), took_s[late].tolist(), strict=True))
        while len(self._opened) < self._count:
            opening = self._orders.opening(self._next_s())
            begin_s = opening.start_compute_s
            last_s = max([begin_s + computing_s + sending_s for computing_s, sending_s in slowest])
            if not last_s < until_s:
                break
            self._opened.append(opening)
            self._last_s.append(last_s)
        computing_s = np.array([opening.start_compute_s for opening in self._opened[begun:]])
        self._power_w += self._power_w[-1:] * len(computing_s)
        sending_s = computing_s[:, None] + self._compute_s
        self._sent.append((sending_s, *self._uploads.going_on(sending_s)))

    def rounds(self) -> Iterator[ComputedRound]:
        """Its rounds."""
        if not self._opened:
            return iter(())
        begin_s, end_s, delivered = map(np.concatenate, zip(*self._sent, strict=True))
        uplink_j = np.array(self._power_w) * (end_s - begin_s)
        each_j, count, size = self._compute_j + uplink_j, len(begin_s), len(self._compute_j)
        values = self._records(begin_s, end_s, uplink_j, delivered)
        first, last = range(0, count * size, size), range(size, (count + 1) * size, size)
        columns = (
            range(self._number, self._number + count),
            [opening.start_s for opening in self._opened],
            self._last_s,
            [opening.downlink_j for opening in self._opened],
            repeat(float(self._compute_j.sum())),
            uplink_j.sum(axis=1).tolist(),
            each_j,
            map(_round, zip(repeat(values), first, last, strict=False)),
        )
        return map(_computed, zip(*columns, strict=False))

    def _records(
        self, begin_s: FloatArray, end_s: FloatArray, uplink_j: FloatArray, delivered: FloatArray
    ) -> tuple[object, ...]:
        """The columns of the device records, round after round."""
        orders, opened, count = self._orders, self._opened, len(begin_s)

        def of_round(values: Iterable[object]) -> object:
            return next(iter(values)) if count == 1 else np.repeat(np.array(list(values)), begin_s.shape[1])

        def of_device(values: Column) -> object:
            return values if count == 1 else np.tile(values, count)

        return (
            of_round(range(self._number, self._number + count)),
            *map(of_device, (orders.devices, orders.batch, orders.frequency_hz)),
            np.concatenate(self._power_w),
            of_round(opening.start_s for opening in opened),
            np.array([opening.download_end_s for opening in opened]).ravel(),
            of_round(opening.start_compute_s for opening in opened),
            begin_s.ravel(),
            begin_s.ravel(),
            end_s.ravel(),
            of_device(self._compute_j),
            uplink_j.ravel(),
            delivered.ravel(),
            "delivered",
            0,
        )
