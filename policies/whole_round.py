"""A lower bound on the price of a fine-tuning round with whole batches (docs/theory.md, section 4).

Given the barrier tau the devices decouple: each has its own least noise plus energy over whole batches, and these
minima fall in tau. So between two barriers the delay's price at the earlier one and the minima at the later one are a
bound. Under TDMA that holds for the computing; the uploads do not depend on batches, and their least price is added.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from prefine.emulator.types import FloatArray
from prefine.policies.device_barrier import DeviceStage
from prefine.policies.energy_floor import energy_floor
from prefine.policies.objectives.base import Prices
from prefine.policies.subproblems import Stages
from prefine.policies.time_shared import TimeShared

_WINDOW = np.arange(-3.0, 5.0)
"""Whole batches tabled around the real one: more stay tight at prices further off, each costs a response."""

_BARRIERS = 24
"""Barriers at first; those that decide are refined."""

_TIGHT = 2e-4
"""Relative looseness at which the barriers are fine enough: larger is quicker, and adds to what the bound lacks."""

_MOST_ROWS = 6_000
"""Devices times barriers at most: more are tighter, in proportion to the time. A loose bound is still a bound."""

_ROUNDING = 1e-9
"""What is added to the rounds that fit, so that rounding never leaves one out."""

_UNCOUNTED = 1e15
"""Rounds beyond which nobody counts."""


class _Table(NamedTuple):
    """Whole batches at some barriers, and what they cost at least (see `EnergyFloor`); shapes (window, barriers, K)."""

    batch: FloatArray
    least_j: FloatArray
    sample_j: FloatArray
    late: NDArray[np.bool_]

    def with_rows(self, at: NDArray[np.intp], more: "_Table") -> "_Table":
        """The same with the barriers of ``more`` put in before the barriers ``at``."""
        return _Table(*(np.insert(mine, at, its, axis=1) for mine, its in zip(self, more, strict=True)))


class WholeRounds:
    """The least price of a round with whole batches; least energies are tabled over barriers.

    ``prices`` are those around which `price` will be asked for; any others are answered too, less tightly.
    ``most_rounds`` is how many rounds the delay allows at most.
    """

    def __init__(self, stages: Stages, prices: Prices) -> None:
        self._stages, self._base = stages, prices
        devices, budget = stages.problem.devices, stages.problem.budget
        self._least, self._most = np.ceil(devices.min_batch), np.floor(devices.max_batch)
        self._waiting = DeviceStage(devices, stages.problem.radio, stages.terms.device_noise, stages.waiting_upload)
        fastest = stages.devices.at_batches(self._least)
        within = budget.delay_s / (stages.problem.radio.downlink_delay_s + fastest.soonest_s)
        soonest_s = fastest.computing.soonest_s if isinstance(fastest, TimeShared) else fastest.soonest_s
        self.most_rounds = int(min(within * (1.0 + _ROUNDING), _UNCOUNTED))
        self._barriers = np.geomspace(soonest_s * (1.0 + 1e-12), max(budget.delay_s, 2.0 * soonest_s), _BARRIERS)
        self._table = self._rows(self._barriers)
        self._refine()

    def price(self, prices: Prices) -> float:
        """No round with whole batches that the delay budget allows is cheaper."""
        stage = self._stages.devices
        queued = prices.energy * stage.uploads_price(prices.ratio) if isinstance(stage, TimeShared) else 0.0
        return float(np.min(self._bounds(prices)[0])) + queued

    def _rows(self, barriers: FloatArray) -> _Table:
        """The table at ``barriers``."""
        ceiling, energy_price = self._waiting.priced.ceiling(self._base.energy), self._base.energy
        state, response = self._waiting.states_at(barriers[:, np.newaxis], energy_price, ceiling)
        window = np.floor(response.batch) + _WINDOW[:, np.newaxis, np.newaxis]
        batch = np.clip(window, self._least, self._most)
        return _Table(batch, *energy_floor(self._waiting, batch, barriers, state))

    def _cheapest(self, energy_price: float) -> FloatArray:
        """No less noise plus energy of all devices together by each barrier; shape (barriers,).

        Beyond the batches tabled the straight lines of the outermost two count; with a line the best batch is explicit.
        """
        table, noise = self._table, self._stages.terms.device_noise
        tabled = noise / table.batch + energy_price * np.where(table.late, np.inf, table.least_j)
        best = np.min(tabled, axis=0)
        for edge, low, high in ((0, self._least, table.batch[0] - 1.0), (-1, table.batch[-1] + 1.0, self._most)):
            batch, line_j, sample_j = table.batch[edge], table.least_j[edge], table.sample_j[edge]
            some = (low <= high) & ~(table.late[edge] & (edge == -1))  # what is more than a late batch is late too
            far = np.clip(np.sqrt(noise / (energy_price * sample_j)), low, np.maximum(low, high))
            beyond = noise / far + energy_price * (line_j + sample_j * (far - batch))
            best = np.where(some, np.minimum(best, beyond), best)
        result: FloatArray = best.sum(axis=1)
        return result

    def _bounds(self, prices: Prices) -> tuple[FloatArray, FloatArray]:
        """Lower bounds on the price of a round in every interval of barriers, and those at the barriers."""
        radio = self._stages.problem.radio
        least = self._cheapest(prices.energy)
        delay = prices.delay * (self._barriers + radio.downlink_delay_s)
        energy = prices.energy * radio.downlink_energy_j
        return delay[:-1] + least[1:] + energy, delay + least + energy

    def _refine(self) -> None:
        """Split the intervals that decide until `price` is tight."""
        while len(self._barriers) * len(self._least) < _MOST_ROWS:
            lower, upper = self._bounds(self._base)
            loose = np.flatnonzero(lower < np.min(upper) * (1.0 - _TIGHT))
            if not len(loose):
                return
            between = np.sqrt(self._barriers[loose] * self._barriers[loose + 1])
            self._table = self._table.with_rows(loose + 1, self._rows(between))
            self._barriers = np.insert(self._barriers, loose + 1, between)
