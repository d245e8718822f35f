"""What devices do under given shares of the barrier's price: closed forms (docs/theory.md, section 3b, "Devices").

The state of device k is what its share r_k and everything else are explicit in; which number that is, and what the
upload does, depends on how it has its band (`prefine.policies.uplinks`).
"""

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
from numpy.typing import NDArray

from prefine.emulator.physics import compute_energy, compute_time
from prefine.emulator.types import Devices, FloatArray, Radio
from prefine.policies.effort import MOST_RESPONSES, Effort
from prefine.policies.uplinks import EVERYONE, Sent, Some, Uplink, between

_BESIDE = 1e-9
"""Relative step past a breakpoint: larger overshoots it more, smaller may still find the limit binding by rounding."""

_BLOCK = 8192
"""Devices worked on at once: larger leaves the processor's cache, smaller spends more on NumPy's calls."""


@dataclass(frozen=True)
class Response:
    """What every device does under its share of the barrier's price; every field has shape (K,).

    ``share`` in W, ``nats`` = ln(1 + SNR). Slopes are d log(value) / d log(state).
    """

    share: FloatArray
    share_slope: FloatArray
    finish_s: FloatArray
    finish_slope: FloatArray
    batch: FloatArray
    frequency_hz: FloatArray
    nats: FloatArray


