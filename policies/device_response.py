"""What devices do under given shares of the barrier's price: closed forms (docs/theory.md, section 3b, "Devices").

The state of device k is what its share r_k and everything else are explicit in; which number that is, and what the
upload does, depends on how it has its band (`prefine.policies.uplinks`).
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from prefine.emulator.physics import Mixed, compute_energy, compute_time
from prefine.emulator.types import Devices, FloatArray
from prefine.policies.uplinks import Index, Sent, Uplink, between, part

_BESIDE = 1e-9
"""Relative step past a breakpoint: larger overshoots it more, smaller may still find the limit binding by rounding."""

_BLOCK = 8192
"""Devices worked on at once: larger leaves the processor's cache, smaller spends more on NumPy's calls."""


class Response(NamedTuple):
    """What every device does under its share of the barrier's price; (..., K), a batch that is given perhaps (K,).

    ``share`` in W, ``nats`` = ln(1 + SNR). Slopes are d log(value) / d log(state).
    """

    share: FloatArray
    share_slope: FloatArray
    finish_s: FloatArray
    finish_slope: FloatArray
    batch: FloatArray
    frequency_hz: FloatArray
    nats: FloatArray

    @staticmethod
    def empty(shape: tuple[int, ...]) -> "Response":
        """Room for one."""
        return Response(*np.empty((len(Response._fields), *shape)))

    def put(self, index: Index, values: "Response") -> None:
        """``values`` in the place of the entries ``index``."""
        for mine, its in zip(self, values, strict=True):
            mine[index] = its


@dataclass(frozen=True)
class PricedDevices:
    """The devices under shares of the barrier's price; ``noise`` is alpha_k.

    Everything has shape (K,), but batches may have (..., K): the same devices with other batches. ``energy_price`` is
    one for all or broadcasts with them.
    """

    cycles_per_sample: FloatArray
    capacitance: FloatArray
    min_frequency_hz: FloatArray
    max_frequency_hz: FloatArray
    noise: FloatArray
    least_batch: FloatArray
    most_batch: FloatArray
    uplink: Uplink

    @staticmethod
    def of(devices: Devices, noise: FloatArray, uplink: Uplink) -> "PricedDevices":
        """Those of ``devices``."""
        return PricedDevices(
            devices.cycles_per_sample,
            devices.capacitance,
            devices.min_frequency_hz,
            devices.max_frequency_hz,
            noise,
            devices.min_batch,
            devices.max_batch,
            uplink,
        )

    def at_batches(self, batch: FloatArray) -> Self:
        """The same devices with ``batch`` (..., K) given, so that only energy and delay are priced."""
        return replace(self, noise=np.zeros_like(self.noise), least_batch=batch, most_batch=batch)

    def part(self, index: Index) -> Self:
        """Some of the devices."""
        columns = {each.name: getattr(self, each.name) for each in fields(self)}
        uplink, most = columns.pop("uplink").part(index), columns.pop("most_batch")
        some = {name: part(values, index) for name, values in columns.items()}
        most = some["least_batch"] if self._given else part(most, index)
        return replace(self, **some, most_batch=most, uplink=uplink)

    @property
    def _given(self) -> bool:
        """Whether there is no batch to decide on."""
        return self.least_batch is self.most_batch

    @cached_property
    def parts(self) -> list[tuple[Index, Self]]:
        """All of them in blocks that stay in the cache."""
        return self.blocks(self.least_batch.shape)

    def blocks(self, shape: tuple[int, ...]) -> list[tuple[Index, Self]]:
        """Where in arrays of ``shape`` (n, K) or (K,) blocks are, and their devices."""
        indices = list(blocks(shape))
        return [(indices[0], self)] if len(indices) == 1 else [(index, self.part(index)) for index in indices]

    @cached_property
    def least_compute_s(self) -> FloatArray:
        """The soonest that each can have computed."""
        return compute_time(self.least_batch, self.cycles_per_sample, self.max_frequency_hz)

    @cached_property
    def soonest_each_s(self) -> FloatArray:
        """The soonest that each can finish: least batch, full speed, fastest upload."""
        return self.least_compute_s + self.uplink.soonest_s

    @cached_property
    def most_share(self) -> FloatArray:
        """The share (K,) from which on every limit binds, where batches are given."""
        most: FloatArray = np.maximum.reduce([2.0 * self.capacitance * self.max_frequency_hz**3, *self.uplink.limits()])
        return most

    def respond(self, state: FloatArray, energy_price: Mixed) -> Response:
        """Closed forms of section 3 at ``state``."""
        return self.beside(self.uplink.respond(state), energy_price)

    def beside(self, sent: Sent, energy_price: Mixed) -> Response:
        """What devices compute beside the uploads ``sent``."""
        cycles, capacitance = self.cycles_per_sample, self.capacitance
        share, share_slope, upload_s, upload_slope, nats = sent
        free = np.cbrt(share / (2.0 * capacitance))
        frequency = between(free, self.min_frequency_hz, self.max_frequency_hz)
        compute_slope = np.where(frequency == free, 1.0 / 3.0, 0.0)
        batch = self.least_batch
        if not self._given:
            cycle_price = share / frequency
            sample_price = cycles * (cycle_price + compute_energy(1.0, 1.0, frequency, capacitance))
            wanted = np.sqrt(self.noise / (energy_price * sample_price))
            batch = between(wanted, batch, self.most_batch)
            slower = np.where(batch == wanted, 0.5 * cycles * cycle_price / sample_price, 0.0)
            compute_slope = compute_slope + slower
        compute_s = compute_time(batch, cycles, frequency)
        finish_s = compute_s + upload_s
        finish_slope = (upload_s * upload_slope + compute_s * compute_slope * share_slope) / finish_s
        return Response(share, share_slope, finish_s, finish_slope, batch, frequency, nats)

    def next_breakpoints(
        self,
        frequency: FloatArray,
        faster: NDArray[np.bool_],
        low: FloatArray,
        high: FloatArray,
        energy_price: Mixed,
    ) -> FloatArray:
        """The nearest breakpoints of devices whose every limit binds, on the side they need.

        A breakpoint is a state at which a limit (on frequency, batch or power) starts or ceases to bind; between two of
        them with every limit binding, the finishing time is constant and Newton's method has no slope to follow.
        """
        worth = self.noise / (energy_price * self.cycles_per_sample)
        cycle_j = compute_energy(1.0, 1.0, frequency, self.capacitance)
        ends = self.min_frequency_hz, self.max_frequency_hz
        shares = [2.0 * self.capacitance * limit**3 for limit in ends]
        shares += [frequency * (worth / limit**2 - cycle_j) for limit in (self.most_batch, self.least_batch)]
        shares += self.uplink.limits()
        states = self.uplink.state_of(np.maximum(shares, np.finfo(float).tiny))
        past, before = states * (1.0 + _BESIDE), states * (1.0 - _BESIDE)
        above = np.min(np.where(past > low, past, np.inf), axis=0)
        below = np.max(np.where(before < high, before, 0.0), axis=0)
        nearest: FloatArray = np.where(faster, np.minimum(above, high), np.maximum(below, low))
        return nearest

    def ceiling(self, energy_price: Mixed) -> FloatArray:
        """States beyond which no device can be any faster: full speed, full power, least batch."""
        frequency = self.max_frequency_hz
        for_batch = self.noise * frequency / (energy_price * self.cycles_per_sample * self.least_batch**2)
        return self.uplink.ceiling(np.maximum(2.0 * self.capacitance * frequency**3, for_batch)) * 2.0

    def most_ratio(self, energy_price: float) -> float:
        """A price of a second, in W, beyond which nobody is any faster."""
        return float(np.sum(self.shares(self.ceiling(energy_price))))

    def shares(self, state: FloatArray) -> FloatArray:
        """Those of the price of a second."""
        return self.uplink.respond(state).share


def blocks(shape: tuple[int, ...]) -> Iterator[Index]:
    """Arrays of ``shape`` (n, K) or (K,) in parts of at most `_BLOCK` entries: rows, or pieces of a row."""
    count = shape[-1]
    whole = slice(0, count)
    columns = [whole] if count <= _BLOCK else [slice(k, min(k + _BLOCK, count)) for k in range(0, count, _BLOCK)]
    if len(shape) == 1:
        yield from ((each,) for each in columns)
        return
    step = max(1, _BLOCK // count)
    for row in range(0, shape[0], step):
        yield from ((slice(row, row + step), each) for each in columns)
