"""Recording a channel model as a trace."""

import numpy as np

from prefine.emulator.channel.base import Channel
from prefine.emulator.channel.trace import Trace
from prefine.emulator.types import FloatArray, frozen_array


def record(channel: Channel, devices: int, duration_s: float) -> Trace:
    """Every gain step of ``devices`` devices from time 0 to ``duration_s``: the replay is the channel itself."""
    columns = [_column(channel, device, duration_s) for device in range(devices)]
    times, gains = zip(*columns, strict=True)
    return Trace(times, gains, (duration_s,) * devices)


def _column(channel: Channel, device: int, duration_s: float) -> tuple[FloatArray, FloatArray]:
    begins, gains, time_s = [], [], 0.0
    while time_s < duration_s:
        steps = channel.steps(device, time_s, 4096)
        begins.append(np.append(time_s, steps.end_s[:-1]))
        gains.append(steps.gain)
        time_s = float(steps.end_s[-1])
    begin_s = np.concatenate(begins)
    inside = begin_s < duration_s
    with np.errstate(divide="ignore"):
        return frozen_array(begin_s[inside]), frozen_array(10.0 * np.log10(np.concatenate(gains)[inside]))
