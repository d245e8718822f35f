"""Whole batches for given whole rounds, with frequencies and powers re-optimised (docs/theory.md, section 4).

With N, M and the barrier given, only the energy budget couples the devices. The least energy e_k(b) of a device that
processes b samples by the barrier is convex in b, so samples are allocated by their worth per joule.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from prefine.emulator.types import FloatArray
from prefine.policies.device_barrier import DeviceStage
from prefine.policies.finetuning_stage import BarrierRound
from prefine.policies.root import IncreasingRoot
from prefine.policies.subproblems import Stages
from prefine.policies.whole_energies import Apart, Least, Rounds, Sharing

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
    """Whole batches (K,) in samples and the cheapest devices' round with them by some barrier."""

    batch: FloatArray
    barrier: BarrierRound


class Rounded(NamedTuple):
    """Rounds by n barriers: whole batches (n, K) in samples, and what they take at least in J (n,), downlink aside."""

    batch: FloatArray
    energy_j: FloatArray


class _Filling:
    """The search for the whole batches of one round, by the price of a joule as a multiple of the relaxed one."""

    def __init__(self, finish_s: float, energy_j: float) -> None:
        self.finish_s, self.energy_j = finish_s, energy_j
        self._root = IncreasingRoot(0.0, -_PRICE_RANGE, _PRICE_RANGE, slope=0.5)
        self._scale = self._root.next()
        self.batch: FloatArray | None = None
        self.noise = math.inf
        self.over = self.full = False

    @property
    def price(self) -> float:
        """To try next."""
        return math.exp(self._scale)

    def go_on(self, needed_j: float) -> None:
        """Where the batches at the price tried need ``needed_j``, another one is to be tried."""
        error = math.log(self.energy_j / needed_j) if self.energy_j > 0.0 else -math.inf
        self._root.update(self._scale, max(error, -_STEEPEST))
        self._scale = self._root.next()


