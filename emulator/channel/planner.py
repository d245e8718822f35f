"""The one gain per device that a planner reckons with: a statistic of the varying channel, the same for every policy.

``upload-time`` (the default) is the gain whose upload time is the expected upload time of a transfer that starts at a
uniformly random instant and integrates the varying rate. (The textbook shortcut, the mean of bits/rate over the
distribution of the gain, is infinite for Rayleigh fading: 1/log(1 + s x) is not integrable against exp(-x) at 0.)
``mean`` is the mean gain over time, ``quantile`` the gain undercut during the given fraction of time.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from prefine.emulator.channel.base import Channel, Grid
from prefine.emulator.channel.expected import LEAST_STEPS
from prefine.emulator.channel.fading import HORIZON_COHERENCE_TIMES, FadingSection
from prefine.emulator.channel.mobility import Site
from prefine.emulator.channel.powerlaw import shares
from prefine.emulator.channel.section import ChannelSection, Statistic
from prefine.emulator.errors import InputError
from prefine.emulator.physics import Mixed, gain_for_rate, rate
from prefine.emulator.randomness import stream
from prefine.emulator.types import FloatArray

STARTS = 4096
"""Uploads, evenly spread over the horizon, of which the expected upload time is the mean."""
PATIENCE_HORIZONS = 100.0
PATIENCE_STEPS = 8_000_000
"""An upload that is not through after so many horizons, or steps, has no signal to speak of."""


def planning_gain(
    channel: Channel,
    power_w: FloatArray,
    bits: float,
    bandwidth_hz: FloatArray,
    noise_psd_w_hz: Mixed,
    *,
    horizon_s: FloatArray | float,
    statistic: Statistic = "upload-time",
    quantile: float = 0.5,
) -> FloatArray:
    """The planner's gain (K,) of each device sending ``bits`` at ``power_w`` (K,) in ``bandwidth_hz`` (K,).

    ``noise_psd_w_hz`` is one for all, or (K,).

    Statistics are taken over [0, ``horizon_s``] (one value or (K,)). A gain that never changes is returned as it is.
    Raises InputError where a device gets no signal.
    """
    devices = len(power_w)
    horizon = np.broadcast_to(np.asarray(horizon_s, dtype=np.float64), (devices,))
    noise_psd = np.broadcast_to(np.asarray(noise_psd_w_hz, dtype=np.float64), (devices,))
    first = channel.ahead(np.arange(devices), np.zeros(devices), 1)
    gain, lasts = np.array(first.gain[:, 0]), np.isinf(first.end_s[:, 0])
    _refuse_silence(np.where(lasts, gain, np.inf), statistic)
    for k in np.flatnonzero(~lasts).tolist():
        if statistic == "upload-time":
            upload_s = _mean_upload_s(channel, k, bits, power_w[k], bandwidth_hz[k], noise_psd[k], horizon[k])
            gain[k] = gain_for_rate(bits / upload_s, bandwidth_hz[k], power_w[k], noise_psd[k])
        else:
            duration_s, gains = _history(channel, k, float(horizon[k]))
            gain[k] = (
                np.average(gains, weights=duration_s)
                if statistic == "mean"
                else time_quantile(duration_s, gains, quantile)
            )
    _refuse_silence(gain, statistic)
    return gain


def planned_gain(
    section: ChannelSection,
    site: Site,
    power_w: FloatArray,
    bits: float,
    bandwidth_hz: FloatArray,
    noise_psd_w_hz: Mixed,
    delay_s: float,
) -> FloatArray:
    """The planner's gain (K,) of the devices at ``site``, as ``section`` says, in a run of ``delay_s``.

    Under fading of a known law devices at rest are all worked out at once, and those that are alike have the same gain
    (`prefine.emulator.channel.expected`). All others go one by one, as in `planning_gain`.
    Raises InputError where a device gets no signal.
    """
    if isinstance(section, FadingSection) and section.mobility == "fixed":
        return _faded_gain(section, site, power_w, bits, bandwidth_hz, noise_psd_w_hz)
    return planning_gain(
        planning_channel(section, site),
        power_w,
        bits,
        bandwidth_hz,
        noise_psd_w_hz,
        horizon_s=section.horizon_s(site, delay_s),
        statistic=section.planning,
        quantile=section.planning_quantile,
    )


def _faded_gain(
    section: FadingSection,
    site: Site,
    power_w: FloatArray,
    bits: float,
    bandwidth_hz: FloatArray,
    noise_psd_w_hz: Mixed,
) -> FloatArray:
    """The planner's gain (K,) of devices at rest: their large-scale gain, and what the statistic makes of fading."""
    still, instant = section.large_scale(site), Grid(0.0, 1.0, 1)
    large_scale = np.array([float(still.sample(k, instant)[0]) for k in range(len(site))])
    _refuse_silence(large_scale, section.planning)
    if section.planning == "mean":
        return large_scale
    if section.planning == "quantile":
        law = section.law(LEAST_STEPS)
        return large_scale * float(np.interp(section.planning_quantile, shares(len(law)), law))
    path = section.path(int(stream(0, "planning").integers(2**63)))
    snr = power_w * large_scale / (noise_psd_w_hz * bandwidth_hz)
    upload_s = path.expected_upload_s(snr, bits / bandwidth_hz)
    patience_s = PATIENCE_HORIZONS * HORIZON_COHERENCE_TIMES * section.memory_s
    for k in np.flatnonzero(upload_s > patience_s).tolist():
        raise _hopeless(k, bits, float(power_w[k]), patience_s)
    return gain_for_rate(bits / upload_s, bandwidth_hz, power_w, noise_psd_w_hz)


