"""What a plan has the members of a round do: the same in every round that they make, but for when it begins."""

import math
from collections.abc import Iterator
from itertools import repeat
from typing import NamedTuple

import numpy as np

from prefine.emulator.simulation.device import Task, task_of
from prefine.emulator.simulation.spec import RunSpec
from prefine.emulator.types import DevicesPlan, FloatArray, IntArray


class Opening(NamedTuple):
    """How a round opens that begins at ``start_s``: when each of its n devices has the model, which takes the server
    ``downlink_j`` joules, when all of them begin to compute, and when it ends at the latest.
    """

    start_s: float
    download_end_s: tuple[float, ...]
    downlink_j: float
    start_compute_s: float
    limit_s: float


class Assignment(NamedTuple):
    """All parts in one round; arrays are (n,), one entry per device that takes part, in the order of ``devices``."""

    round: int
    devices: IntArray
    batch: IntArray
    frequency_hz: FloatArray
    power_w: FloatArray
    bandwidth_hz: FloatArray
    opening: Opening

    def tasks(self) -> Iterator[Task]:
        """The part of each device, in the order of ``devices``."""
        arrays = self.devices, self.batch, self.frequency_hz, self.power_w, self.bandwidth_hz
        columns = (column.tolist() for column in arrays)
        _, ends_s, _, begin_s, limit_s = self.opening
        return map(task_of, zip(repeat(self.round), *columns, ends_s, repeat(begin_s), repeat(limit_s), strict=False))


class Orders:
    """What ``plan`` has ``devices`` (n,) do, whenever their round begins."""

    def __init__(self, spec: RunSpec, plan: DevicesPlan, devices: IntArray) -> None:
        self._spec = spec
        self.is_power_fixed = spec.power_control.is_fixed
        """Whether `power_w` is the same whenever a round begins."""
        self.plan, self.devices = plan, devices
        self.batches: IntArray = np.rint(plan.batch).astype(np.int64)
        """The plan's mini-batches, (K,)."""
        self.batch, self.frequency_hz = self.batches[devices], plan.frequency_hz[devices]
        self.bandwidth_hz = plan.bands_hz(spec.problem.devices.bandwidth_hz)[devices]
        self._numbers: list[int] = devices.tolist()
        self._longest_s = min(spec.faults.deadline_s, spec.aggregation.limit_s)
        self._horizon_s, self._patience_s = spec.horizon_s, spec.patience_s
        self._power_w: FloatArray | None = None
        self._opened = Opening(math.nan, (), 0.0, math.nan, math.nan)

    @property
    def are_settled(self) -> bool:
        """Whether an `opening` depends on the instant alone: nobody is owed anything from before."""
        return self._spec.deliveries.have_served(self._numbers)

    def opening(self, start_s: float) -> Opening:
        """How the round opens that begins at ``start_s``; who asks again is told the same."""
        if self._opened.start_s != start_s:
            spec = self._spec
            limit_s = min(start_s + self._longest_s, self._horizon_s)
            noise_psd_w_hz, channel = spec.problem.radio.noise_psd_w_hz, spec.channel.undisturbed
            end_s, energy_j = spec.deliveries.deliver(
                channel, self._numbers, start_s, noise_psd_w_hz, self._patience_s, limit_s
            )
            self._opened = Opening(start_s, end_s, energy_j, min(max(end_s), limit_s), limit_s)
        return self._opened

    def power_w(self, start_s: float) -> FloatArray:
        """Each device's power (n,) in the round that begins at ``start_s``; the same array where it is fixed."""
        if not self.is_power_fixed or self._power_w is None:
            self._power_w = self._powers_w(start_s)
        return self._power_w

    def _powers_w(self, start_s: float) -> FloatArray:
        spec = self._spec
        return spec.power_control.powers(spec.problem, spec.channel, self.plan, self.devices, start_s)

    def assignment(self, number: int, start_s: float) -> Assignment:
        """Round ``number``, from ``start_s`` on."""
        opening, power_w = self.opening(start_s), self.power_w(start_s)
        return Assignment(number, self.devices, self.batch, self.frequency_hz, power_w, self.bandwidth_hz, opening)