class BatchAllocator:
    """Allocates whole batches to the devices of one problem.

    ``energy_price`` is the price of a joule at which searches start, ``snr_state`` the devices' state there.
    ``least`` (K,) are the smallest whole batches allowed.
    """

    def __init__(self, stages: Stages, energy_price: float, snr_state: FloatArray | None) -> None:
        devices = stages.problem.devices
        self._stages, self._energy_price, self._state = stages, energy_price, snr_state
        self._alpha = stages.terms.device_noise
        self.least, self._most = np.ceil(devices.min_batch), np.floor(devices.max_batch)

    @cached_property
    def rounds(self) -> Rounds:
        """Rounds of the devices, any batches; asked for only where every device is reachable."""
        devices = self._stages.devices
        if not isinstance(devices, DeviceStage):
            return Sharing(devices, self._state)
        return Apart(devices, devices.priced.ceiling(self._energy_price) if self._state is None else self._state)

    def best(self, finish_s: float, energy_j: float) -> BatchAllocation | None:
        """The whole batches of least noise that finish by ``finish_s`` on ``energy_j``, the downlink's aside.

        None where not even the least batches do.
        """
        (batch,) = self.best_each(np.array([finish_s]), np.array([energy_j]))
        return None if batch is None else self.given(finish_s, batch)

    def best_each(self, finish_s: FloatArray, energy_j: FloatArray) -> list[FloatArray | None]:
        """The batches of `best` for each barrier in ``finish_s`` (n,) and energy in ``energy_j`` (n,)."""
        fillings = [
            _Filling(by_s, within_j) for by_s, within_j in zip(finish_s.tolist(), energy_j.tolist(), strict=True)
        ]
        for _ in range(_PRICE_STEPS):
            some = [filling for filling in fillings if not filling.over]
            if not some:
                break
            by_s, prices = _finish_s(some), self._energy_price * np.array([filling.price for filling in some])
            below, rounds = self._below(by_s, prices)
            window = self._window(below)
            least = rounds.least(by_s, window)
            for row, filling in enumerate(some):
                self._try(filling, window[:, row], _row(least, row))
        if len(self.least) <= _FEW_DEVICES:
            self._fill_up([filling for filling in fillings if filling.batch is not None])
        return [filling.batch for filling in fillings]

    def _try(self, filling: _Filling, window: FloatArray, least: Least) -> None:
        """The batches (w, K) of ``window`` at one price, of which the first are those just below the real ones."""
        needed_j = float(least.energy_j[0].sum())
        if least.late[0].any() or (needed_j > filling.energy_j and np.array_equal(window[0], self.least)):
            filling.over = True
            return
        if needed_j <= filling.energy_j:
            batch, everyone, full = self._filled(window, least, filling.energy_j)
            noise = float(self._stages.terms.round_noise(batch))
            if noise < filling.noise:
                filling.batch, filling.noise, filling.full = batch, noise, full
            if not everyone:
                filling.over = True
                return
        filling.go_on(needed_j)

    def _fill_up(self, fillings: list[_Filling]) -> None:
        """One sample more, again and again, for whoever can have one with what is left of the energy."""
        apart = isinstance(self.rounds, Apart)
        some = [filling for filling in fillings if not (apart and filling.full)]
        for _ in count() if apart else range(_DIVISIONS):
            if not some:
                break
            by_s, batch = _finish_s(some), np.array([filling.batch for filling in some])
            window = self._window(batch)
            least = self.rounds.divided_for(by_s, batch).least(by_s, window)
            for row, filling in enumerate(some):
                filled, _, filling.full = self._filled(window[:, row], _row(least, row), filling.energy_j)
                filling.over, filling.batch = np.array_equal(filled, batch[row]), filled
            some = [filling for filling in some if not (filling.over or (apart and filling.full))]

    def rounded_each(self, finish_s: FloatArray, energy_price: float) -> Rounded:
        """For each barrier in ``finish_s`` (n,): real batches at ``energy_price``, rounded to the side that costs less.

        That is the side of less noise plus energy.
        """
        below, rounds = self._below(finish_s, np.full(len(finish_s), energy_price))
        raised = np.minimum(below + 1.0, self._most)
        least = rounds.least(finish_s, np.array([below, raised]))
        less_noise = self._alpha * (1.0 / below - 1.0 / raised)
        up = (less_noise > energy_price * (least.energy_j[1] - least.energy_j[0])) & ~least.late[1]
        batch = np.where(up, raised, below)
        if isinstance(rounds, Apart):
            return Rounded(batch, np.where(up, least.energy_j[1], least.energy_j[0]).sum(axis=1))
        return self.given_each(finish_s, batch)

    def given_each(self, finish_s: FloatArray, batch: FloatArray) -> Rounded:
        """For each barrier in ``finish_s`` (n,): its ``batch`` (n, K) at the least energy."""
        return Rounded(batch, self.rounds.least(finish_s, batch).energy_j.sum(axis=1))

    def soonest_each_s(self, batch: FloatArray) -> FloatArray:
        """The soonest in s (n,) that everyone can be done with each row of ``batch`` (n, K)."""
        return self.rounds.soonest_s(batch)

    def rounded(self, finish_s: float, energy_price: float) -> BatchAllocation:
        """That of `rounded_each` for one barrier, worked out."""
        return self.given(finish_s, self.rounded_each(np.array([finish_s]), energy_price).batch[0])

    def given(self, finish_s: float, batch: FloatArray) -> BatchAllocation:
        """``batch`` (K,) finishing by ``finish_s`` at the least energy."""
        return BatchAllocation(batch, self._stages.devices.at_batches(batch).finish_by(finish_s, 1.0, self._state))

    def neighbours(self, batch: FloatArray) -> FloatArray:
        """All whole batches (n, K) that differ from ``batch`` by one sample of one device."""
        one = np.eye(len(batch))
        near = np.concatenate([batch + one, batch - one])
        allowed: FloatArray = near[np.all((near >= self.least) & (near <= self._most), axis=1)]
        return allowed

    def _below(self, finish_s: FloatArray, energy_price: FloatArray) -> tuple[FloatArray, Rounds]:
        """The whole batches (n, K) just below the real ones at ``energy_price`` (n,)."""
        real, rounds = self.rounds.real(finish_s, energy_price)
        return np.clip(np.floor(real), self.least, self._most), rounds

    def _window(self, batch: FloatArray) -> FloatArray:
        """``batch`` (n, K) and what is one sample more, two where that is cheap to know; shape (w, n, K)."""
        cheap = len(self.least) <= _FEW_DEVICES and isinstance(self.rounds, Apart)
        more = np.arange(3.0 if cheap else 2.0)
        window: FloatArray = np.minimum(batch + more[:, np.newaxis, np.newaxis], self._most)
        return window

    def _filled(self, window: FloatArray, least: Least, energy_j: float) -> tuple[FloatArray, bool, bool]:
        """The first batches of ``window`` (w, K) and more samples as far as the energy allows, the most useful first.

        The flags say whether one more would fit for everyone, and whether nobody could take one beyond the window.
        """
        extra_j = np.maximum(np.diff(least.energy_j, axis=0), np.finfo(float).tiny)
        able = (window[1:] > window[:-1]) & ~least.late[1:] & (self._alpha > 0.0)
        with np.errstate(over="ignore"):
            worth = np.minimum.accumulate(self._alpha / (window[1:] * window[:-1]) / extra_j)
        order = np.flatnonzero(able)[np.argsort(-worth[able], kind="stable")]
        spare_j = energy_j - float(least.energy_j[0].sum())
        taken, left_j = _affordable(order, extra_j, spare_j)
        batch = np.take_along_axis(window, taken[np.newaxis], axis=0)[0]
        beyond = (taken == len(extra_j)) & able[-1] & (batch < self._most) & (extra_j[-1] <= left_j)
        everyone = able[0].any() and float(extra_j[0][able[0]].sum()) <= spare_j
        return batch, bool(everyone), not beyond.any()


def _finish_s(fillings: list[_Filling]) -> FloatArray:
    return np.array([filling.finish_s for filling in fillings])


def _row(least: Least, row: int) -> Least:
    return Least(least.energy_j[:, row], least.late[:, row])


def _affordable(order: NDArray[np.intp], cost: FloatArray, left: float) -> tuple[NDArray[np.intp], float]:
    """How many of its samples in ``cost`` (w, K) each device takes (K,) where they go by ``order``, and what is left.

    The first that fit ``left`` together, then any later one that still fits.
    """
    each = cost.ravel()[order]
    fits = np.cumsum(each) <= left
    count = len(order) if np.all(fits) else int(np.argmin(fits))
    devices = cost.shape[1]
    taken = np.bincount(order[:count] % devices, minlength=devices)
    left -= float(each[:count].sum())
    for index, joules in zip(
        order[count : count + len(cost) * _FEW_DEVICES].tolist(), each[count:].tolist(), strict=False
    ):
        layer, device = divmod(index, devices)
        if joules <= left and taken[device] == layer:
            taken[device] += 1
            left -= joules
    return taken, left
