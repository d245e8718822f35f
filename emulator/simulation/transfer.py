"""Transfers over a time-varying rate, integrated exactly across every gain step they span.

The rate is Shannon's, W log2(1 + p g(t)/(N0 W)) in bit/s, for a bandwidth W in Hz, a power p in W, the channel's linear
gain g and a noise density N0 in W/Hz. Left out: coding, retransmission and the time to set a transfer up.
"""

import math
from collections.abc import Iterator

import numpy as np

from prefine.emulator.channel.base import Channel
from prefine.emulator.physics import rate
from prefine.emulator.types import FloatArray

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

    ``inf`` where it never does, or not before ``horizon_s`` (needed for traces that repeat without signal), or never
    begins.
    """
    if bits <= 0.0 or start_s == math.inf:
        return start_s
    speed, until_s = first_step(channel, device, start_s, power_w, bandwidth_hz, noise_psd_w_hz)
    if speed * (until_s - start_s) >= bits:
        return start_s + bits / speed
    left = bits
    for begin_s, end_s, rates in _rates(channel, device, start_s, power_w, bandwidth_hz, noise_psd_w_hz):
        delivered = np.cumsum(bits_sent(end_s - begin_s, rates))
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
        total += float(np.sum(bits_sent(after(begins, np.minimum(ends, end_s)), rates)))
        if ends[-1] >= end_s:
            break
    return total


def after(begin_s: FloatArray, end_s: FloatArray) -> FloatArray:
    """How long each end is after its begin, at least 0."""
    return np.subtract(end_s, begin_s, where=begin_s < end_s, out=np.zeros(begin_s.shape))


def bits_sent(duration_s: FloatArray, rates: FloatArray) -> FloatArray:
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
