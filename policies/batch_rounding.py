"""Whole batches for given whole rounds, with frequencies and powers re-optimised (docs/theory.md, section 4).

With N, M and the barrier given, only the energy budget couples the devices. The least energy e_k(b) of a device that
processes b samples by the barrier is convex in b, so samples are allocated by their worth per joule.
"""

import math
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from typing import Self

import numpy as np
from numpy.typing import NDArray

from prefine.emulator.types import FloatArray
from prefine.policies.device_barrier import BarrierRound, DeviceStage, Divided, FinetuningStage
from prefine.policies.root import IncreasingRoot
from prefine.policies.subproblems import Stages

_FEW_DEVICES = 64
"""Up to so many devices, batches are filled up one by one at the end: more buy less noise for up to K more passes."""

_DIVISIONS = 6
"""Times that shared band or time is divided anew between such passes: each frees less energy than the last."""

_PRICE_STEPS = 12
"""Energy prices tried for one barrier: more come closer to the energy budget, each costs a response of all devices."""

_PRICE_RANGE = 40.0
"""Largest |log| of a price over the relaxed one: wide enough for any batch range, and wider costs nothing."""

_STEEPEST = 4.0
"""Largest error in log energy told to the price search: larger lets one far price throw it across its range."""


@dataclass(frozen=True)
class BatchAllocation:
    """Whole batches (K,) in samples and the cheapest devices' round with them by some barrier.

    ``divided`` are the devices with time and band divided as in that round, so that each can be looked at alone.
    """

    batch: FloatArray
    barrier: BarrierRound
    divided: Divided


@dataclass(frozen=True)
class Rounds:
    """Fine-tuning rounds by n barriers: whole batches (n, K) in samples, and what they take in J (n,), downlink aside.

    Only what counting needs: a round that is chosen is worked out again.
    """

    batch: FloatArray
    energy_j: FloatArray

    @staticmethod
    def of(made: list[BatchAllocation]) -> "Rounds":
        """Those worked out one by one."""
        return Rounds(
            np.array([each.batch for each in made]), np.array([float(np.sum(each.barrier.energy_j)) for each in made])
        )


