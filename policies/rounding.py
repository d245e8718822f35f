"""From the relaxed optimum to whole rounds and batches within both budgets (docs/theory.md, section 4)."""

import math
from dataclasses import dataclass

import numpy as np

from prefine.emulator.bound import RoundCost, frugal_frequency, planned_round, predict, server_round
from prefine.emulator.errors import InfeasibleError
from prefine.emulator.physics import compute_time
from prefine.emulator.types import Budget, DevicesPlan, FloatArray, Plan, Relaxed, ServerPlan
from prefine.policies.batch_rounding import BatchAllocator, Rounds
from prefine.policies.dual import Start
from prefine.policies.feasibility import require_whole_batches, shortfall
from prefine.policies.objectives.base import Objective
from prefine.policies.objectives.counting import Counts, FinetuneRound
from prefine.policies.subproblems import Stages

EFFORT = 2_000_000
"""Device responses each part of the search may ask for, about; a deterministic stand-in for time.

Larger keeps the search wide for more devices, in proportion to its time: as it is, all barriers are tried up to 2,200
devices, all refinements up to 625, and trades up to 70.
"""

SLIVER = 4e-12
"""Share of both budgets left unused: larger wastes budget, smaller lets rounding in the last digits overspend it."""

_RESPONSES_PER_BARRIER = 30
_RESPONSES_PER_REFINEMENT = 400
_RESPONSES_PER_TRADE = 400
"""About what one barrier, refinement and trade (for each device) cost in responses of all devices; see `EFFORT`."""

_MOST_BARRIERS = 31
"""Barriers tried around the relaxed one: more may find better whole batches, at `_RESPONSES_PER_BARRIER` each."""

_BARRIER_REACH = 0.3
"""How far they reach, in the log of the relaxed barrier: larger for few samples a device, at a coarser spacing."""

_SERVER_BATCHES = 15
_SERVER_REACH = 1.4
"""Server batches counted with, and the factor they reach around the relaxed one: traded as for barriers."""

_SHORTLIST = 6
"""Candidates worked out in full: more guard against a misleading count, each costs a search for its batches."""

_MOST_REFINEMENTS = 8
_MOST_TRADES = 8
"""Steps of the two local searches at most; they mostly end sooner, where no neighbour is better."""

_TRADES_WORKED_OUT = 3
"""Candidates of a trade worked out in full, as `_SHORTLIST`."""

_PROHIBITIVE = 1e30
"""A price of energy at which every device takes its least batch."""


@dataclass(frozen=True)
class Design:
    """Whole rounds and batches with the frequencies and powers that go with them."""

    pretrain_rounds: int
    finetune_rounds: int
    server: ServerPlan
    devices: DevicesPlan


@dataclass(frozen=True)
class Candidate:
    """Rounds and server batch that fit with whole device batches finishing by ``finish_s``."""

    counts: Counts
    finish_s: float


