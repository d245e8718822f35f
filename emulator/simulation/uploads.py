"""Uploads of many devices at once, each in a band of its own: as `transfer_end` has them, in a few array operations."""

import math
from typing import NamedTuple

import numpy as np
from numpy import count_nonzero

from prefine.emulator.channel.base import Channel, Steps
from prefine.emulator.physics import rate
from prefine.emulator.simulation.transfer import FIRST_STEPS, MOST_STEPS, after, bits_sent
from prefine.emulator.types import FloatArray, IntArray


class Walk(NamedTuple):
    """Steps (n, m) that n uploads walk through: when each begins, how long it lasts, its rate, the bits by its end."""

    begin_s: FloatArray
    lasting_s: FloatArray
    rates: FloatArray
    sent: FloatArray

    def end_s(self, left: FloatArray | float) -> FloatArray:
        """When ``left`` bits, one number or (n,), are sent; infinite where the steps do not suffice."""
        place = (self.sent >= np.reshape(left, (-1, 1))).argmax(axis=1)
        first = place == 0
        place += np.arange(0, self.sent.size, self.sent.shape[1])
        sent = self.sent.ravel()
        rest = left - np.where(first, 0.0, sent.take(place - 1))
        never, suffice = np.full(len(place), math.inf), self.sent[:, -1] >= left
        within = np.divide(rest, self.rates.ravel().take(place), where=suffice, out=never)
        return np.asarray(self.begin_s.ravel().take(place) + within)

    def bits_until(self, end_s: FloatArray) -> FloatArray:
        """Bits in each step by ``end_s`` (n,), (n, m)."""
        return bits_sent(np.minimum(self.lasting_s, after(self.begin_s, end_s[:, None])), self.rates)

    def sums(self, values: FloatArray) -> FloatArray:
        """Of each row of ``values`` (n, m), added up as a row is that has only the steps that last."""
        if count_nonzero(self.lasting_s[:, -1]) == len(values):
            whole: FloatArray = values.sum(axis=1)
            return whole
        lengths, total = np.count_nonzero(self.lasting_s, axis=1), np.empty(len(values))
        for length in np.unique(lengths).tolist():
            which = lengths == length
            total[which] = values[which, :length].sum(axis=1)
        return total

    def of(self, which: IntArray) -> "Walk":
        """That of some of the uploads."""
        return Walk(*(column[which] for column in self))


class Uploads:
    """Uploads of the same ``bits`` by the same ``devices`` (n,), over and over, none before the last."""

    def __init__(
        self,
        channel: Channel,
        devices: IntArray,
        bits: float,
        bandwidth_hz: FloatArray,
        noise_psd_w_hz: FloatArray,
    ) -> None:
        self._channel, self._devices, self._bits = channel, devices, bits
        self._bandwidth_hz, self._noise_psd_w_hz = bandwidth_hz[:, None], noise_psd_w_hz[:, None]
        self._speed = self._power_w = self.took_s = np.full(len(devices), math.nan)
        """How long the last ones took, (n,), or would have at the rates that they began with."""
        self.until_s = -math.inf
        """When the first of these rates changes."""

    def going_on(self, start_s: FloatArray) -> tuple[FloatArray, FloatArray]:
        """`sent` for starts (..., n) after the last, of uploads at the same power that end by ``until_s``."""
        end_s = start_s + self.took_s
        return end_s, bits_sent(end_s - start_s, self._speed)

    def sent(self, start_s: FloatArray, power_w: FloatArray, horizon_s: float) -> tuple[FloatArray, FloatArray]:
        """`transfer_end` and `delivered_bits` by then of the uploads from ``start_s`` (n,) on, at ``power_w`` (n,)."""
        steps, rates = self._look(start_s, power_w)
        end_s = start_s + self.took_s
        longer = end_s > steps.end_s[:, 0]
        if not count_nonzero(longer):
            return self.going_on(start_s)
        walk = _walk(start_s, steps, rates)
        end_s = np.where(longer, walk.end_s(self._bits), end_s)
        delivered = walk.bits_until(end_s).sum(axis=1)
        self._finish(np.flatnonzero(longer & np.isinf(end_s)), walk, steps, power_w, horizon_s, end_s, delivered)
        return end_s, delivered

    def exactly(self, start_s: FloatArray, power_w: FloatArray, horizon_s: float) -> tuple[FloatArray, FloatArray]:
        """`sent`, to the last bit as uploads are that are worked out alone."""
        if power_w is self._power_w and (start_s + self.took_s).max() <= self.until_s:
            return self.going_on(start_s)
        steps, rates = self._look(start_s, power_w)
        walk = _walk(start_s, steps, rates)
        end_s = walk.end_s(self._bits)
        delivered = walk.sums(walk.bits_until(end_s))
        self._finish(np.flatnonzero(np.isinf(end_s)), walk, steps, power_w, horizon_s, end_s, delivered)
        return end_s, delivered

    def _look(self, start_s: FloatArray, power_w: FloatArray) -> tuple[Steps, FloatArray]:
        """The next steps and the rates in them."""
        steps = self._channel.ahead(self._devices, start_s, FIRST_STEPS)
        rates = rate(self._bandwidth_hz, power_w[:, None], steps.gain, self._noise_psd_w_hz)
        self._power_w, self.until_s, self._speed = power_w, float(steps.end_s[:, 0].min()), rates[:, 0]
        with np.errstate(divide="ignore"):  # silence takes for ever
            self.took_s = self._bits / self._speed
        return steps, rates

    def _finish(
        self,
        far: IntArray,
        walk: Walk,
        steps: Steps,
        power_w: FloatArray,
        horizon_s: float,
        end_s: FloatArray,
        delivered: FloatArray,
    ) -> None:
        """Walk on, chunk after chunk, with those that the first steps did not suffice for; fill in what comes of it."""
        if not len(far):
            return
        first, count, from_s = walk.of(far), FIRST_STEPS, steps.end_s[far, -1]
        delivered[far] = first.sums(bits_sent(first.lasting_s, first.rates))
        left = self._bits - first.sent[:, -1]
        while len(on := np.flatnonzero((from_s < horizon_s) & np.isfinite(from_s))):
            far, left, from_s, count = far[on], left[on], from_s[on], min(2 * count, MOST_STEPS)
            steps = self._channel.ahead(self._devices[far], from_s, count)
            links = self._bandwidth_hz[far], power_w[far, None], steps.gain, self._noise_psd_w_hz[far]
            walk = _walk(from_s, steps, rate(*links))
            ends_s = end_s[far] = walk.end_s(left)
            delivered[far] += walk.sums(walk.bits_until(ends_s))
            on = np.flatnonzero(np.isinf(ends_s))
            far, left, from_s = far[on], left[on] - walk.sent[on, -1], steps.end_s[on, -1]


def _walk(start_s: FloatArray, steps: Steps, rates: FloatArray) -> Walk:
    """Through ``steps`` (n, m), from ``start_s`` (n,) on."""
    begin_s = np.empty_like(steps.end_s)
    begin_s[:, 0] = start_s
    begin_s[:, 1:] = steps.end_s[:, :-1]
    lasting_s = after(begin_s, steps.end_s)
    return Walk(begin_s, lasting_s, rates, np.add.accumulate(bits_sent(lasting_s, rates), axis=1))
