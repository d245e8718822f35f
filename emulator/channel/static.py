"""Gains that never change: the channel of the planner's model, and the null object of every factor."""

import numpy as np

from emulator.channel.base import Channel, Grid, Steps
from emulator.types import FloatArray, IntArray, frozen_array

_FOREVER = frozen_array([np.inf])


class StaticChannel(Channel):
    """One gain per device for good; also a `Process`, so a factor that does not vary."""

    def __init__(self, gain: FloatArray) -> None:
        self._gain = frozen_array(gain)

    def gain(self, device: int, time_s: float) -> float:
        """The gain of ``device``, bit for bit as given."""
        return float(self._gain[device])

    def steps(self, device: int, start_s: float, count: int) -> Steps:
        """One step without end."""
        return Steps(_FOREVER, self._gain[device : device + 1])

    def ahead(self, devices: IntArray, time_s: FloatArray, count: int) -> Steps:
        """One step each, without end."""
        return Steps(np.full((len(devices), 1), np.inf), self._gain[devices, None])

    def sample(self, device: int, grid: Grid) -> FloatArray:
        """The same gain at every instant."""
        return np.full(grid.count, self._gain[device])
