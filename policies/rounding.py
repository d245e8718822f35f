"""From the relaxed optimum to whole rounds and batches within both budgets (docs/theory.md, section 4)."""

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from prefine.emulator.bound import RoundCost, frugal_frequency, planned_round, predict, server_round
from prefine.emulator.errors import InfeasibleError
from prefine.emulator.physics import compute_time
from prefine.emulator.types import Budget, DevicesPlan, FloatArray, Plan, Relaxed, ServerPlan
from prefine.policies.batch_rounding import BatchAllocator, Rounded
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


class Frame(NamedTuple):
    """A plan but for its batches: the devices finish by ``finish_s`` after the broadcast, on ``energy_j`` a round."""

    pretrain_rounds: int
    finetune_rounds: int
    server: ServerPlan
    finish_s: float
    energy_j: float


class Design(NamedTuple):
    """A plan but for its frequencies and powers; ``value`` is the objective's."""

    frame: Frame
    batch: FloatArray
    value: float


class Candidate(NamedTuple):
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
        self._known: set[tuple[float, ...]] = set()
        self._refinements = min(_MOST_REFINEMENTS, EFFORT // (_RESPONSES_PER_REFINEMENT * count))
        self._trades = min(_MOST_TRADES, EFFORT // (_RESPONSES_PER_TRADE * count**2))

    def plan(self) -> Plan:
        """The best plan found. Raises InfeasibleError where not one round fits the budgets."""
        candidates = sorted(self._candidates(), key=lambda candidate: candidate.counts.value)
        finetuned = [candidate for candidate in candidates if candidate.counts.finetune_rounds]
        alone = [candidate for candidate in candidates if not candidate.counts.finetune_rounds]
        best = self._best(alone[:1] + finetuned[:_SHORTLIST])
        if best is None:
            raise InfeasibleError(shortfall(self.stages))
        best = self._traded(self._refined(best))
        gap = max(0.0, self._value(best) / self._relaxed.lower_bound - 1.0)
        return replace(best, relaxed=self._relaxed, integer_gap=gap, objective=self.objective.name)

    def _best(self, candidates: list[Candidate], than: float = math.inf) -> Plan | None:
        """The best of ``candidates`` that keeps both budgets to the last digit, if its value is less ``than`` that."""
        for design in sorted(self._designs(candidates), key=lambda design: design.value):
            if not design.value < than:
                break
            plan = self._worked_out(design)
            predicted, budget = predict(self.stages.problem, plan, planned_round), self.stages.problem.budget
            if predicted.delay_s <= budget.delay_s and predicted.energy_j <= budget.energy_j:
                return plan
        return None

    def _refined(self, best: Plan) -> Plan:
        """``best``, or better with a round or a server sample more or fewer, again and again while that helps."""
        tried = {(best.pretrain_rounds, best.finetune_rounds, best.server.batch)}
        for _ in range(self._refinements):
            near = self.objective.neighbours(best.pretrain_rounds, best.finetune_rounds, best.server.batch)
            varied = [self._varied(best, *counts) for counts in near if counts not in tried]
            tried.update(near)
            better = self._best([candidate for some in varied for candidate in some], self._value(best))
            if better is None:
                break
            best = better
        return best

    def _traded(self, best: Plan) -> Plan:
        """``best``, or better with a sample more or fewer for one device and new counts, while that helps."""
        for _ in range(self._trades if best.finetune_rounds else 0):
            candidates = sorted(self._near(best.devices), key=lambda candidate: candidate.counts.value)
            possible = [each for each in candidates[:_TRADES_WORKED_OUT] if math.isfinite(each.counts.value)]
            better = self._best(possible, self._value(best))
            if better is None:
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

    def _varied(self, plan: Plan, pretraining: int, finetuning: int, server_batch: float) -> list[Candidate]:
        """``plan`` with other counts; the server keeps its frequency, the devices get the time that leaves."""
        problem, server = self.stages.problem, self.stages.problem.server
        if finetuning < 1 or not self.stages.reachable:
            return []
        if pretraining < 0 or not server.min_batch <= server_batch <= server.max_batch:
            return []
        server_s = compute_time(pretraining * server_batch, server.cycles_per_sample, plan.server.frequency_hz)
        finish_s = (self._budget.delay_s - server_s) / finetuning - problem.radio.downlink_delay_s
        if finish_s <= 0.0:
            return []
        return [Candidate(Counts(0.0, pretraining, finetuning, int(server_batch)), finish_s)]

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

    def _counted(self, finish_s: FloatArray, rounds: Rounded) -> list[Candidate]:
        """The best counts beside each of ``rounds``, which end by ``finish_s`` (n,) after the broadcast."""
        radio, noise = self.stages.problem.radio, np.atleast_1d(self.stages.terms.round_noise(rounds.batch))
        candidates = []
        for by_s, energy_j, each in zip(finish_s.tolist(), rounds.energy_j.tolist(), noise.tolist(), strict=True):
            cost = RoundCost(radio.downlink_delay_s + by_s, radio.downlink_energy_j + energy_j)
            finetuning = FinetuneRound(cost, each)
            counts = self.objective.best_counts(self.stages, self._budget, self._server_batches, finetuning)
            candidates.append(Candidate(counts, by_s))
        return candidates

    def _designs(self, candidates: list[Candidate]) -> list[Design]:
        """The new ones of ``candidates`` that fit, with whole batches: what is left of the energy becomes samples."""
        made = [frame for frame in map(self._frame, candidates) if frame is not None]
        alone = [frame for frame in made if not frame.finetune_rounds]
        tuned = [frame for frame in made if frame.finetune_rounds]
        finish_s, energy_j = (np.array([frame[place] for frame in tuned]) for place in (-2, -1))
        batches = self._allocator.best_each(finish_s, energy_j) if tuned else []
        designs = [self._design(frame, self._allocator.least) for frame in alone]
        return designs + [
            self._design(frame, batch) for frame, batch in zip(tuned, batches, strict=True) if batch is not None
        ]

    def _frame(self, candidate: Candidate) -> Frame | None:
        """The candidate without its batches; None where no energy is left for them, or it is known already."""
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
        left_j = budget.energy_j - rounds[0] * server_round(problem.server, server).energy_j
        each_j = left_j / rounds[1] - problem.radio.downlink_energy_j if rounds[1] else 0.0
        frame = Frame(*rounds, server, finish_s, each_j)
        known = (*rounds, counts.server_batch if rounds[0] else 0, finish_s)
        if (rounds[1] and each_j <= 0.0) or known in self._known:
            return None
        self._known.add(known)
        return frame

    def _design(self, frame: Frame, batch: FloatArray) -> Design:
        noise, terms = float(self.stages.terms.round_noise(batch)), self.stages.terms
        rounds = frame.pretrain_rounds, frame.finetune_rounds
        return Design(frame, batch, float(self.objective.value(terms, *rounds, frame.server.batch, noise)))

    def _worked_out(self, design: Design) -> Plan:
        frame = design.frame
        devices = self.stages.idle(design.batch)
        if frame.finetune_rounds:
            devices = self._allocator.given(frame.finish_s, design.batch).barrier.plan
        return Plan(frame.pretrain_rounds, frame.finetune_rounds, frame.server, devices)

    def _value(self, plan: Plan) -> float:
        return self.objective.of(self.stages.terms, plan)
