"""What given batches cost a device at least by a barrier, proven by duality (docs/theory.md, section 4).

For any share r >= 0 of the barrier's price, E(b, tau) >= min over f and t of [energy + r (finishing time - tau)]. The
right side is a straight line in b. So it is a proof whatever r was found, and it holds for other batches too. Where the
finishing time errs by a part x, the proof errs by the square of it.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from prefine.emulator.physics import compute_energy
from prefine.emulator.types import FloatArray
from prefine.policies.device_barrier import DeviceStage
from prefine.policies.finetuning_stage import LATE
from prefine.policies.finishing import TOLERANCE


class EnergyFloor(NamedTuple):
    """Of devices with given batches: no batch b takes less than ``least_j`` + ``sample_j`` (b - batch) joules.

    ``late`` marks batches that cannot be done by the barrier at all. All have the shape of the batches.
    """

    least_j: FloatArray
    sample_j: FloatArray
    late: NDArray[np.bool_]


def energy_floor(
    stage: DeviceStage, batch: FloatArray, finish_s: FloatArray, state: FloatArray, tolerance: float = TOLERANCE
) -> EnergyFloor:
    """The least energies of ``batch`` (..., n, K) by ``finish_s`` (n,) after the broadcast.

    The search begins at ``state``, (K,) or (n, K); ``tolerance`` is relative, in the finishing time.
    """
    shape = batch.shape
    rows = batch.reshape(-1, shape[-1])
    times = len(rows) // len(finish_s)
    by_s = np.concatenate([finish_s] * times)[:, np.newaxis]
    state = state if state.ndim == 1 else np.concatenate([state] * times)
    fixed = stage.at_batches(rows)
    _, response = fixed.states_at(by_s, 1.0, state, tolerance)
    priced, frequency = fixed.priced, response.frequency_hz
    share = np.minimum(response.share, stage.priced.most_share)  # beyond, nothing changes but how loose the line is
    cycles = priced.cycles_per_sample
    cycle_j = compute_energy(1.0, 1.0, frequency, priced.capacitance)
    energy_j = response.batch * cycles * cycle_j + priced.uplink.joules(response.nats)
    return EnergyFloor(
        (energy_j + share * (response.finish_s - by_s)).reshape(shape),
        (cycles * (share / frequency + cycle_j)).reshape(shape),
        (priced.soonest_each_s > by_s * (1.0 + LATE)).reshape(shape),
    )
