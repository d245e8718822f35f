"""Candidates for whole designs: rounds and server batches that fit beside whole device batches by some barriers."""

import math
from typing import NamedTuple

import numpy as np

from prefine.emulator.bound import RoundCost, planned_round
from prefine.emulator.types import Budget, DevicesPlan, FloatArray, Relaxed
from prefine.policies.batch_rounding import BatchAllocator, Rounded
from prefine.policies.objectives.base import Objective
from prefine.policies.objectives.counting import Counts, FinetuneRound
from prefine.policies.subproblems import Stages

EFFORT = 2_000_000
"""Device responses each part of the search may ask for, about; a deterministic stand-in for time.

Larger keeps the search wide for more devices, in proportion to its time: as it is, all barriers are tried up to 2,200
devices, all refinements up to 625, and trades up to 70.
"""

_RESPONSES_PER_BARRIER = 30
"""About what one barrier costs in responses of all devices."""

_MOST_BARRIERS = 31
"""Barriers tried around the relaxed one: more may find better whole batches, at `_RESPONSES_PER_BARRIER` each."""

_BARRIER_REACH = 0.3
"""How far they reach, in the log of the relaxed barrier: larger for few samples a device, at a coarser spacing."""

_SERVER_BATCHES = 15
_SERVER_REACH = 1.4
"""Server batches counted with, and the factor they reach around the relaxed one: traded as for barriers."""

_PROHIBITIVE = 1e30
"""A price of energy at which every device takes its least batch."""


class Candidate(NamedTuple):
    """Rounds and server batch that fit with whole device batches finishing by ``finish_s``."""

    counts: Counts
    finish_s: float


class Candidates:
    """Candidates within ``budget`` around the optimum ``relaxed`` of ``objective``.

    ``energy_price`` is the price of a joule there. Source: docs/theory.md, section 4.
    """

    def __init__(
        self,
        stages: Stages,
        relaxed: Relaxed,
        objective: Objective,
        budget: Budget,
        allocator: BatchAllocator,
        energy_price: float,
    ) -> None:
        self._stages, self._relaxed, self._objective = stages, relaxed, objective
        self._budget, self._allocator, self._energy_price = budget, allocator, energy_price
        self._server_batches = self._nearby_server_batches()

    def _nearby_server_batches(self) -> FloatArray:
        """Whole server batches around the relaxed one; they grow or shrink with the rounds that fit."""
        server, middle = self._stages.problem.server, self._relaxed.server.batch
        low, high = math.floor(middle / _SERVER_REACH), math.ceil(middle * _SERVER_REACH)
        batches = np.unique(np.round(np.linspace(low, high, min(_SERVER_BATCHES, high - low + 1))))
        batches = np.append(batches, [math.floor(middle), math.ceil(middle)])
        return np.unique(np.clip(batches, math.ceil(server.min_batch), math.floor(server.max_batch)))

    def around(self) -> list[Candidate]:
        """Rounds that fit, without fine-tuning and for barriers around the relaxed one; else for any barrier at all."""
        server_only = [Candidate(self._objective.alone(self._stages, self._budget), 0.0)]
        if not self._stages.reachable or not self._objective.finetunes:
            return [candidate for candidate in server_only if math.isfinite(candidate.counts.value)]
        candidates = server_only + self._at_barriers(self._barriers(), self._energy_price)
        found = [candidate for candidate in candidates if math.isfinite(candidate.counts.value)]
        return found or [
            candidate
            for candidate in self._at_barriers(self._any_barriers(), _PROHIBITIVE)
            if math.isfinite(candidate.counts.value)
        ]

    def _soonest_s(self) -> float:
        return self._stages.devices.at_batches(self._allocator.least).soonest_s

    def _barriers(self) -> FloatArray:
        """Finishing times around the relaxed one that every device can meet."""
        middle = self._finish_s(self._relaxed.devices)
        count = min(_MOST_BARRIERS, 1 + EFFORT // (_RESPONSES_PER_BARRIER * len(self._stages.problem.devices)))
        reach = np.linspace(-_BARRIER_REACH, _BARRIER_REACH, count) if count > 1 else np.zeros(1)
        return np.unique(np.maximum(middle * np.exp(reach), self._soonest_s()))

    def _any_barriers(self) -> FloatArray:
        """Finishing times from the soonest to all of the delay budget."""
        soonest, latest = self._soonest_s(), self._budget.delay_s - self._stages.problem.radio.downlink_delay_s
        return np.geomspace(soonest, latest, _MOST_BARRIERS) if latest > soonest else np.array([soonest])

    def _at_barriers(self, barriers: FloatArray, energy_price: float) -> list[Candidate]:
        """Two candidates a barrier: at the barrier itself, and as soon as its batches can be done."""
        rounds = self._allocator.rounded_each(barriers, energy_price)
        soonest_s = self._allocator.soonest_each_s(rounds.batch)
        sooner = self._given(np.where(soonest_s < barriers, soonest_s, np.nan), rounds.batch)
        return self._counted(barriers, rounds) + sooner

    def _given(self, finish_s: FloatArray, batch: FloatArray) -> list[Candidate]:
        """Candidates with each ``batch`` (n, K) by its ``finish_s`` (n,), those aside that are NaN."""
        some = np.isfinite(finish_s)
        if not np.any(some):
            return []
        finish_s, batch = finish_s[some], batch[some]
        return self._counted(finish_s, self._allocator.given_each(finish_s, batch))

    def _counted(self, finish_s: FloatArray, rounds: Rounded) -> list[Candidate]:
        """The best counts beside each of ``rounds``, which end by ``finish_s`` (n,) after the broadcast."""
        radio, noise = self._stages.problem.radio, np.atleast_1d(self._stages.terms.round_noise(rounds.batch))
        candidates = []
        for by_s, energy_j, each in zip(finish_s.tolist(), rounds.energy_j.tolist(), noise.tolist(), strict=True):
            cost = RoundCost(radio.downlink_delay_s + by_s, radio.downlink_energy_j + energy_j)
            finetuning = FinetuneRound(cost, each)
            counts = self._objective.best_counts(self._stages, self._budget, self._server_batches, finetuning)
            candidates.append(Candidate(counts, by_s))
        return candidates

    def near(self, devices: DevicesPlan) -> list[Candidate]:
        """Every plan one sample from ``devices``, by its barrier and as soon as that can be done."""
        batch = self._allocator.neighbours(devices.batch)
        soonest_s, finish_s = self._allocator.soonest_each_s(batch), self._finish_s(devices)
        return self._given(soonest_s, batch) + self._given(np.where(soonest_s < finish_s, finish_s, np.nan), batch)

    def _finish_s(self, devices: DevicesPlan) -> float:
        """When the slowest device of ``devices`` is done."""
        problem = self._stages.problem
        return planned_round(problem.devices, problem.radio, devices).delay_s - problem.radio.downlink_delay_s
