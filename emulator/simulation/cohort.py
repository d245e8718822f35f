"""The devices as the server deals with them: who is there, who is at work, and what they bring back."""

import math
from collections.abc import Callable, Collection, Generator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import simpy
from numpy.typing import NDArray

from prefine.emulator.physics import compute_time
from prefine.emulator.simulation.device import Device, Task
from prefine.emulator.simulation.energy import Battery
from prefine.emulator.simulation.orders import Assignment
from prefine.emulator.simulation.ownband import Carrier
from prefine.emulator.simulation.presence import Presence
from prefine.emulator.simulation.spec import RunSpec
from prefine.emulator.types import FloatArray, IntArray

BATTERY_MARGIN = 1e-9
"""Relative. Sums round differently in a computed round: what is so near is left to the devices' processes."""


class Cohort:
    """Gathers a round's devices, sets devices to work and calls them back."""

    def __init__(
        self,
        env: simpy.Environment,
        make: Callable[[int], Device],
        spec: RunSpec,
        carrier: Carrier,
    ) -> None:
        """``make`` makes the device with a number: not before a round is lived, or batteries are drained."""
        self._make, count = make, len(spec.problem.devices)
        self._spec = spec
        self._carrier = carrier
        self._env = env
        self._selected = math.ceil(spec.participation * count)
        self._fewest = min(spec.faults.min_participants, self._selected)
        self._selection = spec.selection
        self._horizon_s = spec.horizon_s
        self._on_batteries = math.isfinite(spec.faults.capacity_j)
        self._everyone = self._members = np.arange(count)
        self._gathered = self._there = self._chosen = np.ones(count, dtype=np.bool_)
        self._enough = max(1, self._fewest)
        self._presence = Presence(env, spec.availability, count, self._batteries)
        self.available, self.next_change_s = self._presence.available, self._presence.next_change_s

    @cached_property
    def _devices(self) -> Sequence[Device]:
        return [self._make(number) for number in self._everyone.tolist()]

    def _batteries(self) -> Sequence[Battery]:
        return self._all_batteries if self._on_batteries else ()

    @cached_property
    def _all_batteries(self) -> Sequence[Battery]:
        return [device.battery for device in self._devices]

    def fewest(self, chosen: NDArray[np.bool_]) -> int:
        """With fewer than this of the ``chosen`` (K,), no round begins and no update counts."""
        if chosen is not self._chosen:
            self._chosen, self._enough = chosen, max(1, min(self._fewest, int(np.count_nonzero(chosen))))
        return self._enough

    def gather(self, chosen: NDArray[np.bool_]) -> Generator[simpy.Event, Any, IntArray]:
        """The devices (n,) of the next round, of the ``chosen`` (K,), in rising order; waits where they are too few.

        The same array as the last time where they are the same.
        """
        everyone, there = len(self._everyone), self.available()
        if chosen is self._gathered and there is self._there and self._selected == everyone:
            return self._members
        order = self._selection.permutation(everyone) if self._selected < everyone else self._everyone
        while True:
            members = order[(there & chosen)[order]][: self._selected]
            if len(members) >= self.fewest(chosen):
                members.sort()
                if not np.array_equal(members, self._members):
                    self._members = members
                self._gathered, self._there = chosen, there
                return self._members
            yield self._env.timeout(min(self.next_change_s(), self._horizon_s) - self._env.now)
            if self._env.now >= self._horizon_s:
                yield self._env.event()
            there = self.available()

    def leaves_s(self, devices: IntArray) -> float:
        """When the first of ``devices`` (n,), all of whom are there, goes; ``inf`` where none does."""
        if not self._spec.availability.can_change:
            return math.inf
        changes_s = self._presence.changes_s()
        first_s: float = min([changes_s[device] for device in devices.tolist()])
        return first_s

    def can_power(self, devices: IntArray, energy_j: FloatArray) -> bool:
        """Whether no battery of ``devices`` (n,) comes near its end with ``energy_j`` (n,) more."""
        if not self._on_batteries:
            return True
        batteries = self._batteries()
        left_j = np.array([batteries[device].left_j for device in devices.tolist()])
        return bool(np.all(energy_j * (1.0 + BATTERY_MARGIN) < left_j))

    def drain(self, devices: IntArray, energy_j: FloatArray) -> None:
        """Take ``energy_j`` (n,), booked on the run's account elsewhere, from the batteries of ``devices`` (n,)."""
        if self._on_batteries:
            batteries = self._batteries()
            for device, used_j in zip(devices.tolist(), energy_j.tolist(), strict=True):
                batteries[device].drain(used_j)

    def begin_round(self, assignment: Assignment) -> list[simpy.Process]:
        """Set all devices of ``assignment`` to work, as `begin` does."""
        spec, of, opening = self._spec, assignment.devices, assignment.opening
        if spec.processor.is_plain and not spec.load.can_steal:
            samples, cycles = assignment.batch.astype(np.float64), spec.problem.devices.cycles_per_sample[of]
            start_s = opening.start_compute_s + compute_time(samples, cycles, assignment.frequency_hz)
            bits, power_w, own_hz = spec.problem.radio.uplink_bits, assignment.power_w, assignment.bandwidth_hz
            self._carrier.foresee(of, start_s, bits, power_w, own_hz, opening.limit_s)
        begins = self._env.timeout(opening.start_compute_s - self._env.now)
        changes_s = self._presence.changes_s()
        return [self._begin(task, begins, changes_s[task.device]) for task in assignment.tasks()]

    def begin(self, task: Task) -> simpy.Process:
        """Set a device to work, a process whose value is its record; if it drops out, it is interrupted then."""
        begins = self._env.timeout(task.start_compute_s - self._env.now)
        return self._begin(task, begins, self._presence.changes_s()[task.device])

    def _begin(self, task: Task, begins: simpy.Event, drops_s: float) -> simpy.Process:
        device = self._devices[task.device]
        if drops_s >= task.limit_s:
            return self._env.process(device.take_part(task, begins))
        process = self._env.process(device.take_part(task._replace(limit_s=drops_s), begins))
        self.recall_at(drops_s, process, "dropped")
        return process

    def recall_at(self, time_s: float, process: simpy.Process, cause: str) -> None:
        """Interrupt the device of ``process`` if it is still at work then."""

        def recall(_: simpy.Event) -> None:
            if process.is_alive:
                process.interrupt(cause)

        self._env.timeout(time_s - self._env.now).callbacks.append(recall)

    def recall(self, busy: Collection[simpy.Process], cause: str) -> Generator[simpy.Event, Any, None]:
        """Call back who of ``busy`` is still at work, and wait until they have put down their records."""
        for process in busy:
            if process.is_alive:
                process.interrupt(cause)
        yield self._env.all_of(busy)

    def draw(self, candidates: IntArray, count: int) -> IntArray:
        """At most ``count`` of ``candidates`` (n,), uniformly, in rising order."""
        if len(candidates) <= count:
            return candidates
        return np.sort(self._selection.permutation(candidates)[:count])
