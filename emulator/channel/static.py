"""Gains that never change: the channel of the planner's model, and the null object of every factor."""

import numpy as np

from prefine.emulator.channel.base import Channel, Grid, Steps
from prefine.emulator.types import FloatArray, IntArray, frozen_array


class StaticChannel(Channel):
    """One gain per device for good; also a `Process`, so a factor that does not vary."""

    def __init__(self, gain: FloatArray) -> None:
        self._gain = frozen_array(gain)
        self._for_ever = frozen_array(np.full((len(gain), 1), np.inf))

    def gain(self, device: int, time_s: float) -> float:
        """The gain of ``device``, bit for bit as given."""
        return float(self._gain[device])

    def steps(self, device: int, start_s: float, count: int) -> Steps:
        """One step without end."""
        return Steps(self._for_ever[0], self._gain[device : device + 1])

    def ahead(self, devices: IntArray, time_s: FloatArray, count: int) -> Steps:
        """One step each, without end."""
        return Steps(self._for_ever[: len(devices)], self._gain[devices, None])

    def sample(self, device: int, grid: Grid) -> FloatArray:
        """The same gain at every instant."""
        return np.full(grid.count, self._gain[device])
