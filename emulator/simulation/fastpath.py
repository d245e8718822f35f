"""The fast path: rounds in which no event can change what another device meets are computed, not simulated.

Where every device has its own band, its own idle and cool processor and nothing goes wrong, a round is known when it
begins. Its records are what the devices' own processes would have written (tests hold the two against each other), for
the price of a few array operations. A round that would meet the end of a budget or of a battery is left to the
processes.
"""

from typing import NamedTuple, Protocol

import numpy as np

from prefine.emulator.device_table import Round
from prefine.emulator.errors import TraceEndError
from prefine.emulator.physics import compute_energy, compute_time
from prefine.emulator.simulation.cohort import Assignment
from prefine.emulator.simulation.spec import RunSpec
from prefine.emulator.simulation.transfer import transfers
from prefine.emulator.types import FloatArray


class ComputedRound(NamedTuple):
    """A whole round: when its last upload ends, the energy of all devices and of each (n,), and their records."""

    end_s: float
    compute_j: float
    uplink_j: float
    each_j: FloatArray
    records: Round

    @property
    def energy_j(self) -> float:
        """What all devices use in the round."""
        return self.compute_j + self.uplink_j


class FastPath(Protocol):
    """Computes whole rounds from their assignments, where that gives the records the processes would have written."""

    def computed(self, assignment: Assignment) -> ComputedRound | None:
        """The whole round of ``assignment``, or None where the devices' processes have to run."""
        ...


class NoFastPath:
    """Leaves every round to the processes."""

    def computed(self, assignment: Assignment) -> ComputedRound | None:
        """None: every round is simulated."""
        return None


class IndependentDevices:
    """Computes every round that ends before its limit, for a run whose devices do not change what others meet."""

    def __init__(self, spec: RunSpec) -> None:
        self._devices = spec.problem.devices
        self._radio = spec.problem.radio
        self._channel = spec.channel
        self._noise_psd_w_hz = spec.noise_psd_w_hz
        self._static_power_w = spec.processor.static_power_w

    def computed(self, assignment: Assignment) -> ComputedRound | None:
        """The sums of docs/theory.md, with the upload integrated over the channel as it will be."""
        of, frequency_hz = assignment.devices, assignment.frequency_hz
        batch = assignment.batch.astype(np.float64)
        cycles = self._devices.cycles_per_sample[of]
        compute_s = compute_time(batch, cycles, frequency_hz)
        compute_j = compute_energy(batch, cycles, frequency_hz, self._devices.capacitance[of])
        compute_j = compute_j + self._static_power_w * compute_s
        start_s = assignment.start_compute_s + compute_s
        try:
            end_s, delivered_bits = transfers(
                self._channel,
                of,
                start_s,
                self._radio.uplink_bits,
                assignment.power_w,
                assignment.bandwidth_hz,
                self._noise_psd_w_hz[of],
                assignment.limit_s,
            )
        except TraceEndError:  # a budget may end first
            return None
        last_s = float(end_s.max())
        if not last_s < assignment.limit_s:
            return None
        uplink_j = assignment.power_w * (end_s - start_s)
        records = self._records(assignment, start_s, end_s, compute_j, uplink_j, delivered_bits)
        return ComputedRound(last_s, float(compute_j.sum()), float(uplink_j.sum()), compute_j + uplink_j, records)

    def _records(self, assignment: Assignment, start_s: FloatArray, *rest: FloatArray) -> Round:
        values = (
            assignment.round,
            assignment.devices,
            assignment.batch,
            assignment.frequency_hz,
            assignment.power_w,
            assignment.start_s,
            np.array(assignment.download_end_s),
            assignment.start_compute_s,
            start_s,
            start_s,
            *rest,
            "delivered",
            0,
        )
        return Round(len(start_s), values)


def fast_path(spec: RunSpec) -> FastPath:
    """The fast path of ``spec``'s run, if it has one."""
    return IndependentDevices(spec) if spec.is_predictable else NoFastPath()
