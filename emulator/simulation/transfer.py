"""Transfers over a time-varying rate, integrated exactly across every gain step they span.

The rate is Shannon's, W log2(1 + p g(t)/(N0 W)) in bit/s, for a bandwidth W in Hz, a power p in W, the channel's linear
gain g and a noise density N0 in W/Hz. Left out: coding, retransmission and the time to set a transfer up.
"""

import math
from collections.abc import Iterator

import numpy as np

from prefine.emulator.channel.base import Channel
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


def transfers(
    channel: Channel,
    devices: IntArray,
    start_s: FloatArray,
    bits: float,
    power_w: FloatArray,
    bandwidth_hz: FloatArray,
    noise_psd_w_hz: FloatArray,
    horizon_s: float,
) -> tuple[FloatArray, FloatArray]:
    """`transfer_end` and `delivered_bits` by then for many devices at once, each with its own start; all (n,)."""
    steps = channel.ahead(devices, start_s, FIRST_STEPS)
    speed = rate(bandwidth_hz, power_w, steps.gain[:, 0], noise_psd_w_hz)
    with np.errstate(divide="ignore", invalid="ignore"):  # silence takes for ever
        end_s = start_s + bits / speed
    delivered = _bits(end_s - start_s, speed)
    longer = end_s > steps.end_s[:, 0]
    if not longer.any():
        return end_s, delivered
    band_hz, watts, noise_psd = (column[longer, None] for column in (bandwidth_hz, power_w, noise_psd_w_hz))
    rates = rate(band_hz, watts, steps.gain[longer], noise_psd)
    end_s[longer], delivered[longer] = _over_steps(start_s[longer], steps.end_s[longer], rates, bits)
    far = np.isnan(end_s)
    if far.any():
        own = power_w[far], bandwidth_hz[far], noise_psd_w_hz[far]
        end_s[far], delivered[far] = transfers_exactly(channel, devices[far], start_s[far], bits, *own, horizon_s)
    return end_s, delivered


def _over_steps(
    start_s: FloatArray, step_end_s: FloatArray, rates: FloatArray, bits: float
) -> tuple[FloatArray, FloatArray]:
    """Ends and delivered bits (n,) of transfers over the steps (n, m) that follow ``start_s`` (n,).

    The end is NaN where the steps do not suffice.
    """
    begin_s = np.concatenate((start_s[:, None], step_end_s[:, :-1]), axis=1)
    lasting_s = _after(begin_s, step_end_s)
    sent = np.cumsum(_bits(lasting_s, rates), axis=1)
    row, last = np.arange(len(rates)), np.argmax(sent >= bits, axis=1)
    left = bits - np.where(last > 0, sent[row, last - 1], 0.0)
    within = np.divide(left, rates[row, last], where=sent[:, -1] >= bits, out=np.full(len(rates), math.nan))
    end_s = begin_s[row, last] + within
    return end_s, _bits(np.minimum(lasting_s, _after(begin_s, end_s[:, None])), rates).sum(axis=1)


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
    end_s, delivered = np.full(len(devices), math.inf), np.zeros(len(devices))
    from_s, left, going, count = start_s.copy(), np.full(len(devices), bits), np.arange(len(devices)), FIRST_STEPS
    while len(going):
        steps = channel.ahead(devices[going], from_s[going], count)
        begin_s = np.concatenate((from_s[going, None], steps.end_s[:, :-1]), axis=1)
        rates = rate(bandwidth_hz[going, None], power_w[going, None], steps.gain, noise_psd_w_hz[going, None])
        lasting_s = _after(begin_s, steps.end_s)
        sent = np.cumsum(_bits(lasting_s, rates), axis=1)
        over = np.flatnonzero(sent[:, -1] >= left[going])
        last, ended = np.argmax(sent[over] >= left[going[over], None], axis=1), going[over]
        before = np.where(last > 0, sent[over, last - 1], 0.0)
        end_s[ended] = begin_s[over, last] + (left[ended] - before) / rates[over, last]
        used_s = np.minimum(lasting_s, _after(begin_s, end_s[going, None]))
        delivered[going] += _sums(_bits(used_s, rates), np.count_nonzero(lasting_s, axis=1))
        left[going] -= sent[:, -1]
        from_s[going] = steps.end_s[:, -1]
        going = going[np.isinf(end_s[going]) & (from_s[going] < horizon_s) & np.isfinite(from_s[going])]
        count = min(2 * count, MOST_STEPS)
    return end_s, delivered


def _sums(values: FloatArray, lengths: IntArray) -> FloatArray:
    """Of the first ``lengths`` (n,) of each row of ``values`` (n, m), added up as a row of that length is."""
    total = np.empty(len(values))
    for length in np.unique(lengths).tolist():
        which = lengths == length
        total[which] = values[which, :length].sum(axis=1)
    return total


def _after(begin_s: FloatArray, end_s: FloatArray) -> FloatArray:
    """How long each end is after its begin, at least 0."""
    return np.subtract(end_s, begin_s, where=begin_s < end_s, out=np.zeros_like(begin_s))


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
