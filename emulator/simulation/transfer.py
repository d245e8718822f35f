"""Transfers over a time-varying rate, integrated exactly across every gain step they span.

The rate is Shannon's, W log2(1 + p g(t)/(N0 W)) in bit/s, for a bandwidth W in Hz, a power p in W, the channel's linear
gain g and a noise density N0 in W/Hz. Left out: coding, retransmission and the time to set a transfer up.
"""

import math
from collections.abc import Iterator

import numpy as np
from numpy import count_nonzero
from numpy.typing import NDArray

from prefine.emulator.channel.base import Channel, Steps
from prefine.emulator.physics import rate
from prefine.emulator.types import FloatArray, IntArray

FIRST_STEPS = 8
MOST_STEPS = 4096

FOR_EVER_S = 1e200
"""Stands in for infinity, which times a rate of zero is no number."""


def first_step(
    channel: Channel, device: int, start_s: float, power_w: float, bandwidth_hz: float, noise_psd_w_hz: float
) -> tuple[float, float]:
    """The rate in bit/s at ``start_s``, and until when it stays so."""
    first = channel.steps(device, start_s, 1)
    return float(rate(bandwidth_hz, power_w, float(first.gain[0]), noise_psd_w_hz)), float(first.end_s[0])


def transfer_end(
    channel: Channel,
    device: int,
    start_s: float,
    bits: float,
    power_w: float,
    bandwidth_hz: float,
    noise_psd_w_hz: float,
    horizon_s: float = math.inf,
) -> float:
    """When in seconds the integral of W log2(1 + p g(t)/(N0 W)) from ``start_s`` reaches ``bits``.

    ``inf`` where it never does, or not before ``horizon_s`` (needed for traces that repeat without signal).
    """
    if bits <= 0.0:
        return start_s
    speed, until_s = first_step(channel, device, start_s, power_w, bandwidth_hz, noise_psd_w_hz)
    if speed * (until_s - start_s) >= bits:
        return start_s + bits / speed
    left = bits
    for begin_s, end_s, rates in _rates(channel, device, start_s, power_w, bandwidth_hz, noise_psd_w_hz):
        delivered = np.cumsum(_bits(end_s - begin_s, rates))
        last = int(np.searchsorted(delivered, left))
        if last < len(delivered):
            before = float(delivered[last - 1]) if last else 0.0
            return float(begin_s[last]) + (left - before) / float(rates[last])
        left -= float(delivered[-1])
        if end_s[-1] >= horizon_s:
            return math.inf
    return math.inf


def delivered_bits(
    channel: Channel,
    device: int,
    start_s: float,
    end_s: float,
    power_w: float,
    bandwidth_hz: float,
    noise_psd_w_hz: float,
) -> float:
    """Bits sent between ``start_s`` and ``end_s``: the integral of the rate."""
    speed, until_s = first_step(channel, device, start_s, power_w, bandwidth_hz, noise_psd_w_hz)
    if until_s >= end_s:
        return speed * (end_s - start_s)
    total = 0.0
    for begins, ends, rates in _rates(channel, device, start_s, power_w, bandwidth_hz, noise_psd_w_hz):
        total += float(np.sum(_bits(_after(begins, np.minimum(ends, end_s)), rates)))
        if ends[-1] >= end_s:
            break
    return total


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
        self._bandwidth_hz, self._noise_psd_w_hz = bandwidth_hz, noise_psd_w_hz
        self._speed = self._power_w = self.took_s = np.full(len(devices), math.nan)
        """How long the last ones took, (n,), or would have at the rates that they began with."""
        self.until_s = -math.inf
        """When the first of these rates changes."""

    def going_on(self, start_s: FloatArray) -> tuple[FloatArray, FloatArray]:
        """`sent` for starts (..., n) after the last, of uploads at the same power that end by ``until_s``."""
        end_s = start_s + self.took_s
        return end_s, _bits(end_s - start_s, self._speed)

    def sent(self, start_s: FloatArray, power_w: FloatArray, horizon_s: float) -> tuple[FloatArray, FloatArray]:
        """`transfer_end` and `delivered_bits` by then of the uploads from ``start_s`` (n,) on, at ``power_w`` (n,)."""
        steps, rates, longer = self._look(start_s, power_w)
        if not count_nonzero(longer):
            return self.going_on(start_s)
        begin_s, lasting_s = _stretches(start_s, steps.end_s)
        sent = np.cumsum(_bits(lasting_s, rates), axis=1)
        end_s = np.where(longer, _end_within(begin_s, sent, rates, self._bits), start_s + self.took_s)
        delivered = _bits(np.minimum(lasting_s, _after(begin_s, end_s[:, None])), rates).sum(axis=1)
        far = np.flatnonzero(longer & np.isinf(end_s))
        if len(far):
            end_s[far], delivered[far] = self._exactly(far, start_s, power_w, horizon_s)
        return end_s, delivered

    def exactly(self, start_s: FloatArray, power_w: FloatArray, horizon_s: float) -> tuple[FloatArray, FloatArray]:
        """`sent`, to the last bit as uploads are that are worked out alone."""
        alike = power_w is self._power_w and (start_s + self.took_s).max() <= self.until_s
        if not alike and count_nonzero(self._look(start_s, power_w)[2]):
            return self._exactly(np.arange(len(start_s)), start_s, power_w, horizon_s)
        return self.going_on(start_s)

    def _look(self, start_s: FloatArray, power_w: FloatArray) -> tuple[Steps, FloatArray, NDArray[np.bool_]]:
        """The next steps, the rates in them, and which uploads take longer than the first."""
        steps = self._channel.ahead(self._devices, start_s, FIRST_STEPS)
        links = self._bandwidth_hz[:, None], power_w[:, None], steps.gain, self._noise_psd_w_hz[:, None]
        rates = rate(*links)
        self._power_w, self.until_s, self._speed = power_w, float(steps.end_s[:, 0].min()), rates[:, 0]
        with np.errstate(divide="ignore"):  # silence takes for ever
            self.took_s = self._bits / self._speed
        return steps, rates, start_s + self.took_s > steps.end_s[:, 0]

    def _exactly(
        self, which: IntArray, start_s: FloatArray, power_w: FloatArray, horizon_s: float
    ) -> tuple[FloatArray, FloatArray]:
        link = power_w[which], self._bandwidth_hz[which], self._noise_psd_w_hz[which]
        return transfers_exactly(self._channel, self._devices[which], start_s[which], self._bits, *link, horizon_s)


