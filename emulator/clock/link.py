"""Transfers over a time-varying rate, integrated exactly across every gain step they span."""

import math
from collections.abc import Iterator

import numpy as np

from emulator.channel.base import Channel
from emulator.physics import rate
from emulator.types import FloatArray

FIRST_STEPS = 8
MOST_STEPS = 4096


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
    """When the integral of W log2(1 + p g(t)/(N0 W)) from ``start_s`` reaches ``bits``.

    ``inf`` where it never does, or not before ``horizon_s`` (needed for traces that repeat without signal).
    """
    if bits <= 0.0:
        return start_s
    first = channel.steps(device, start_s, 1)
    speed = float(rate(bandwidth_hz, power_w, float(first.gain[0]), noise_psd_w_hz))
    if speed * (float(first.end_s[0]) - start_s) >= bits:
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
    first = channel.steps(device, start_s, 1)
    if first.end_s[0] >= end_s:
        return float(rate(bandwidth_hz, power_w, float(first.gain[0]), noise_psd_w_hz)) * (end_s - start_s)
    total = 0.0
    for begins, ends, rates in _rates(channel, device, start_s, power_w, bandwidth_hz, noise_psd_w_hz):
        total += float(np.sum(_bits(np.clip(np.minimum(ends, end_s) - begins, 0.0, None), rates)))
        if ends[-1] >= end_s:
            break
    return total


def _bits(duration_s: FloatArray, rates: FloatArray) -> FloatArray:
    """Bits per step; a silent step delivers none however long it lasts."""
    return np.multiply(duration_s, rates, where=rates > 0.0, out=np.zeros_like(rates))


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
