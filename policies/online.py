"""The joint design, planned anew at the hand-over and before every fine-tuning round (docs/theory.md, section 6)."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from prefine.emulator.bound import BoundTerms, server_round
from prefine.emulator.errors import InputError
from prefine.emulator.types import (
    Budget,
    DevicesPlan,
    FloatArray,
    Observation,
    Plan,
    Problem,
    RoundDecision,
)
from prefine.policies.batch_rounding import BatchAllocation, BatchAllocator
from prefine.policies.dual import Start, relax
from prefine.policies.feasibility import require_fraction
from prefine.policies.joint import Joint, JointFinetune
from prefine.policies.objectives.all_rounds import AllRounds
from prefine.policies.objectives.base import Objective
from prefine.policies.objectives.given_share import GivenShare
from prefine.policies.objectives.settling import fine_tuned
from prefine.policies.rounding import SLIVER
from prefine.policies.subproblems import Stages

_LEVEL_STEPS = 4
_LEVEL_CLOSE = 1e-3
"""Solves for the level that gives a round its prices, and its relative error: closer costs solves in every round."""

_LAST_ROUNDS = 1.5
"""Below so many rounds left the next takes all that is left: larger ends in one long round, smaller wastes a rest."""


@dataclass(frozen=True)
class JointOnline:
    """Pre-trains as planned, then prices what is left of both budgets before every fine-tuning round.

    The prices are those at which the rest of the training, on the planning gains, would reach the same bound as all
    of it; this round is the best reply to them on the gains expected now: planning gain and the gain just seen, mixed
    geometrically with weight ``trust`` on the gain seen (worth raising only where the channel holds still for
    a round). Devices that cannot take part are left out. The last round takes what is left, less ``reserve``; where not
    one round fits, training stops, so nothing is overspent.

    ``objective`` is ``"bound_ft"`` (as `joint-ft`) or ``"bound"`` (as `joint`). A pure function of the observation.
    """

    objective: Literal["bound", "bound_ft"] = "bound_ft"
    trust: float = 0.0
    reserve: float = 0.02

    def __post_init__(self) -> None:
        if self.objective not in ("bound", "bound_ft"):
            raise InputError(f'policies.joint-online.objective: must be "bound" or "bound_ft", not {self.objective!r}')
        require_fraction("joint-online", "trust", self.trust)
        require_fraction("joint-online", "reserve", self.reserve)

    def plan(self, problem: Problem) -> Plan:
        """The static design it starts from."""
        return (Joint() if self.objective == "bound" else JointFinetune()).plan(problem)

    def adapt(self, observation: Observation) -> RoundDecision:
        """The next round, or the end where none fits what is left."""
        plan = observation.plan
        if observation.pretrain_rounds_done < plan.pretrain_rounds and observation.finetune_rounds_done == 0:
            cost = server_round(observation.problem.server, plan.server)
            left = observation.remaining
            if cost.delay_s <= left.delay_s and cost.energy_j <= left.energy_j:
                return RoundDecision("pretrain", plan.server, plan.devices)
        devices = self._finetuning(observation) if plan.finetune_rounds else None
        stage: Literal["finetune", "stop"] = "stop" if devices is None else "finetune"
        return RoundDecision(stage, plan.server, plan.devices if devices is None else devices)

    def _finetuning(self, observation: Observation) -> DevicesPlan | None:
        """What the devices do next; None where not one round fits."""
        present = np.flatnonzero((observation.available > 0.0) & (observation.gain > 0.0))
        problem, budget = observation.problem, _usable(observation.remaining)
        if not len(present) or budget is None:
            return observation.plan.devices if budget is not None else None
        prices = self._prices(observation, budget)
        rounds_left, ratio, energy_price = prices
        mixed = problem.devices.gain ** (1.0 - self.trust) * observation.gain**self.trust
        now = Stages(_only(problem, present, mixed))
        reply = now.devices.solve(ratio, energy_price)
        allocator = BatchAllocator(now, energy_price, reply.snr_state)
        finish_s = reply.cost.delay_s - problem.radio.downlink_delay_s
        if rounds_left >= _LAST_ROUNDS:
            rounded = allocator.rounded(finish_s, energy_price)
            if not np.any(rounded.barrier.late):
                return _spread(observation.plan.devices, present, rounded)
        last_s = budget.delay_s * (1.0 - self.reserve) - problem.radio.downlink_delay_s
        last_j = budget.energy_j * (1.0 - self.reserve) - problem.radio.downlink_energy_j
        last = allocator.best(last_s, last_j) if last_s > 0.0 and last_j > 0.0 else None
        return None if last is None else _spread(observation.plan.devices, present, last)

    def _prices(self, observation: Observation, budget: Budget) -> tuple[float, float, float]:
        """Rounds left, the worth of a second in joules, and the price of a joule.

        The rest of the training has to reach the level phi at which [spent bound + m noise] / (done + m) = phi, so
        its own start is what is spent less phi for every round done (section 6).
        """
        plan = observation.plan
        problem = observation.problem if self.objective == "bound" else observation.problem.as_trained
        terms, rounds = BoundTerms.of(problem), (observation.pretrain_rounds_done, observation.finetune_rounds_done)
        objective: Objective = AllRounds() if self.objective == "bound" else fine_tuned(terms)
        done = objective.counted(*rounds)
        noise = float(terms.round_noise(plan.devices.batch))
        spent = objective.numerator(terms, rounds, plan.server.batch, noise)
        level = plan.relaxed.bound if plan.relaxed else objective.of(terms, plan)
        start = Start()
        for _ in range(_LEVEL_STEPS):
            remaining = max(spent - level * done, _LEVEL_CLOSE * spent)
            gap = remaining * problem.learning.learning_rate / 2.0
            rest = replace(problem, budget=budget, learning=replace(problem.learning, initial_gap=gap))
            relaxed, start = relax(Stages(rest), GivenShare(0.0), start)
            if abs(relaxed.bound - level) <= _LEVEL_CLOSE * level:
                break
            level = (relaxed.bound * relaxed.finetune_rounds + level * done) / (relaxed.finetune_rounds + done)
        prices = start.prices(budget)
        return relaxed.finetune_rounds, prices.ratio, prices.energy


def _usable(remaining: Budget) -> Budget | None:
    """What is left, less a sliver for rounding; None where a budget is used up."""
    left = Budget(remaining.delay_s * (1.0 - SLIVER), remaining.energy_j * (1.0 - SLIVER))
    return left if left.delay_s > 0.0 and left.energy_j > 0.0 else None


def _only(problem: Problem, present: np.typing.NDArray[np.intp], gain: FloatArray) -> Problem:
    """``problem`` with the devices ``present`` alone, at ``gain`` (K,)."""
    return replace(problem, devices=replace(problem.devices, gain=gain).at(present))


def _spread(plan: DevicesPlan, present: np.typing.NDArray[np.intp], allocation: BatchAllocation) -> DevicesPlan:
    """``plan`` with what the devices ``present`` do now."""
    return plan.with_at(present, allocation.barrier.plan)
