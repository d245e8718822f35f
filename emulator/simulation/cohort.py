"""The devices as the server deals with them: who is there, who is at work, and what they bring back."""

import math
from collections.abc import Generator, Sequence
from typing import Any

import numpy as np
import simpy
from numpy.typing import NDArray

from prefine.emulator.records import DeviceRecord
from prefine.emulator.simulation.assignment import Assignment
from prefine.emulator.simulation.device import Device
from prefine.emulator.simulation.faults import Faults
from prefine.emulator.simulation.onoff import AlwaysOn
from prefine.emulator.types import IntArray


class Cohort:
    """Gathers ``share`` of the devices for a round, sets them to work, waits for them and calls them back."""

    def __init__(
        self,
        env: simpy.Environment,
        devices: Sequence[Device],
        faults: Faults,
        share: float,
        selection: np.random.Generator,
        horizon_s: float,
    ) -> None:
        self._env = env
        self._devices = devices
        self._selected = math.ceil(share * len(devices))
        self.fewest = min(faults.min_participants, self._selected)
        """With fewer than this, no round begins and no update counts."""
        self._selection = selection
        self._horizon_s = horizon_s
        self._busy: list[simpy.Process] = []
        self._loyal = faults.availability == AlwaysOn() and math.isinf(faults.battery_j)
        """Nobody ever leaves."""

    def available(self) -> NDArray[np.bool_]:
        """Who is there now, (K,)."""
        if self._loyal:
            return np.ones(len(self._devices), dtype=np.bool_)
        return np.array([device.available() for device in self._devices])

    def gather(self) -> Generator[simpy.Event, Any, IntArray]:
        """The devices (n,) of the next round, in rising order; waits while too few are there."""
        everyone = len(self._devices)
        order = self._selection.permutation(everyone) if self._selected < everyone else np.arange(everyone)
        while True:
            there = order[self.available()[order]][: self._selected]
            if len(there) >= self.fewest:
                return np.sort(there)
            change_s = min(device.next_change_s() for device in self._devices)
            yield self._env.timeout(min(change_s, self._horizon_s) - self._env.now)
            if self._env.now >= self._horizon_s:
                yield self._env.event()

    def begin(self, assignment: Assignment) -> None:
        """Set the devices to work; who drops out is interrupted then."""
        for task in assignment.tasks():
            device = self._devices[task.device]
            drops_s = device.next_change_s()
            self._busy.append(self._env.process(device.take_part(task._replace(limit_s=min(task.limit_s, drops_s)))))
            if drops_s < task.limit_s:
                self._interrupt_at(drops_s, self._busy[-1])

    def _interrupt_at(self, drops_s: float, process: simpy.Process) -> None:
        def drop(_: simpy.Event) -> None:
            if process.is_alive:
                process.interrupt("dropped")

        self._env.timeout(drops_s - self._env.now).callbacks.append(drop)

    def barrier(self, limit_s: float) -> Generator[simpy.Event, Any, None]:
        """Wait for everyone, or for the round's deadline."""
        everyone = self._env.all_of(self._busy)
        if limit_s >= self._horizon_s:
            yield everyone
            return
        yield everyone | self._env.timeout(limit_s - self._env.now)
        yield from self.recall("late")

    def recall(self, cause: str) -> Generator[simpy.Event, Any, None]:
        """Call back who is still at work, and wait until they have put down their records."""
        for process in self._busy:
            if process.is_alive:
                process.interrupt(cause)
        yield self._env.all_of(self._busy)

    def collect(self) -> list[DeviceRecord]:
        """The records of the round that is over."""
        records = [process.value for process in self._busy if isinstance(process.value, DeviceRecord)]
        self._busy = []
        return records
