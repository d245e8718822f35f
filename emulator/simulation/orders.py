"""What a plan has the members of a round do: the same in every round that they make, but for when it begins."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from prefine.emulator.simulation.device import Task
from prefine.emulator.simulation.spec import RunSpec
from prefine.emulator.types import DevicesPlan, FloatArray, IntArray


class Assignment(NamedTuple):
    """All parts in one round; arrays are (n,), one entry per device that takes part, in the order of ``devices``.

    The model is on its way from ``start_s``, at ``downlink_j`` joules; everyone begins to compute at
    ``start_compute_s``.
    """

    round: int
    devices: IntArray
    batch: IntArray
    frequency_hz: FloatArray
    power_w: FloatArray
    bandwidth_hz: FloatArray
    download_end_s: tuple[float, ...]
    downlink_j: float
    start_s: float
    start_compute_s: float
    limit_s: float

    def tasks(self) -> Iterator[Task]:
        """The part of each device, in the order of ``devices``."""
        arrays = self.devices, self.batch, self.frequency_hz, self.power_w, self.bandwidth_hz
        columns = (column.tolist() for column in arrays)
        for device, batch, hz, power_w, band_hz, end_s in zip(*columns, self.download_end_s, strict=True):
            yield Task(self.round, device, batch, hz, power_w, band_hz, end_s, self.start_compute_s, self.limit_s)


@dataclass(frozen=True, eq=False)
class Orders:
    """What ``plan`` has ``devices`` (n,) do, whenever their round begins."""

    spec: RunSpec
    plan: DevicesPlan
    devices: IntArray

    @cached_property
    def batches(self) -> IntArray:
        """The plan's mini-batches, (K,)."""
        return np.rint(self.plan.batch).astype(np.int64)

    def assignment(self, number: int, start_s: float) -> Assignment:
        """Round ``number``, from ``start_s`` on."""
        spec, batch, frequency_hz, bandwidth_hz = self.spec, *self._parts
        limit_s = min(start_s + self._longest_s, self._horizon_s)
        noise_psd_w_hz, patience_s = spec.problem.radio.noise_psd_w_hz, self._patience_s
        end_s, energy_j = spec.deliveries.deliver(
            spec.channel.undisturbed, self._numbers, start_s, noise_psd_w_hz, patience_s, limit_s
        )
        power_w = self._fixed_w if spec.power_control.is_fixed else self._power_w(start_s)
        begin_s = min(max(end_s), limit_s)
        return Assignment(
            number, self.devices, batch, frequency_hz, power_w, bandwidth_hz, end_s, energy_j, start_s, begin_s, limit_s
        )

    @property
    def are_settled(self) -> bool:
        """Whether `assignment` depends on the instant alone: nobody is owed anything from before."""
        return self.spec.deliveries.have_served(self._numbers)

    @cached_property
    def _numbers(self) -> list[int]:
        numbers: list[int] = self.devices.tolist()
        return numbers

    @cached_property
    def _parts(self) -> tuple[IntArray, FloatArray, FloatArray]:
        """Batch, frequency and band of each of ``devices``."""
        plan, of = self.plan, self.devices
        return self.batches[of], plan.frequency_hz[of], plan.bands_hz(self.spec.problem.devices.bandwidth_hz)[of]

    @cached_property
    def _fixed_w(self) -> FloatArray:
        return self._power_w(0.0)

    def _power_w(self, start_s: float) -> FloatArray:
        spec = self.spec
        return spec.power_control.powers(spec.problem, spec.channel, self.plan, self.devices, start_s)

    @cached_property
    def _longest_s(self) -> float:
        """So long a round takes at most."""
        return min(self.spec.faults.deadline_s, self.spec.aggregation.limit_s)

    @cached_property
    def _horizon_s(self) -> float:
        return self.spec.horizon_s

    @cached_property
    def _patience_s(self) -> float:
        return self.spec.patience_s
