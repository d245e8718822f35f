"""Others' signals at the receiver: how strong they are for each device, on the mean and over time.

The rate of a device is W log2(1 + p g / (N0 W + I)). The mean of I counts as noise, in the planner and on the clock;
where I varies, what it is above or below its mean counts as a gain that varies the other way, which is the same rate.
"""

from dataclasses import dataclass

import numpy as np

from prefine.emulator.channel.base import Channel, Steps
from prefine.emulator.channel.trace import Trace, TraceChannel
from prefine.emulator.channel.tracefile import trace_of
from prefine.emulator.types import FloatArray
from prefine.emulator.units import dbm_to_watt

COLUMN = "interference_dbm"
"""What the third column of a file is called; else it is a canonical trace file."""


@dataclass(frozen=True)
class Interference:
    """``mean_w`` (K,) at the receiver in the band each device sends in, and how it varies (linear, W), if it does."""

    mean_w: FloatArray
    over_time: Channel | None = None

    def on(self, channel: Channel, noise_w: FloatArray) -> Channel:
        """``channel`` as it is where the mean counts as noise, beside ``noise_w`` (K,)."""
        if self.over_time is None:
            return channel
        return InterferedChannel(channel, self.over_time, noise_w, noise_w + self.mean_w)


def interference_of(data: bytes, source: str) -> Trace:
    """The trace of interference in the bytes of a file, in dBm; raises InputError as `trace_of` does."""
    return trace_of(data.replace(COLUMN.encode(), b"gain_db", 1), source)


def traced(trace: Trace, count: int) -> Interference:
    """The interference at ``count`` devices; device k has column k modulo the trace's devices, over and over."""
    means = [_mean_w(trace, k % len(trace)) for k in range(count)]
    shifted = TraceChannel(trace, np.zeros(count), "wrap")
    return Interference(np.array(means) * dbm_to_watt(0.0), _Scaled(shifted, dbm_to_watt(0.0)))


def _mean_w(trace: Trace, column: int) -> float:
    """The mean over one period, in mW; that of a last row that holds for good is its own."""
    power = 10.0 ** (trace.gain_db[column] / 10.0)
    lasting_s = np.diff(np.append(trace.time_s[column], trace.end_s[column]))
    return float(power[-1]) if np.isinf(lasting_s[-1]) else float(np.average(power, weights=lasting_s))


@dataclass(frozen=True)
class _Scaled(Channel):
    """``channel`` times ``factor``."""

    channel: Channel
    factor: float

    def gain(self, device: int, time_s: float) -> float:
        return self.factor * self.channel.gain(device, time_s)

    def steps(self, device: int, start_s: float, count: int) -> Steps:
        steps = self.channel.steps(device, start_s, count)
        return Steps(steps.end_s, self.factor * steps.gain)


class InterferedChannel(Channel):
    """``channel`` times ``counted_w`` / (``noise_w`` + interference), (K,): steps end where either's do."""

    def __init__(self, channel: Channel, interference: Channel, noise_w: FloatArray, counted_w: FloatArray) -> None:
        self._channel, self._interference = channel, interference
        self._noise_w, self._counted_w = noise_w, counted_w

    @property
    def undisturbed(self) -> Channel:
        """The channel itself: what the devices hear is not disturbed by what the server hears."""
        return self._channel

    def gain(self, device: int, time_s: float) -> float:
        """The gain of ``device`` at ``time_s``."""
        noise_w = float(self._noise_w[device]) + self._interference.gain(device, time_s)
        return self._channel.gain(device, time_s) * float(self._counted_w[device]) / noise_w

    def steps(self, device: int, start_s: float, count: int) -> Steps:
        """The step at ``start_s`` and following ones."""
        own, other = (of.steps(device, start_s, count) for of in (self._channel, self._interference))
        last_s = min(own.end_s[-1], other.end_s[-1])
        end_s = np.unique(np.concatenate([own.end_s, other.end_s]))
        end_s = end_s[end_s <= last_s][:count]
        gain = own.gain[np.searchsorted(own.end_s, end_s)]
        noise_w = self._noise_w[device] + other.gain[np.searchsorted(other.end_s, end_s)]
        return Steps(end_s, gain * self._counted_w[device] / noise_w)
