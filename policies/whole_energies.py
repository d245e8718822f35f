"""Rounds by n barriers at once: real batches at given prices, and the least energies of whole ones.

Devices that share neither time nor band decide alone, whoever's barrier it is: then all rounds are one search. Where
they share, each round is worked out for itself, and once its time or band is divided its devices decide alone too.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from prefine.emulator.types import FloatArray
from prefine.policies.device_barrier import DeviceStage
from prefine.policies.energy_floor import energy_floor
from prefine.policies.finetuning_stage import Divided, FinetuningStage

_ROUGH = 1e-8
"""Relative error in the finishing times of real batches, which are rounded: larger rounds those astray whose uploads
take nearly all of the time."""

_CLOSE = 1e-8
"""The same for whole batches: energies err by the square of it. Smaller costs a pass more."""


class Least(NamedTuple):
    """Least energies in J, and which batches cannot be done in time; of the batches' shape."""

    energy_j: FloatArray
    late: NDArray[np.bool_]


class Rounds(Protocol):
    """The devices in rounds by barriers ``finish_s`` (n,) after the broadcast."""

    def real(self, finish_s: FloatArray, energy_price: FloatArray) -> tuple[FloatArray, Self]:
        """Real batches (n, K) of least noise plus energy at ``energy_price`` (n,), and the same rounds divided so."""
        ...

    def divided_for(self, finish_s: FloatArray, batch: FloatArray) -> Self:
        """The same rounds with what they share divided as is best for ``batch`` (n, K)."""
        ...

    def least(self, finish_s: FloatArray, batch: FloatArray) -> Least:
        """Of ``batch`` (..., n, K), with time and band divided as they are; as is best where they are not yet."""
        ...

    def soonest_s(self, batch: FloatArray) -> FloatArray:
        """The soonest (n,) that everyone can be done with each row of ``batch`` (n, K)."""
        ...


@dataclass(frozen=True)
class Apart:
    """`Rounds` of devices that share nothing; searches begin at ``state``, (K,) or (n, K)."""

    stage: DeviceStage
    state: FloatArray

    def real(self, finish_s: FloatArray, energy_price: FloatArray) -> tuple[FloatArray, Self]:
        """See `Rounds`."""
        by_s, price = finish_s[:, np.newaxis], energy_price[:, np.newaxis]
        state, response = self.stage.states_at(by_s, price, self.state, _ROUGH)
        return response.batch, replace(self, state=state)

    def divided_for(self, finish_s: FloatArray, batch: FloatArray) -> Self:
        """Themselves."""
        return self

    def least(self, finish_s: FloatArray, batch: FloatArray) -> Least:
        """See `Rounds`."""
        floor = energy_floor(self.stage, batch, finish_s, self.state, _CLOSE)
        return Least(floor.least_j, floor.late)

    def soonest_s(self, batch: FloatArray) -> FloatArray:
        """See `Rounds`."""
        soonest: FloatArray = self.stage.at_batches(batch).priced.soonest_each_s.max(axis=1)
        return soonest


@dataclass(frozen=True)
class Sharing:
    """`Rounds` of devices that share time or band, ``divided`` for each round where that has been decided."""

    stage: FinetuningStage
    state: FloatArray | None
    divided: Sequence[Divided] = ()

    def real(self, finish_s: FloatArray, energy_price: FloatArray) -> tuple[FloatArray, Self]:
        """See `Rounds`."""
        state, made = self.state, []
        for by_s, price in zip(finish_s.tolist(), energy_price.tolist(), strict=True):
            made.append(self.stage.finish_by(by_s, price, state))
            state = made[-1].snr_state
        divided = [self.stage.divided_as(each.plan) for each in made]
        return np.array([each.plan.batch for each in made]), replace(self, state=state, divided=divided)

    def divided_for(self, finish_s: FloatArray, batch: FloatArray) -> Self:
        """See `Rounds`."""
        rows = zip(finish_s.tolist(), batch, strict=True)
        made = [self.stage.at_batches(row).finish_by(by_s, 1.0, self.state).plan for by_s, row in rows]
        return replace(self, divided=[self.stage.divided_as(plan) for plan in made])

    def least(self, finish_s: FloatArray, batch: FloatArray) -> Least:
        """See `Rounds`."""
        energy_j, late = np.empty_like(batch), np.empty(batch.shape, dtype=np.bool_)
        for index in np.ndindex(batch.shape[:-1]):
            devices = self.divided[index[-1]] if self.divided else self.stage
            made = devices.at_batches(batch[index]).finish_by(float(finish_s[index[-1]]), 1.0, self.state)
            energy_j[index], late[index] = made.energy_j, made.late
        return Least(energy_j, late)

    def soonest_s(self, batch: FloatArray) -> FloatArray:
        """See `Rounds`."""
        return np.array([self.stage.at_batches(row).soonest_s for row in batch])
