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
from prefine.emulator.simulation.orders import Assignment
from prefine.emulator.simulation.ownband import Carrier
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
        self._can_leave = spec.availability.can_change or self._on_batteries
        self._everyone, self._all = np.arange(count), np.ones(count, dtype=np.bool_)
        self._members, self._gathered = self._everyone, self._all
        self._are_all_there = not self._can_leave and self._selected == count
        self._chosen, self._enough = self._all, max(1, self._fewest)
        self._on, self._changes_s = self._all, [math.inf] * count
        self._since_s, self._until_s = -math.inf, math.inf if not spec.availability.can_change else -math.inf

    @cached_property
    def _devices(self) -> Sequence[Device]:
        return [self._make(number) for number in self._everyone.tolist()]

    def available(self) -> NDArray[np.bool_]:
        """Who is there now, (K,)."""
        if not self._can_leave:
            return self._all
        there, _ = self._presence()
        return there & ~self._empty() if self._on_batteries else there

    def _empty(self) -> NDArray[np.bool_]:
        """Whose batteries are, (K,)."""
        return np.array([device.battery.is_empty for device in self._devices])

    def _presence(self) -> tuple[NDArray[np.bool_], list[float]]:
        """Who is on now, (K,), and when each next comes or goes; asked again only when somebody has."""
        now_s = self._env.now
        if not self._since_s <= now_s < self._until_s:
            asked = [self._spec.availability.at(number, now_s) for number in range(len(self._everyone))]
            self._on, self._changes_s = np.array([on for on, _ in asked]), [change_s for _, change_s in asked]
            self._since_s, self._until_s = now_s, min(self._changes_s)
        return self._on, self._changes_s

    def fewest(self, chosen: NDArray[np.bool_]) -> int:
        """With fewer than this of the ``chosen`` (K,), no round begins and no update counts."""
        if chosen is not self._chosen:
            self._chosen, self._enough = chosen, max(1, min(self._fewest, int(np.count_nonzero(chosen))))
        return self._enough

    def gather(self, chosen: NDArray[np.bool_]) -> Generator[simpy.Event, Any, IntArray]:
        """The devices (n,) of the next round, of the ``chosen`` (K,), in rising order; waits where they are too few.

        The same array as the last time where they are the same.
        """
        if self._are_all_there and chosen is self._gathered:
            return self._members
        self._gathered, everyone = chosen, len(self._everyone)
        order = self._selection.permutation(everyone) if self._selected < everyone else self._everyone
        while True:
            there = order[(self.available() & chosen)[order]][: self._selected]
            if len(there) >= self.fewest(chosen):
                there.sort()
                if not np.array_equal(there, self._members):
                    self._members = there
                return self._members
            yield self._env.timeout(min(self.next_change_s(), self._horizon_s) - self._env.now)
            if self._env.now >= self._horizon_s:
                yield self._env.event()

    def can_power(self, devices: IntArray, energy_j: FloatArray) -> bool:
        """Whether no battery of ``devices`` (n,) comes near its end with ``energy_j`` (n,) more."""
        if not self._on_batteries:
            return True
        left_j = np.array([self._devices[device].battery.left_j for device in devices.tolist()])
        return bool(np.all(energy_j * (1.0 + BATTERY_MARGIN) < left_j))

    def drain(self, devices: IntArray, energy_j: FloatArray) -> None:
        """Take ``energy_j`` (n,), booked on the run's account elsewhere, from the batteries of ``devices`` (n,)."""
        if self._on_batteries:
            for device, used_j in zip(devices.tolist(), energy_j.tolist(), strict=True):
                self._devices[device].battery.drain(used_j)

    def begin_round(self, assignment: Assignment) -> list[simpy.Process]:
        """Set all devices of ``assignment`` to work, as `begin` does."""
        spec, of, opening = self._spec, assignment.devices, assignment.opening
        if spec.processor.is_plain and not spec.load.can_steal:
            samples, cycles = assignment.batch.astype(np.float64), spec.problem.devices.cycles_per_sample[of]
            start_s = opening.start_compute_s + compute_time(samples, cycles, assignment.frequency_hz)
            bits, power_w, own_hz = spec.problem.radio.uplink_bits, assignment.power_w, assignment.bandwidth_hz
            self._carrier.foresee(of, start_s, bits, power_w, own_hz, opening.limit_s)
        begins = self._env.timeout(opening.start_compute_s - self._env.now)
        changes_s = self._presence()[1]
        return [self._begin(task, begins, changes_s[task.device]) for task in assignment.tasks()]

    def begin(self, task: Task) -> simpy.Process:
        """Set a device to work, a process whose value is its record; if it drops out, it is interrupted then."""
        begins = self._env.timeout(task.start_compute_s - self._env.now)
        return self._begin(task, begins, self._presence()[1][task.device])

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

    def next_change_s(self) -> float:
        """When anyone next comes or goes; ``inf`` where nobody does."""
        if not self._can_leave:
            return math.inf
        _, changes_s = self._presence()
        left = zip(self._devices, changes_s, strict=True)
        return min([change_s for device, change_s in left if not device.battery.is_empty], default=math.inf)
