"""Whole batches for given whole rounds, with frequencies and powers re-optimised (docs/theory.md, section 4).

With N, M and the barrier given, only the energy budget couples the devices. The least energy e_k(b) of a device that
processes b samples by the barrier is convex in b, so samples are allocated by their worth per joule.
"""

import math
from dataclasses import dataclass
from itertools import count

import numpy as np
from numpy.typing import NDArray

from prefine.emulator.types import FloatArray
from prefine.policies.device_barrier import BarrierRound, Divided
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


class BatchAllocator:
    """Allocates whole batches to the devices of one problem; remembers the last state as the next start.

    ``energy_price`` is the price of a joule at which the search starts, ``snr_state`` (K,) the devices' state there.
    ``least`` (K,) are the smallest whole batches allowed.
    """

    def __init__(self, stages: Stages, energy_price: float, snr_state: FloatArray | None) -> None:
        devices = stages.problem.devices
        self._stages, self._energy_price, self._state = stages, energy_price, snr_state
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
            shared = found.divided is not self._stages.devices
            for _ in range(_DIVISIONS) if shared else count():
                more, _ = self._fill(self._divided_anew(found, finish_s), finish_s, energy_j)
                if np.array_equal(more.batch, found.batch):
                    break
                found = more
        return found

    def rounded(self, finish_s: float, energy_price: float) -> BatchAllocation:
        """Each device's real batch at ``energy_price``, rounded to the side of less noise plus energy."""
        below = self._below(finish_s, energy_price)
        raised = np.minimum(below.batch + 1.0, self._most)
        above = self._cheapest(below.divided, finish_s, raised)
        less_noise = self._stages.terms.device_noise * (1.0 / below.batch - 1.0 / raised)
        up = (less_noise > energy_price * (above.energy_j - below.barrier.energy_j)) & ~above.late
        return self.given(finish_s, np.where(up, raised, below.batch))

    def given(self, finish_s: float, batch: FloatArray) -> BatchAllocation:
        """``batch`` (K,) finishing by ``finish_s`` at the least energy."""
        made = self._cheapest(self._stages.devices, finish_s, batch)
        return BatchAllocation(batch, made, self._stages.devices.divided_as(made.plan))

    def neighbours(self, batch: FloatArray) -> FloatArray:
        """All whole batches (n, K) that differ from ``batch`` by one sample of one device."""
        one = np.eye(len(batch))
        near = np.concatenate([batch + one, batch - one])
        allowed: FloatArray = near[np.all((near >= self.least) & (near <= self._most), axis=1)]
        return allowed

    def _noise(self, allocation: BatchAllocation) -> float:
        return float(self._stages.terms.round_noise(allocation.batch))

    def _below(self, finish_s: float, energy_price: float) -> BatchAllocation:
        """The whole batches just below the real ones at ``energy_price``."""
        devices = self._stages.devices
        real = devices.finish_by(finish_s, energy_price, self._state)
        self._state = real.snr_state
        batch, divided = np.clip(np.floor(real.plan.batch), self.least, self._most), devices.divided_as(real.plan)
        return BatchAllocation(batch, self._cheapest(divided, finish_s, batch), divided)

    def _cheapest(self, devices: Divided, finish_s: float, batch: FloatArray) -> BarrierRound:
        return devices.at_batches(batch).finish_by(finish_s, 1.0, self._state)

    def _divided_anew(self, allocation: BatchAllocation, finish_s: float) -> BatchAllocation:
        """The same batches with time and band divided at the least energy."""
        if allocation.divided is self._stages.devices:
            return allocation
        return self.given(finish_s, allocation.batch)

    def _fill(self, below: BatchAllocation, finish_s: float, energy_j: float) -> tuple[BatchAllocation, bool]:
        """One more sample for as many devices as the energy allows, the most useful first.

        The flag says whether everyone who could take one did.
        """
        raised = np.minimum(below.batch + 1.0, self._most)
        above = self._cheapest(below.divided, finish_s, raised)
        extra_j = above.energy_j - below.barrier.energy_j
        noise = self._stages.terms.device_noise
        able = np.flatnonzero((raised > below.batch) & ~above.late & (noise > 0.0))
        worth = noise[able] / (below.batch[able] * raised[able])
        order = able[np.argsort(-worth / np.maximum(extra_j[able], np.finfo(float).tiny), kind="stable")]
        left_j = energy_j - float(np.sum(below.barrier.energy_j))
        chosen = _affordable(order, extra_j, left_j)
        batch = below.batch.copy()
        batch[chosen] += 1.0
        filled = BatchAllocation(batch, self._cheapest(below.divided, finish_s, batch), below.divided)
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
