"""From the relaxed optimum to whole rounds and batches within both budgets (docs/theory.md, section 4)."""

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from prefine.emulator.bound import frugal_frequency, planned_round, predict, server_round
from prefine.emulator.errors import InfeasibleError
from prefine.emulator.physics import compute_time
from prefine.emulator.types import Budget, FloatArray, Plan, Relaxed, ServerPlan
from prefine.policies.batch_rounding import BatchAllocator
from prefine.policies.candidates import EFFORT, Candidate, Candidates
from prefine.policies.dual import Start
from prefine.policies.feasibility import require_whole_batches, shortfall
from prefine.policies.objectives.base import Objective
from prefine.policies.objectives.counting import Counts
from prefine.policies.subproblems import Stages

SLIVER = 4e-12
"""Share of both budgets left unused: larger wastes budget, smaller lets rounding in the last digits overspend it."""

_RESPONSES_PER_REFINEMENT = 400
_RESPONSES_PER_TRADE = 400
"""About what one refinement and trade (for each device) cost in responses of all devices; see `EFFORT`."""

_SHORTLIST = 6
"""Candidates worked out in full: more guard against a misleading count, each costs a search for its batches."""

_MOST_REFINEMENTS = 8
_MOST_TRADES = 8
"""Steps of the two local searches at most; they mostly end sooner, where no neighbour is better."""

_TRADES_WORKED_OUT = 3
"""Candidates of a trade worked out in full, as `_SHORTLIST`."""


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


class IntegerSearch:
    """Whole designs around the optimum ``relaxed`` of ``objective``; ``start`` is where the search for it ended.

    ``mixed`` says afterwards whether any design worked out has rounds of both stages.
    Raises InputError where a batch range contains no whole number. Source: docs/theory.md, section 4.
    """

    def __init__(self, stages: Stages, relaxed: Relaxed, start: Start, objective: Objective) -> None:
        self.stages, self._relaxed, self.objective = stages, relaxed, objective
        budget = stages.problem.budget
        self._budget = Budget(budget.delay_s * (1.0 - SLIVER), budget.energy_j * (1.0 - SLIVER))
        energy_price = start.prices(budget).energy
        self._allocator = BatchAllocator(stages, energy_price, start.snr_state)
        require_whole_batches(stages)
        self._candidates = Candidates(stages, relaxed, objective, self._budget, self._allocator, energy_price)
        count = len(stages.problem.devices)
        self.mixed = False
        self._known: set[tuple[float, ...]] = set()
        self._refinements = min(_MOST_REFINEMENTS, EFFORT // (_RESPONSES_PER_REFINEMENT * count))
        self._trades = min(_MOST_TRADES, EFFORT // (_RESPONSES_PER_TRADE * count**2))

    def plan(self) -> Plan:
        """The best plan found. Raises InfeasibleError where not one round fits the budgets."""
        candidates = sorted(self._candidates.around(), key=lambda candidate: candidate.counts.value)
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
            candidates = sorted(self._candidates.near(best.devices), key=lambda candidate: candidate.counts.value)
            possible = [each for each in candidates[:_TRADES_WORKED_OUT] if math.isfinite(each.counts.value)]
            better = self._best(possible, self._value(best))
            if better is None:
                break
            best = self._refined(better)
        return best

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
