"""What a fine-tuning round is at prices and by a barrier, and what every access promises to make of it."""

from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from prefine.emulator.bound import RoundCost
from prefine.emulator.types import DevicesPlan, FloatArray
from prefine.policies.finishing import TOLERANCE

LATE = 1e-11
"""Relative excess over the barrier that counts as late: a little more than `TOLERANCE` leaves."""


@dataclass(frozen=True)
class DeviceRound:
    """A fine-tuning round: the decision, its cost (s, J), its noise sum_k alpha_k / b_k, and the search's state (K,).

    ``price`` is h1 at the prices asked for, less what the search left open: a lower bound.
    """

    plan: DevicesPlan
    cost: RoundCost
    noise: float
    price: float
    snr_state: FloatArray


@dataclass(frozen=True)
class BarrierRound:
    """A round with a given barrier, the time by which every device has to finish.

    ``energy_j`` (K,) is computing and upload; ``late`` (K,) marks devices that cannot finish by then whatever they do.
    ``shares`` (K,) are the joules that one more second would save each. ``snr_state`` (K,) starts a similar search.
    """

    plan: DevicesPlan
    energy_j: FloatArray
    late: NDArray[np.bool_]
    shares: FloatArray
    snr_state: FloatArray

    @property
    def share(self) -> float:
        """How many joules one more second would save."""
        return float(np.sum(self.shares))


class Divided(Protocol):
    """Devices that share neither time nor band: by a given barrier each has its own least noise plus energy."""

    def at_batches(self, batch: FloatArray) -> "Divided":
        """The same devices with ``batch`` (K,) given."""
        ...

    def finish_by(self, finish_s: float, energy_price: float, snr_state: FloatArray | None = None) -> BarrierRound:
        """See `DeviceStage`."""
        ...


class FinetuningStage(Protocol):
    """The devices' subproblem under some access; what its methods promise is said in `DeviceStage`."""

    @property
    def soonest_s(self) -> float:
        """The soonest in s that everyone can finish."""
        ...

    def at_batches(self, batch: FloatArray) -> Self:
        """The same devices with ``batch`` (K,) given."""
        ...

    def solve(
        self, ratio: float, energy_price: float, snr_state: FloatArray | None = None, tolerance: float = TOLERANCE
    ) -> DeviceRound:
        """The best round where a second costs ``ratio`` joules and a joule ``energy_price``."""
        ...

    def least_price(self, ratio: float, energy_price: float) -> float:
        """A lower bound on h1."""
        ...

    def finish_by(self, finish_s: float, energy_price: float, snr_state: FloatArray | None = None) -> BarrierRound:
        """The round of least noise plus energy that ends by ``finish_s`` after the broadcast."""
        ...

    def divided_as(self, plan: DevicesPlan) -> Divided:
        """The same devices with what they share, time or band, divided as in ``plan``."""
        ...
