"""A device: receives the model, computes at the frequency its processor really has, uploads its gradient."""

import math
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import simpy

from prefine.emulator.channel.base import Channel
from prefine.emulator.records import DeviceRecord
from prefine.emulator.simulation.assignment import Task
from prefine.emulator.simulation.energy import EnergyExhaustedError, Ledger, Part
from prefine.emulator.simulation.faults import Faults
from prefine.emulator.simulation.processor import Processor
from prefine.emulator.simulation.uplink import Medium, Transfer
from prefine.emulator.types import Problem


@dataclass
class Activity:
    """A device's round as it unfolds; becomes a `DeviceRecord`."""

    run_id: str
    round: int
    device: int
    batch: int
    frequency_hz: float
    power_w: float
    download_start_s: float
    download_end_s: float = math.nan
    compute_start_s: float = math.nan
    compute_end_s: float = math.nan
    upload_start_s: float = math.nan
    upload_end_s: float = math.nan
    compute_energy_j: float = 0.0
    uplink_energy_j: float = 0.0
    delivered_bits: float = 0.0
    outcome: str = "delivered"


class _BatteryEmptyError(Exception):
    """The battery does not hold the energy of the next activity."""


class _OutageError(Exception):
    """Every upload attempt met an outage."""


class Device:
    """One device on the clock. It lives through all rounds: its processor stays warm, its battery empties."""

    def __init__(
        self,
        index: int,
        run_id: str,
        env: simpy.Environment,
        problem: Problem,
        channel: Channel,
        medium: Medium,
        ledger: Ledger,
        processor: Processor,
        faults: Faults,
        on_exhausted: Callable[[], None],
    ) -> None:
        self.index = index
        self._run_id = run_id
        self._env = env
        self._cycles_per_sample = float(problem.devices.cycles_per_sample[index])
        self._band_hz = float(problem.devices.bandwidth_hz[index])
        self._radio = problem.radio
        self._channel = channel
        self._medium = medium
        self._ledger = ledger
        self._processor = processor
        self._processor_state = processor.start(float(problem.devices.max_frequency_hz[index]))
        self._faults = faults
        self._on_exhausted = on_exhausted
        self._battery_j = faults.battery_j

    def available(self) -> bool:
        """Whether it is there now and its battery is not empty."""
        return self._battery_j > 0.0 and self._faults.availability.at(self.index, self._env.now)[0]

    def next_change_s(self) -> float:
        """When it next comes or goes."""
        return self._faults.availability.at(self.index, self._env.now)[1] if self._battery_j > 0.0 else math.inf

    def take_part(self, task: Task) -> Generator[simpy.Event, Any, DeviceRecord]:
        """One round, from the start of the download; a process whose value is the record."""
        activity = Activity(
            self._run_id, task.round, self.index, task.batch, task.frequency_hz, task.power_w, self._env.now
        )
        try:
            yield self._env.timeout(task.start_compute_s - self._env.now)
            if task.download_end_s > task.start_compute_s:
                yield self._env.event()  # the model never came; the server calls back
            activity.download_end_s = task.download_end_s
            yield from self._compute(task, activity)
            yield from self._upload(task, activity)
        except simpy.Interrupt as interrupt:
            activity.outcome = str(interrupt.cause)
        except _BatteryEmptyError:
            activity.outcome = "battery"
            self._battery_j = 0.0
        except _OutageError:
            activity.outcome = "outage"
        except EnergyExhaustedError:
            activity.outcome = "budget"
            self._on_exhausted()
        return DeviceRecord(**vars(activity))

    def _compute(self, task: Task, activity: Activity) -> Generator[simpy.Event, Any, None]:
        activity.compute_start_s = self._env.now
        state = self._processor.rest(self._processor_state, self._env.now)
        left_cycles = task.batch * self._cycles_per_sample
        while left_cycles > 0.0:
            segment = self._processor.next_segment(state, task.frequency_hz, left_cycles)
            activity.frequency_hz = segment.frequency_hz
            try:
                yield from self._draw("compute", segment.power_w, segment.duration_s, task, activity)
            finally:
                state = self._processor.after(state, segment, self._env.now)
                self._processor_state = state
            left_cycles -= segment.cycles
        activity.compute_end_s = self._env.now

    def _upload(self, task: Task, activity: Activity) -> Generator[simpy.Event, Any, None]:
        activity.upload_start_s = self._env.now
        yield from self._wait_for_signal(task, activity)
        transfer = self._medium.send(self.index, self._radio.uplink_bits, activity.power_w, task.limit_s)
        try:
            if transfer.held_j > self._battery_j:
                raise _BatteryEmptyError
            yield transfer.done
            activity.upload_end_s = self._env.now
        finally:
            self._medium.abort(transfer)
            self._book(transfer, activity)

    def _book(self, transfer: Transfer, activity: Activity) -> None:
        activity.uplink_energy_j += transfer.energy_j
        activity.delivered_bits = transfer.delivered_bits
        self._battery_j -= transfer.energy_j

    def _wait_for_signal(self, task: Task, activity: Activity) -> Generator[simpy.Event, Any, None]:
        """Try until the SNR is above the outage threshold; the wait doubles after each failure."""
        outage, noise_w = self._faults.outage, self._radio.noise_psd_w_hz * self._band_hz
        if outage.threshold <= 0.0:
            return
        backoff_s = outage.backoff_s
        failures = 0
        while activity.power_w * self._channel.gain(self.index, self._env.now) / noise_w < outage.threshold:
            yield from self._draw("uplink", activity.power_w, outage.attempt_s, task, activity)
            failures += 1
            if failures > outage.retries:
                raise _OutageError
            yield self._env.timeout(backoff_s)
            backoff_s *= 2.0

    def _draw(
        self, part: Part, power_w: float, duration_s: float, task: Task, activity: Activity
    ) -> Generator[simpy.Event, Any, None]:
        """Draw constant power for a while, at most until the task's limit, and book what was really drawn."""
        start_s = self._env.now
        longest_s = min(duration_s, task.limit_s - start_s)
        if power_w * longest_s > self._battery_j:
            raise _BatteryEmptyError
        held_j = self._ledger.hold(power_w * longest_s)
        elapsed_s = duration_s
        try:
            yield self._env.timeout(duration_s) if math.isfinite(duration_s) else self._env.event()
        except simpy.Interrupt:
            elapsed_s = self._env.now - start_s
            raise
        finally:
            energy_j = power_w * elapsed_s
            self._ledger.settle(part, held_j, energy_j)
            self._battery_j -= energy_j
            if part == "compute":
                activity.compute_energy_j += energy_j
            else:
                activity.uplink_energy_j += energy_j
