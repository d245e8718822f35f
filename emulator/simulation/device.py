"""A device: receives the model, computes at the frequency its processor really has, uploads its gradient."""

import math
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import simpy

from prefine.emulator.device_table import record_of
from prefine.emulator.records import DeviceRecord
from prefine.emulator.simulation.energy import Battery, BatteryEmptyError, EnergyAccount, EnergyExhaustedError, Part
from prefine.emulator.simulation.faults import LostError, Passing
from prefine.emulator.simulation.ownband import Carrier
from prefine.emulator.simulation.processor import PlainProcessor, processor_of
from prefine.emulator.simulation.spec import RunSpec


class Task(NamedTuple):
    """One device's part in a fine-tuning round. Whatever it does is over by ``limit_s``.

    ``bandwidth_hz`` is its own band in this round.
    """

    round: int
    device: int
    batch: int
    frequency_hz: float
    power_w: float
    bandwidth_hz: float
    download_end_s: float
    start_compute_s: float
    limit_s: float


task_of = partial(tuple.__new__, Task)
"""``Task._make`` in a third of the time."""


@dataclass
class Activity:
    """A device's round as it unfolds; becomes a `DeviceRecord`, whose fields these are, in order."""

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
    staleness: int = 0

    def record(self) -> DeviceRecord:
        """As it stands."""
        return record_of(vars(self).values())


@dataclass(frozen=True)
class _BeginningUpload:
    """The upload of ``task`` before its first bit, as `prefine.emulator.simulation.faults.Upload`."""

    device: "Device"
    task: Task
    activity: Activity

    def snr(self) -> float:
        return self.device.snr(self.activity.power_w, self.task.bandwidth_hz)

    def send_in_vain(self, duration_s: float) -> Passing:
        yield from self.device.draw("uplink", self.activity.power_w, duration_s, self.task, self.activity)

    def wait(self, duration_s: float) -> Passing:
        yield self.device.env.timeout(duration_s)


class Device:
    """One device on the clock. It lives through all rounds: its processor stays warm, its battery empties."""

    def __init__(
        self,
        index: int,
        env: simpy.Environment,
        spec: RunSpec,
        uplink: Carrier,
        account: EnergyAccount,
        on_exhausted: Callable[[], None],
    ) -> None:
        devices = spec.problem.devices
        self.env = env
        self._index = index
        self._cycles_per_sample = float(devices.cycles_per_sample[index])
        self._noise_psd_w_hz = float(spec.noise_psd_w_hz[index])
        self._radio = spec.problem.radio
        self._channel = spec.channel
        self._uplink = uplink
        self.battery = Battery(spec.faults.capacity_j, account)
        self._processor = processor_of(spec.processor, index, float(devices.capacitance[index]), spec.load)
        self._is_plain = isinstance(self._processor, PlainProcessor)
        self._processor_state = self._processor.start(float(devices.max_frequency_hz[index]))
        self._upload_faults = spec.faults.upload_faults
        self._on_exhausted = on_exhausted

    def take_part(self, task: Task, begins: simpy.Event) -> Generator[simpy.Event, Any, DeviceRecord]:
        """One round, from the start of the download; a process whose value is the record.

        ``begins`` happens at ``task.start_compute_s``; devices that begin together may wait for the same.
        """
        activity = Activity(task.round, self._index, task.batch, task.frequency_hz, task.power_w, self.env.now)
        try:
            yield begins
            if task.download_end_s > task.start_compute_s:
                yield self.env.event()  # the model never came; the server calls back
            activity.download_end_s = task.download_end_s
            yield from self._compute(task, activity)
            yield from self._upload(task, activity)
        except simpy.Interrupt as interrupt:
            activity.outcome = str(interrupt.cause)
        except BatteryEmptyError:
            activity.outcome = "battery"
            self.battery.give_up()
        except LostError as error:
            activity.outcome = str(error)
        except EnergyExhaustedError:
            activity.outcome = "budget"
            self._on_exhausted()
        return activity.record()

    def _compute(self, task: Task, activity: Activity) -> Passing:
        activity.compute_start_s = self.env.now
        left_cycles = task.batch * self._cycles_per_sample
        if self._is_plain:
            segment = self._processor.next_segment(self._processor_state, task.frequency_hz, left_cycles)
            yield from self.draw("compute", segment.power_w, segment.duration_s, task, activity)
        else:
            yield from self._compute_by_segments(task, activity, left_cycles)
        activity.compute_end_s = self.env.now

    def _compute_by_segments(self, task: Task, activity: Activity, left_cycles: float) -> Passing:
        state = self._processor.rest(self._processor_state, self.env.now)
        while left_cycles > 0.0:
            segment = self._processor.next_segment(state, task.frequency_hz, left_cycles)
            activity.frequency_hz = segment.frequency_hz
            try:
                yield from self.draw("compute", segment.power_w, segment.duration_s, task, activity)
            finally:
                state = self._processor.after(state, segment, self.env.now)
                self._processor_state = state
            left_cycles -= segment.cycles

    def _upload(self, task: Task, activity: Activity) -> Passing:
        activity.upload_start_s = self.env.now
        for fault in self._upload_faults:
            yield from fault.before_upload(_BeginningUpload(self, task, activity))
        bits, power_w, own_hz = self._radio.uplink_bits, activity.power_w, task.bandwidth_hz
        yield from self._uplink.carry(self._index, bits, power_w, task.limit_s, self.battery, own_hz, activity)
        activity.upload_end_s = self.env.now

    def snr(self, power_w: float, bandwidth_hz: float) -> float:
        """Linear signal-to-noise ratio at ``power_w``, now and in ``bandwidth_hz``."""
        noise_w = self._noise_psd_w_hz * bandwidth_hz
        return power_w * self._channel.gain(self._index, self.env.now) / noise_w

    def draw(self, part: Part, power_w: float, duration_s: float, task: Task, activity: Activity) -> Passing:
        """Draw constant power for a while, at most until the task's limit, and book what was really drawn."""
        start_s = self.env.now
        longest_s = min(duration_s, task.limit_s - start_s)
        held_j = self.battery.hold(power_w * longest_s)
        elapsed_s = duration_s
        try:
            yield self.env.timeout(duration_s) if math.isfinite(duration_s) else self.env.event()
        except simpy.Interrupt:
            elapsed_s = self.env.now - start_s
            raise
        finally:
            energy_j = power_w * elapsed_s
            self.battery.settle(part, held_j, energy_j)
            if part == "compute":
                activity.compute_energy_j += energy_j
            else:
                activity.uplink_energy_j += energy_j
