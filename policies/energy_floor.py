"""What given batches cost a device at least by a barrier, proven by duality (docs/theory.md, section 4).

For any share r >= 0 of the barrier's price, E(b, tau) >= min over f and t of [energy + r (finishing time - tau)]. The
right side is a straight line in b. So it is a proof whatever r was found, and it holds for other batches too.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prefine.emulator.physics import compute_energy
from prefine.emulator.types import FloatArray
from prefine.policies.device_barrier import LATE, DeviceStage


@dataclass(frozen=True)
class EnergyFloor:
    """Of devices (n,) with given batches: no batch b takes less than ``least_j`` + ``sample_j`` (b - batch) joules.

    ``late`` (n,) marks batches that cannot be done by the barrier at all.
    """

    least_j: FloatArray
    sample_j: FloatArray
    late: NDArray[np.bool_]


class EnergyFloors(DeviceStage):
    """The devices, each with a barrier of its own; what their batches cost at least."""

    def by(self, finish_s: FloatArray) -> EnergyFloor:
        """The least energies of the batches of `at_batches` by ``finish_s`` (n,) after the broadcast."""
        _, response = self.states_at(finish_s, 1.0, self.ceiling(1.0))
        devices = self.devices
        power, upload_s = self.uplink.sending(response.nats)
        cycle_j = compute_energy(1.0, 1.0, response.frequency_hz, devices.capacitance)
        sample_j = devices.cycles_per_sample * (response.share / response.frequency_hz + cycle_j)
        compute_j = response.batch * devices.cycles_per_sample * cycle_j
        least_j = compute_j + power * upload_s + response.share * (response.finish_s - finish_s)
        return EnergyFloor(least_j, sample_j, self.soonest_each_s > finish_s * (1.0 + LATE))

    def real_batches(self, finish_s: FloatArray, energy_price: float) -> FloatArray:
        """The real batches (n,) of least noise plus energy by ``finish_s`` (n,); only a guide."""
        return self.states_at(finish_s, energy_price, self.ceiling(energy_price))[1].batch