def _refuse_silence(gain: FloatArray, statistic: Statistic) -> None:
    for k in np.flatnonzero(~(gain > 0.0)).tolist():
        raise InputError(f"channel: device {k} has no signal to plan with ({statistic} gain is {gain[k]:g})")


def _hopeless(device: int, bits: float, power_w: float, within_s: float) -> InputError:
    return InputError(
        f"channel: device {device} cannot upload {bits:g} bits at {power_w:g} W within {within_s:g} s; "
        "its gain is too low, or zero for too long"
    )


def planning_channel(section: ChannelSection, site: Site) -> Channel:
    """A channel to take the planner's statistics from: the scenario's layout, its own fading, no run's.

    A trace is planned with as if it repeated, whatever ``on_end`` says.
    """
    return section.model_copy(update={"on_end": "wrap"}).build(site, planning_seed(site))


def planning_seed(site: Site) -> int:
    """The seed of the fading that a planner takes its statistics from: no run's."""
    return int(stream(site.layout_seed, "planning").integers(2**63))


def _mean_upload_s(
    channel: Channel,
    device: int,
    bits: float,
    power_w: float,
    bandwidth_hz: float,
    noise_psd_w_hz: float,
    horizon_s: float,
) -> float:
    """Mean duration of `STARTS` uploads, by one pass: each ends where the bits sent have risen by ``bits``.

    The same as `prefine.emulator.simulation.transfer.transfer_end` from each start, without walking the channel again.
    """
    start_s = (np.arange(STARTS) + 0.5) / STARTS * horizon_s
    parts: list[_Sent] = []
    needed_bits, total_bits, steps = math.inf, 0.0, 0
    for begin_s, end_s, gain in _walk(channel, device):
        sent = _sent(begin_s, end_s, rate(bandwidth_hz, power_w, gain, noise_psd_w_hz), total_bits)
        parts.append(sent)
        steps += len(gain)
        total_bits = float(sent.after_bits[-1])
        if begin_s[0] <= start_s[-1] < end_s[-1]:
            needed_bits = bits + float(sent.until(start_s[-1:])[0])
        if total_bits >= needed_bits:
            break
        if end_s[-1] > PATIENCE_HORIZONS * horizon_s or steps > PATIENCE_STEPS:
            raise _hopeless(device, bits, power_w, float(end_s[-1]))
    whole = _Sent(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    return float(np.mean(whole.when(whole.until(start_s) + bits) - start_s))


class _Sent(NamedTuple):
    """Bits sent since time 0 by the time each step begins and ends, and the rate during the step."""

    begin_s: FloatArray
    rate_bit_s: FloatArray
    before_bits: FloatArray
    after_bits: FloatArray

    def until(self, time_s: FloatArray) -> FloatArray:
        """Bits sent by each of ``time_s`` (n,), shape (n,)."""
        at = np.searchsorted(self.begin_s, time_s, "right") - 1
        bits: FloatArray = self.before_bits[at] + self.rate_bit_s[at] * (time_s - self.begin_s[at])
        return bits

    def when(self, bits: FloatArray) -> FloatArray:
        """The first time at which ``bits`` have been sent."""
        at = np.searchsorted(self.after_bits, bits)
        time_s: FloatArray = self.begin_s[at] + (bits - self.before_bits[at]) / self.rate_bit_s[at]
        return time_s


def _sent(begin_s: FloatArray, end_s: FloatArray, rate_bit_s: FloatArray, before_bits: float) -> _Sent:
    bits = np.zeros_like(begin_s)
    np.multiply(rate_bit_s, end_s - begin_s, out=bits, where=rate_bit_s > 0.0)
    after = before_bits + np.cumsum(bits)
    return _Sent(begin_s, rate_bit_s, np.append(before_bits, after[:-1]), after)


def _walk(channel: Channel, device: int) -> Iterator[tuple[FloatArray, FloatArray, FloatArray]]:
    """Begins, ends and gains of the steps from time 0 on, without end."""
    time_s = 0.0
    while True:
        end_s, gain = channel.steps(device, time_s, 4096)
        yield np.append(time_s, end_s[:-1]), end_s, gain
        time_s = float(end_s[-1])


def _history(channel: Channel, device: int, horizon_s: float) -> tuple[FloatArray, FloatArray]:
    """Durations and gains of all steps of [0, horizon_s]."""
    durations, gains = [], []
    for begin_s, end_s, gain in _walk(channel, device):
        durations.append(np.clip(np.minimum(end_s, horizon_s) - begin_s, 0.0, None))
        gains.append(gain)
        if end_s[-1] >= horizon_s:
            break
    return np.concatenate(durations), np.concatenate(gains)


def time_quantile(duration_s: FloatArray, value: FloatArray, quantile: float) -> float:
    """The smallest of ``value`` (n,) that is not exceeded during at least ``quantile`` of the time."""
    return float(time_quantiles(duration_s, value, np.array([quantile]))[0])


def time_quantiles(duration_s: FloatArray, value: FloatArray, quantiles: FloatArray) -> FloatArray:
    """`time_quantile` for each of ``quantiles`` (m,), shape (m,)."""
    order = np.argsort(value, kind="stable")
    share = np.cumsum(duration_s[order])
    found: FloatArray = value[order[np.searchsorted(share, quantiles * share[-1])]]
    return found