def transfers_exactly(
    channel: Channel,
    devices: IntArray,
    start_s: FloatArray,
    bits: float,
    power_w: FloatArray,
    bandwidth_hz: FloatArray,
    noise_psd_w_hz: FloatArray,
    horizon_s: float,
) -> tuple[FloatArray, FloatArray]:
    """`transfer_end` and `delivered_bits` by then for many devices, to the last bit, chunk after chunk; all (n,)."""
    links = [column[:, None] for column in (bandwidth_hz, power_w, noise_psd_w_hz)]
    going, left, from_s, count = np.arange(len(devices)), np.full(len(devices), bits), start_s, FIRST_STEPS
    end_s, delivered = np.full(len(devices), math.inf), np.zeros(len(devices))
    while len(going):
        band_hz, watts, noise_psd = links
        steps = channel.ahead(devices[going], from_s, count)
        begin_s, lasting_s = _stretches(from_s, steps.end_s)
        rates = rate(band_hz, watts, steps.gain, noise_psd)
        sent = np.cumsum(_bits(lasting_s, rates), axis=1)
        ends_s = _end_within(begin_s, sent, rates, left)
        end_s[going] = ends_s
        used_s = np.minimum(lasting_s, _after(begin_s, ends_s[:, None]))
        delivered[going] += _sums(_bits(used_s, rates), lasting_s)
        from_s = steps.end_s[:, -1]
        on = np.flatnonzero(np.isinf(ends_s) & (from_s < horizon_s) & np.isfinite(from_s))
        going, left, from_s, links = going[on], left[on] - sent[on, -1], from_s[on], [link[on] for link in links]
        count = min(2 * count, MOST_STEPS)
    return end_s, delivered


def _stretches(start_s: FloatArray, step_end_s: FloatArray) -> tuple[FloatArray, FloatArray]:
    """When each of the steps (n, m) that follow ``start_s`` (n,) begins, and how long it lasts."""
    begin_s = np.empty_like(step_end_s)
    begin_s[:, 0] = start_s
    begin_s[:, 1:] = step_end_s[:, :-1]
    return begin_s, _after(begin_s, step_end_s)


def _end_within(begin_s: FloatArray, sent: FloatArray, rates: FloatArray, left: FloatArray | float) -> FloatArray:
    """Ends (n,) of transfers of ``left`` bits, of which steps (n, m) have ``sent`` so many by their ends.

    Infinite where the steps do not suffice.
    """
    row, last = np.arange(len(sent)), (sent >= np.reshape(left, (-1, 1))).argmax(axis=1)
    rest = left - np.where(last > 0, sent[row, last - 1], 0.0)
    within = np.divide(rest, rates[row, last], where=sent[:, -1] >= left, out=np.full(len(sent), math.inf))
    end_s: FloatArray = begin_s[row, last] + within
    return end_s


def _sums(values: FloatArray, lasting_s: FloatArray) -> FloatArray:
    """Of each row of ``values`` (n, m), added up as a row is that has only the steps that last."""
    if count_nonzero(lasting_s[:, -1]) == len(values):
        whole: FloatArray = values.sum(axis=1)
        return whole
    lengths, total = np.count_nonzero(lasting_s, axis=1), np.empty(len(values))
    for length in np.unique(lengths).tolist():
        which = lengths == length
        total[which] = values[which, :length].sum(axis=1)
    return total


def _after(begin_s: FloatArray, end_s: FloatArray) -> FloatArray:
    """How long each end is after its begin, at least 0."""
    return np.subtract(end_s, begin_s, where=begin_s < end_s, out=np.zeros(begin_s.shape))


def _bits(duration_s: FloatArray, rates: FloatArray) -> FloatArray:
    """Bits per step; a silent step delivers none however long it lasts."""
    return np.minimum(duration_s, FOR_EVER_S) * rates


def _rates(
    channel: Channel, device: int, start_s: float, power_w: float, bandwidth_hz: float, noise_psd_w_hz: float
) -> Iterator[tuple[FloatArray, FloatArray, FloatArray]]:
    """Begin, end and rate of the steps from ``start_s`` on, in chunks that grow with the length of the transfer."""
    count = FIRST_STEPS
    while math.isfinite(start_s):
        steps = channel.steps(device, start_s, count)
        begins = np.concatenate(([start_s], steps.end_s[:-1]))
        yield begins, steps.end_s, rate(bandwidth_hz, power_w, steps.gain, noise_psd_w_hz)
        start_s = float(steps.end_s[-1])
        count = min(2 * count, MOST_STEPS)