class PricedDevices:
    """The devices under shares of the barrier's price, without the search for the shares; ``noise`` (K,) is alpha_k.

    Raises PolicyError after `MOST_RESPONSES` responses, counted together with those of all that `at_batches` makes of
    it.
    """

    def __init__(self, devices: Devices, radio: Radio, noise: FloatArray, uplink: Uplink) -> None:
        self.devices, self.radio, self.noise, self.uplink = devices, radio, noise, uplink
        self.effort = Effort(MOST_RESPONSES, "a plan")
        self._limit_batches(devices.min_batch, devices.max_batch)

    def _limit_batches(self, least: FloatArray, most: FloatArray) -> None:
        devices = self.devices
        self._least_batch, self._most_batch = least, most
        self.least_compute_s = compute_time(least, devices.cycles_per_sample, devices.max_frequency_hz)
        self._given = least is most
        self.soonest_each_s = self.least_compute_s + self.uplink.soonest_s
        self.slowest = int(np.argmax(self.soonest_each_s))

    def at_batches(self, batch: FloatArray) -> Self:
        """The same devices with ``batch`` (K,) given, so that only energy and delay are priced."""
        fixed = copy(self)
        fixed.noise = np.zeros(len(batch))
        fixed._limit_batches(batch, batch)
        return fixed

    def at_limits(self) -> Self:
        """The same after a change of its uplink."""
        self._limit_batches(self._least_batch, self._most_batch)
        return self

    @property
    def soonest_s(self) -> float:
        """The soonest in s that everyone can finish: least batch, full speed, fastest upload."""
        return float(self.soonest_each_s[self.slowest])

    def _respond(self, state: FloatArray, energy_price: float, columns: FloatArray | None = None) -> Response:
        """Closed forms of section 3 at ``state`` (K,), in blocks that stay in the cache; ``columns`` to write them in.

        A search that writes every pass into the same columns spares the machine new memory for each.
        """
        self.effort.spend()
        count = len(state)
        if count <= _BLOCK:
            return Response(*self.respond_block(state, energy_price, EVERYONE))
        columns = self.no_columns() if columns is None else columns
        for block in blocks(count):
            for column, values in zip(columns, self.respond_block(state[block], energy_price, block), strict=True):
                column[block] = values
        return Response(*columns)

    def no_columns(self) -> FloatArray:
        """Room for a `Response`: (its fields, K)."""
        return np.empty((len(fields(Response)), len(self.devices)))

    def respond_block(self, state: FloatArray, energy_price: float, which: Some) -> tuple[FloatArray, ...]:
        """`_respond` for the devices ``which``, in the order of `Response`'s fields."""
        return self.beside(self.uplink.respond(state, which), energy_price, which)

    def beside(self, sent: Sent, energy_price: float, which: Some = EVERYONE) -> tuple[FloatArray, ...]:
        """What the devices ``which`` compute beside the uploads ``sent``, in the order of `Response`'s fields."""
        devices = self.devices
        cycles, capacitance = devices.cycles_per_sample[which], devices.capacitance[which]
        share, share_slope, upload_s, upload_slope, nats = sent
        free = np.cbrt(share / (2.0 * capacitance))
        frequency = between(free, devices.min_frequency_hz[which], devices.max_frequency_hz[which])
        compute_slope = np.where(frequency == free, 1.0 / 3.0, 0.0)
        batch = self._least_batch[which]
        if not self._given:
            cycle_price = share / frequency
            sample_price = cycles * (cycle_price + compute_energy(1.0, 1.0, frequency, capacitance))
            wanted = np.sqrt(self.noise[which] / (energy_price * sample_price))
            batch = between(wanted, batch, self._most_batch[which])
            compute_slope += np.where(batch == wanted, 0.5 * cycles * cycle_price / sample_price, 0.0)
        compute_s = compute_time(batch, cycles, frequency)
        finish_s = compute_s + upload_s
        finish_slope = (upload_s * upload_slope + compute_s * compute_slope * share_slope) / finish_s
        return share, share_slope, finish_s, finish_slope, batch, frequency, nats

    def next_breakpoints(
        self,
        flat: NDArray[np.intp],
        frequency: FloatArray,
        faster: NDArray[np.bool_],
        low: FloatArray,
        high: FloatArray,
        energy_price: float,
    ) -> FloatArray:
        """The nearest breakpoints of the devices ``flat`` (n,), whose every limit binds, on the side they need.

        A breakpoint is a state at which a limit (on frequency, batch or power) starts or ceases to bind; between two of
        them with every limit binding, the finishing time is constant and Newton's method has no slope to follow.
        """
        devices = self.devices
        capacitance = devices.capacitance[flat]
        worth = self.noise[flat] / (energy_price * devices.cycles_per_sample[flat])
        cycle_j = compute_energy(1.0, 1.0, frequency, capacitance)
        ends = devices.min_frequency_hz, devices.max_frequency_hz
        shares = [2.0 * capacitance * limit[flat] ** 3 for limit in ends]
        shares += [frequency * (worth / limit[flat] ** 2 - cycle_j) for limit in (self._most_batch, self._least_batch)]
        shares += self.uplink.limits(flat)
        states = [self.uplink.state_of(np.maximum(share, np.finfo(float).tiny), flat) for share in shares]
        past, before = np.array(states) * (1.0 + _BESIDE), np.array(states) * (1.0 - _BESIDE)
        above = np.min(np.where(past > low, past, np.inf), axis=0)
        below = np.max(np.where(before < high, before, 0.0), axis=0)
        nearest: FloatArray = np.where(faster, np.minimum(above, high), np.maximum(below, low))
        return nearest

    def ceiling(self, energy_price: float, which: Some = EVERYONE) -> FloatArray:
        """States beyond which none of the devices ``which`` can be any faster: full speed, full power, least batch."""
        devices = self.devices
        frequency, cycles = devices.max_frequency_hz[which], devices.cycles_per_sample[which]
        cubed = devices.capacitance[which] * frequency**3
        for_batch = self.noise[which] * frequency / (energy_price * cycles * self._least_batch[which] ** 2)
        return self.uplink.ceiling(np.maximum(2.0 * cubed, for_batch), which) * 2.0

    def most_ratio(self, energy_price: float) -> float:
        """A price of a second, in W, beyond which nobody is any faster."""
        return float(np.sum(self._shares(self.ceiling(energy_price))))

    def _shares(self, state: FloatArray) -> FloatArray:
        return self.uplink.respond(state, EVERYONE).share


def blocks(count: int) -> Iterator[slice]:
    """``count`` devices in slices of at most `_BLOCK`."""
    for first in range(0, count, _BLOCK):
        yield slice(first, min(first + _BLOCK, count))