class IntegerSearch:
    """Whole designs around the optimum ``relaxed`` of ``objective``; ``start`` is where the search for it ended.

    ``mixed`` says afterwards whether any design worked out has rounds of both stages.
    Raises InputError where a batch range contains no whole number. Source: docs/theory.md, section 4.
    """

    def __init__(self, stages: Stages, relaxed: Relaxed, start: Start, objective: Objective) -> None:
        self.stages, self._relaxed, self.objective = stages, relaxed, objective
        budget = stages.problem.budget
        self._budget = Budget(budget.delay_s * (1.0 - SLIVER), budget.energy_j * (1.0 - SLIVER))
        self._energy_price = start.prices(budget).energy
        self._allocator = BatchAllocator(stages, self._energy_price, start.snr_state)
        require_whole_batches(stages)
        self._server_batches = self._nearby_server_batches()
        count = len(stages.problem.devices)
        self.mixed = False
        self._refinements = min(_MOST_REFINEMENTS, EFFORT // (_RESPONSES_PER_REFINEMENT * count))
        self._trades = min(_MOST_TRADES, EFFORT // (_RESPONSES_PER_TRADE * count**2))

    def plan(self) -> Plan:
        """The best plan found. Raises InfeasibleError where not one round fits the budgets."""
        candidates = sorted(self._candidates(), key=lambda candidate: candidate.counts.value)
        finetuned = [candidate for candidate in candidates if candidate.counts.finetune_rounds]
        alone = [candidate for candidate in candidates if not candidate.counts.finetune_rounds]
        shortlist = alone[:1] + finetuned[:_SHORTLIST]
        designs = [design for candidate in shortlist for design in self._designs(candidate)]
        if not designs:
            raise InfeasibleError(shortfall(self.stages))
        best = self._traded(self._refined(min(designs, key=self._value)))
        gap = max(0.0, self._value(best) / self._relaxed.lower_bound - 1.0)
        rounds = best.pretrain_rounds, best.finetune_rounds
        return Plan(*rounds, best.server, best.devices, self._relaxed, gap, self.objective.name)

    def _refined(self, best: Design) -> Design:
        """``best``, or better with a round or a server sample more or fewer, again and again while that helps."""
        tried = {(best.pretrain_rounds, best.finetune_rounds, best.server.batch)}
        for _ in range(self._refinements):
            designs = [best]
            for counts in self.objective.neighbours(best.pretrain_rounds, best.finetune_rounds, best.server.batch):
                if counts not in tried:
                    tried.add(counts)
                    designs += self._varied(best, *counts)
            better = min(designs, key=self._value)
            if better is best:
                break
            best = better
        return best

    def _traded(self, best: Design) -> Design:
        """``best``, or better with a sample more or fewer for one device and new counts, while that helps."""
        for _ in range(self._trades if best.finetune_rounds else 0):
            candidates = sorted(self._near(best.devices), key=lambda candidate: candidate.counts.value)
            possible = [
                candidate for candidate in candidates[:_TRADES_WORKED_OUT] if math.isfinite(candidate.counts.value)
            ]
            designs = [best] + [design for candidate in possible for design in self._designs(candidate)]
            better = min(designs, key=self._value)
            if better is best:
                break
            best = self._refined(better)
        return best

    def _near(self, devices: DevicesPlan) -> list[Candidate]:
        """Every plan one sample from ``devices``, by its barrier and as soon as that can be done."""
        batch = self._allocator.neighbours(devices.batch)
        soonest_s, finish_s = self._allocator.soonest_each_s(batch), self._finish_s(devices)
        return self._given(soonest_s, batch) + self._given(np.where(soonest_s < finish_s, finish_s, np.nan), batch)

    def _finish_s(self, devices: DevicesPlan) -> float:
        """When the slowest device of ``devices`` is done."""
        problem = self.stages.problem
        return planned_round(problem.devices, problem.radio, devices).delay_s - problem.radio.downlink_delay_s

    def _varied(self, design: Design, pretraining: int, finetuning: int, server_batch: float) -> list[Design]:
        """``design`` with other counts; the server keeps its frequency, the devices get the time that leaves."""
        problem, server = self.stages.problem, self.stages.problem.server
        if finetuning < 1 or not self.stages.reachable:
            return []
        if pretraining < 0 or not server.min_batch <= server_batch <= server.max_batch:
            return []
        server_s = compute_time(pretraining * server_batch, server.cycles_per_sample, design.server.frequency_hz)
        finish_s = (self._budget.delay_s - server_s) / finetuning - problem.radio.downlink_delay_s
        if finish_s <= 0.0:
            return []
        return self._designs(Candidate(Counts(0.0, pretraining, finetuning, int(server_batch)), finish_s))

    def _nearby_server_batches(self) -> FloatArray:
        """Whole server batches around the relaxed one; they grow or shrink with the rounds that fit."""
        server, middle = self.stages.problem.server, self._relaxed.server.batch
        low, high = math.floor(middle / _SERVER_REACH), math.ceil(middle * _SERVER_REACH)
        batches = np.unique(np.round(np.linspace(low, high, min(_SERVER_BATCHES, high - low + 1))))
        batches = np.append(batches, [math.floor(middle), math.ceil(middle)])
        return np.unique(np.clip(batches, math.ceil(server.min_batch), math.floor(server.max_batch)))

    def _candidates(self) -> list[Candidate]:
        """Rounds that fit, without fine-tuning and for barriers around the relaxed one; else for any barrier at all."""
        server_only = [Candidate(self.objective.alone(self.stages, self._budget), 0.0)]
        if not self.stages.reachable or not self.objective.finetunes:
            return [candidate for candidate in server_only if math.isfinite(candidate.counts.value)]
        candidates = server_only + self._at_barriers(self._barriers(), self._energy_price)
        found = [candidate for candidate in candidates if math.isfinite(candidate.counts.value)]
        return found or [
            candidate
            for candidate in self._at_barriers(self._any_barriers(), _PROHIBITIVE)
            if math.isfinite(candidate.counts.value)
        ]

    def _soonest_s(self) -> float:
        return self.stages.devices.at_batches(self._allocator.least).soonest_s

    def _barriers(self) -> FloatArray:
        """Finishing times around the relaxed one that every device can meet."""
        middle = self._finish_s(self._relaxed.devices)
        count = min(_MOST_BARRIERS, 1 + EFFORT // (_RESPONSES_PER_BARRIER * len(self.stages.problem.devices)))
        reach = np.linspace(-_BARRIER_REACH, _BARRIER_REACH, count) if count > 1 else np.zeros(1)
        return np.unique(np.maximum(middle * np.exp(reach), self._soonest_s()))

    def _any_barriers(self) -> FloatArray:
        """Finishing times from the soonest to all of the delay budget."""
        soonest, latest = self._soonest_s(), self._budget.delay_s - self.stages.problem.radio.downlink_delay_s
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

    def _counted(self, finish_s: FloatArray, rounds: Rounds) -> list[Candidate]:
        """The best counts beside each of ``rounds``, which end by ``finish_s`` (n,) after the broadcast."""
        radio, noise = self.stages.problem.radio, self.stages.terms.round_noise(rounds.batch)
        candidates = []
        for by_s, energy_j, each in zip(finish_s.tolist(), rounds.energy_j.tolist(), np.atleast_1d(noise), strict=True):
            cost = RoundCost(radio.downlink_delay_s + by_s, radio.downlink_energy_j + energy_j)
            finetuning = FinetuneRound(cost, float(each))
            counts = self.objective.best_counts(self.stages, self._budget, self._server_batches, finetuning)
            candidates.append(Candidate(counts, by_s))
        return candidates

    def _designs(self, candidate: Candidate) -> list[Design]:
        """The candidate worked out: what is left of the energy becomes samples."""
        problem, budget, counts = self.stages.problem, self._budget, candidate.counts
        rounds = counts.pretrain_rounds, counts.finetune_rounds
        self.mixed |= min(rounds) > 0
        finish_s = candidate.finish_s
        if not rounds[0]:
            finish_s = budget.delay_s / rounds[1] - problem.radio.downlink_delay_s
        left_s = budget.delay_s - rounds[1] * (problem.radio.downlink_delay_s + finish_s)
        samples = rounds[0] * counts.server_batch
        frequency = frugal_frequency(problem.server, samples, left_s) if samples else problem.server.min_frequency_hz
        frequency = min(frequency, problem.server.max_frequency_hz)
        server = ServerPlan(counts.server_batch, frequency or problem.server.max_frequency_hz)
        if not rounds[1]:
            return self._kept(Design(*rounds, server, self.stages.idle(self._allocator.least)))
        left_j = budget.energy_j - rounds[0] * server_round(problem.server, server).energy_j
        if left_j <= rounds[1] * problem.radio.downlink_energy_j:
            return []
        allocation = self._allocator.best(finish_s, left_j / rounds[1] - problem.radio.downlink_energy_j)
        return self._kept(Design(*rounds, server, allocation.barrier.plan)) if allocation else []

    def _kept(self, design: Design) -> list[Design]:
        """The design if it keeps both budgets to the last digit."""
        predicted, budget = predict(self.stages.problem, design, planned_round), self.stages.problem.budget
        kept = predicted.delay_s <= budget.delay_s and predicted.energy_j <= budget.energy_j
        return [design] if kept else []

    def _value(self, design: Design) -> float:
        return self.objective.of(self.stages.terms, design)