class BatchAllocator:
    """Allocates whole batches to the devices of one problem; remembers the last state as the next start.

    ``energy_price`` is the price of a joule at which the search starts, ``snr_state`` (K,) the devices' state there.
    ``least`` (K,) are the smallest whole batches allowed.
    """

    def __init__(self, stages: Stages, energy_price: float, snr_state: FloatArray | None) -> None:
        devices = stages.problem.devices
        self._stages, self._energy_price, self._state = stages, energy_price, snr_state
        self._copies, self._alpha = 1, stages.terms.device_noise
        self.least, self._most = np.ceil(devices.min_batch), np.floor(devices.max_batch)

    def best(self, finish_s: float, energy_j: float) -> BatchAllocation | None:
        """The whole batches of least noise that finish by ``finish_s`` on ``energy_j``, the downlink's aside.

        None where not even the least batches do.
        """
        root = IncreasingRoot(0.0, -_PRICE_RANGE, _PRICE_RANGE, slope=0.5)
        found: BatchAllocation | None = None
        for _ in range(_PRICE_STEPS):
            scale = root.next()
            below = self._below(finish_s, self._energy_price * math.exp(scale))
            needed_j = float(np.sum(below.barrier.energy_j))
            if np.any(below.barrier.late):
                return found
            if needed_j > energy_j:
                if np.all(below.batch == self.least):
                    return found
                root.update(scale, max(math.log(energy_j / needed_j), -_STEEPEST) if energy_j > 0.0 else -_STEEPEST)
                continue
            filled, spare = self._fill(below, finish_s, energy_j)
            found = filled if found is None or self._noise(filled) < self._noise(found) else found
            if not spare:
                break
            root.update(scale, math.log(energy_j / needed_j))
        if found is not None and len(found.batch) <= _FEW_DEVICES:
            shared = found.divided is not self._devices
            for _ in range(_DIVISIONS) if shared else count():
                more, _ = self._fill(self._divided_anew(found, finish_s), finish_s, energy_j)
                if np.array_equal(more.batch, found.batch):
                    break
                found = more
        return found

    def rounded_each(self, finish_s: FloatArray, energy_price: float) -> "Rounds":
        """For each barrier in ``finish_s`` (n,): real batches at ``energy_price``, rounded to the side that costs less.

        That is the side of less noise plus energy. Devices that decide alone are looked at for all barriers at once.
        """
        if not isinstance(self._devices, DeviceStage):
            return Rounds.of([self.rounded(float(by_s), energy_price) for by_s in finish_s])
        many, shape = self._times(len(finish_s)), (len(finish_s), len(self.least))
        made = many.rounded(np.repeat(finish_s, shape[1]), energy_price)
        return Rounds(made.batch.reshape(shape), made.barrier.energy_j.reshape(shape).sum(axis=1))

    def given_each(self, finish_s: FloatArray, batch: FloatArray) -> "Rounds":
        """For each barrier in ``finish_s`` (n,): its ``batch`` (n, K) at the least energy."""
        if not isinstance(self._devices, DeviceStage):
            rows = zip(finish_s, batch, strict=True)
            return Rounds.of([self.given(float(by_s), row) for by_s, row in rows])
        many = self._times(len(finish_s))
        made = many._cheapest(many._devices, np.repeat(finish_s, batch.shape[1]), batch.ravel())
        return Rounds(batch, made.energy_j.reshape(batch.shape).sum(axis=1))

    def soonest_each_s(self, batch: FloatArray) -> FloatArray:
        """The soonest in s (n,) that everyone can be done with each row of ``batch`` (n, K)."""
        return np.array([self._devices.at_batches(row).soonest_s for row in batch])

    @cached_property
    def _devices(self) -> FinetuningStage:
        """Asked for only where every device is reachable."""
        return self._stages.devices if self._copies == 1 else self._stages.copies(self._copies)

    def _times(self, copies: int) -> Self:
        """The allocator of ``copies`` of all devices, which it looks at in one go."""
        if copies == 1:
            return self
        many = copy(self)
        vars(many).pop("_devices", None)
        many._copies, many._alpha = copies, np.tile(self._alpha, copies)
        many.least, many._most = np.tile(self.least, copies), np.tile(self._most, copies)
        many._state = None if self._state is None else np.tile(self._state, copies)
        return many

    def rounded(self, finish_s: float | FloatArray, energy_price: float) -> BatchAllocation:
        """Each device's real batch at ``energy_price``, rounded to the side of less noise plus energy."""
        below = self._below(finish_s, energy_price)
        raised = np.minimum(below.batch + 1.0, self._most)
        above = self._cheapest(below.divided, finish_s, raised, below.barrier.snr_state)
        less_noise = self._alpha * (1.0 / below.batch - 1.0 / raised)
        up = (less_noise > energy_price * (above.energy_j - below.barrier.energy_j)) & ~above.late
        batch = np.where(up, raised, below.batch)
        if below.divided is self._devices:
            return BatchAllocation(batch, above.where(up, below.barrier), below.divided)
        return self.given(finish_s, batch)

    def given(self, finish_s: float | FloatArray, batch: FloatArray) -> BatchAllocation:
        """``batch`` (K,) finishing by ``finish_s`` at the least energy."""
        made = self._cheapest(self._devices, finish_s, batch)
        return BatchAllocation(batch, made, self._devices.divided_as(made.plan))

    def neighbours(self, batch: FloatArray) -> FloatArray:
        """All whole batches (n, K) that differ from ``batch`` by one sample of one device."""
        one = np.eye(len(batch))
        near = np.concatenate([batch + one, batch - one])
        allowed: FloatArray = near[np.all((near >= self.least) & (near <= self._most), axis=1)]
        return allowed

    def _noise(self, allocation: BatchAllocation) -> float:
        return float(self._stages.terms.round_noise(allocation.batch))

    def _below(self, finish_s: float | FloatArray, energy_price: float) -> BatchAllocation:
        """The whole batches just below the real ones at ``energy_price``."""
        devices = self._devices
        real = devices.finish_by(finish_s, energy_price, self._state)  # type: ignore[arg-type]  # (K,) where each is alone
        self._state = real.snr_state
        batch, divided = np.clip(np.floor(real.plan.batch), self.least, self._most), devices.divided_as(real.plan)
        return BatchAllocation(batch, self._cheapest(divided, finish_s, batch), divided)

    def _cheapest(
        self, devices: Divided, finish_s: float | FloatArray, batch: FloatArray, state: FloatArray | None = None
    ) -> BarrierRound:
        begin = self._state if state is None else state
        return devices.at_batches(batch).finish_by(finish_s, 1.0, begin)  # type: ignore[arg-type]  # as above

    def _divided_anew(self, allocation: BatchAllocation, finish_s: float) -> BatchAllocation:
        """The same batches with time and band divided at the least energy."""
        if allocation.divided is self._devices:
            return allocation
        return self.given(finish_s, allocation.batch)

    def _fill(self, below: BatchAllocation, finish_s: float, energy_j: float) -> tuple[BatchAllocation, bool]:
        """One more sample for as many devices as the energy allows, the most useful first.

        The flag says whether everyone who could take one did.
        """
        raised = np.minimum(below.batch + 1.0, self._most)
        above = self._cheapest(below.divided, finish_s, raised, below.barrier.snr_state)
        extra_j = above.energy_j - below.barrier.energy_j
        noise = self._alpha
        able = np.flatnonzero((raised > below.batch) & ~above.late & (noise > 0.0))
        worth = noise[able] / (below.batch[able] * raised[able])
        order = able[np.argsort(-worth / np.maximum(extra_j[able], np.finfo(float).tiny), kind="stable")]
        left_j = energy_j - float(np.sum(below.barrier.energy_j))
        chosen = _affordable(order, extra_j, left_j)
        up = np.zeros(len(noise), dtype=np.bool_)
        up[chosen] = True
        filled = BatchAllocation(np.where(up, raised, below.batch), above.where(up, below.barrier), below.divided)
        return filled, 0 < len(chosen) == len(able)


def _affordable(order: NDArray[np.intp], cost: FloatArray, left: float) -> NDArray[np.intp]:
    """The first of ``order`` whose ``cost`` fits ``left`` together, then any later one that still fits."""
    fits = np.cumsum(cost[order]) <= left
    count = len(order) if np.all(fits) else int(np.argmin(fits))
    chosen = list(order[:count])
    left -= float(np.sum(cost[chosen]))
    for index in order[count : count + _FEW_DEVICES]:
        if cost[index] <= left:
            chosen.append(index)
            left -= float(cost[index])
    return np.array(chosen, dtype=np.intp)
