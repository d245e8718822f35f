"""What an importer finds, a measured quantity over time, and how it becomes a channel gain."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from prefine.emulator.channel.trace import Trace, natural_end_s
from prefine.emulator.channel.tracefile import MAX_GAIN_DB
from prefine.emulator.errors import InputError
from prefine.emulator.physics import gain_for_rate
from prefine.emulator.text import BoolArray
from prefine.emulator.types import FloatArray, frozen_array
from prefine.traces.options import Gaps

Quantity = Literal["rate_bit_s", "efficiency_bit_s_hz", "snr_db", "received_dbm", "gain_db"]


@dataclass(frozen=True)
class Series:
    """One device's measurements: ``value`` (n,) of ``quantity`` from ``time_s`` (n,) on, NaN where missing.

    Times rise strictly, on one clock for all devices of a file; the last value lasts to ``end_s``. ``notes`` say what
    the importer did to the data.
    """

    time_s: FloatArray
    value: FloatArray
    quantity: Quantity
    end_s: float
    notes: tuple[str, ...] = ()

    @property
    def measured(self) -> BoolArray:
        """Which values there are, (n,)."""
        return ~np.isnan(self.value)


LINKED: frozenset[Quantity] = frozenset(("rate_bit_s", "efficiency_bit_s_hz", "snr_db"))
"""What becomes a gain only by the link's band."""


@dataclass(frozen=True)
class Link:
    """What turns a measurement into a gain: band, transmit power and noise of the link the trace will drive.

    ``reference_signal_dbm`` is the power that received_dbm (RSRP) was sent with; ``rate_scale`` multiplies rates.
    """

    bandwidth_hz: float
    power_w: float
    noise_psd_w_hz: float
    reference_signal_dbm: float
    rate_scale: float = 1.0

    @property
    def noise_w(self) -> float:
        """Noise power in the band."""
        return self.noise_psd_w_hz * self.bandwidth_hz

    def gain_db(self, value: FloatArray, quantity: Quantity) -> FloatArray:
        """Gain at which this link has the measured rate, spectral efficiency or SNR, or the measured gain itself.

        Rates: g = (2^(r/W) - 1) N0 W / p. SNR: g = snr N0 W / p. Received power: g = received - sent.
        """
        if quantity == "gain_db":
            return value
        if quantity == "received_dbm":
            return value - self.reference_signal_dbm
        if quantity == "snr_db":
            noise_to_power_db: float = 10.0 * np.log10(self.noise_w / self.power_w)
            return value + noise_to_power_db
        rate_bit_s = self.rate_scale * value * (self.bandwidth_hz if quantity == "efficiency_bit_s_hz" else 1.0)
        with np.errstate(over="ignore", divide="ignore"):
            gain = gain_for_rate(rate_bit_s, self.bandwidth_hz, self.power_w, self.noise_psd_w_hz)
            gain_db: FloatArray = 10.0 * np.log10(gain)
            return gain_db


@dataclass(frozen=True)
class GapRule:
    """What to do where nothing was measured for longer than ``longest_s``."""

    rule: Gaps = "hold"
    longest_s: float = 5.0


def to_trace(series: tuple[Series, ...], link: Link, gaps: GapRule, source: str) -> Trace:
    """The channel trace, one device per series; its clock starts when the first of them measures something.

    Raises InputError: nothing measured, a gap that is not allowed, a gain beyond what a trace may hold.
    """
    times, gains, ends = [], [], []
    for device, one in enumerate(aligned(series, source)):
        time_s, gain_db, end_s = _filled(one, link, gaps, f"{source}: device {device}")
        if np.max(gain_db) > MAX_GAIN_DB:
            at = int(np.argmax(gain_db))
            raise InputError(
                f"{source}: device {device} at {time_s[at]:g} s needs a gain of {gain_db[at]:.4g} dB, the most is "
                f"{MAX_GAIN_DB:g} dB; give a wider band than --bandwidth-hz {link.bandwidth_hz:g}, a --rate-scale, or "
                "for packets a longer --bin-s"
            )
        times.append(frozen_array(time_s))
        gains.append(frozen_array(gain_db))
        ends.append(end_s)
    return Trace(tuple(times), tuple(gains), tuple(ends), source=source)


def aligned(series: tuple[Series, ...], source: str) -> tuple[Series, ...]:
    """The same without what comes before the first value, on a clock that shows 0 when the first device has one.

    Raises InputError where a device has no values.
    """
    for device, one in enumerate(series):
        if not one.measured.any():
            raise InputError(f"{source}: device {device}: has no values")
    first = [int(np.argmax(one.measured)) for one in series]
    zero_s = min(float(one.time_s[at]) for one, at in zip(series, first, strict=True))
    return tuple(
        replace(one, time_s=one.time_s[at:] - zero_s, value=one.value[at:], end_s=one.end_s - zero_s)
        for one, at in zip(series, first, strict=True)
    )


def gaps_of(series: Series, longest_s: float) -> list[tuple[float, float]]:
    """(start, length) of each stretch from 0 on in which no new value came for longer than ``longest_s``."""
    known_s = np.append(0.0, series.time_s[series.measured])
    length_s = np.diff(np.append(known_s, series.end_s))
    return [(float(known_s[i]), float(length_s[i])) for i in np.flatnonzero(length_s > longest_s)]


def _filled(series: Series, link: Link, gaps: GapRule, where: str) -> tuple[FloatArray, FloatArray, float]:
    """Times, gains and end with missing values dropped (so the value before holds) and gaps treated by the rule.

    What a device has before its first value is that value, or no signal where that is a gap.
    """
    time_s = series.time_s[series.measured]
    gain_db = link.gain_db(series.value[series.measured], series.quantity)
    found = gaps_of(series, gaps.longest_s) if gaps.rule != "hold" else []
    if found and gaps.rule == "error":
        at_s, length_s = found[0]
        raise InputError(
            f"{where}: nothing measured for {length_s:g} s from {at_s:g} s; --gaps error allows {gaps.longest_s:g} s"
        )
    typical_s = float(np.median(np.diff(time_s))) if len(time_s) > 1 else gaps.longest_s
    late = len(found) > 0 and bool(found[0][0] == 0.0 < time_s[0])
    silent_s = np.array([at_s + min(typical_s, gaps.longest_s) for at_s, _ in found])
    silent_s[: int(late)] = 0.0
    order = np.argsort(np.append(time_s, silent_s), kind="stable")
    end_s = series.end_s if np.isfinite(series.end_s) else natural_end_s(time_s)
    time_s = np.append(time_s, silent_s)[order]
    time_s[0] = 0.0
    return time_s, np.append(gain_db, np.full(len(silent_s), -np.inf))[order], end_s
