"""What a selection rule is, and the policy that it makes of any plan."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from prefine.emulator.bound import device_round
from prefine.emulator.types import (
    AdaptivePolicy,
    DevicesPlan,
    FloatArray,
    IntArray,
    Observation,
    Plan,
    Policy,
    Problem,
    RehearsingPolicy,
    RoundDecision,
    frozen_array,
)
from prefine.policies.feasibility import require_at_least, require_flag, require_fraction
from prefine.policies.online import JointOnline

PLACE = "*.selection_parameters"
"""Where messages say that a rule's parameter stands: ``policies.*.selection_parameters``."""


class Choice(NamedTuple):
    """Who takes part: ``devices`` (n,), their numbers in rising order, n at least 1.

    ``weight`` (n,) are their weights in the step, ``None`` their shares of the task loss scaled to one. A round that
    would take longer than ``deadline_s`` is not re-optimised.
    """

    devices: IntArray
    weight: FloatArray | None = None
    deadline_s: float = math.inf


@dataclass(frozen=True, kw_only=True)
class Selection(ABC):
    """A rule that says who takes part in a fine-tuning round; a pure function of what it sees.

    With ``replan`` the chosen get a round of their own before each: batches, frequencies and powers are optimised again
    for them alone, as `joint-online` does, with its ``trust`` in the gain just seen; training goes on as long as one
    more round fits the budgets. Without it they do what the plan says.
    """

    replan: bool = True
    trust: float = 0.0

    def __post_init__(self) -> None:
        require_flag(PLACE, "replan", self.replan)
        require_fraction(PLACE, "trust", self.trust)

    @abstractmethod
    def choose(self, observation: Observation, candidates: IntArray) -> Choice:
        """Who of the ``candidates`` (n,), n at least 1, takes part: those that are there, have a link and data."""

    def over(self, policy: Policy | RehearsingPolicy) -> "Selected":
        """``policy`` with this rule on top."""
        return Selected(policy, self)


@dataclass(frozen=True, kw_only=True)
class Counted(Selection):
    """A rule that chooses ``count`` devices, or all candidates where there are fewer."""

    count: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(PLACE, "count", self.count, 1)


@dataclass(frozen=True)
class Selected:
    """``policy`` plans, ``selection`` says who takes part in each round, and the round is planned for those alone.

    The chosen are a problem of their own: their devices, their weights in the step, what is left of the budgets. The
    prices of a round are those at which they would do the rest of the training. Rehearsals of a policy that rehearses
    know nothing of the selection.
    """

    policy: Policy | RehearsingPolicy
    selection: Selection

    @property
    def rehearses(self) -> bool:
        """As the policy."""
        return bool(getattr(self.policy, "rehearses", False))

    @property
    def uses_constants(self) -> bool:
        """As the policy; re-planning a round uses them always."""
        return self.selection.replan or bool(getattr(self.policy, "uses_constants", True))

    def plan(self, problem: Problem, *rehearse: Any) -> Plan:
        """The policy's own plan, for all devices. Raises what the policy raises."""
        return self.policy.plan(problem, *rehearse)

    def adapt(self, observation: Observation) -> RoundDecision:
        """The next round with those that the rule chooses; where nobody has a link, with whoever comes."""
        able = (observation.available > 0.0) & (observation.gain > 0.0) & (observation.problem.devices.weight > 0.0)
        candidates = np.flatnonzero(able)
        if not len(candidates):
            return self._round(observation)
        choice = self.selection.choose(observation, candidates)
        narrow = narrowed(observation, choice)
        decision = self._round(narrow)
        plan = observation.plan
        if decision.stage != "finetune":
            return RoundDecision(decision.stage, decision.server, plan.devices)
        devices = decision.devices if _ends_by(choice.deadline_s, narrow, decision.devices) else narrow.plan.devices
        nobody = np.zeros(len(observation.gain))
        participants = np.ones(len(choice.devices)) if decision.participants is None else decision.participants
        weight = choice.weight if decision.weight is None else decision.weight
        return RoundDecision(
            "finetune",
            decision.server,
            plan.devices.with_at(choice.devices, devices),
            _with(nobody, choice.devices, participants),
            None if weight is None else _with(nobody, choice.devices, weight),
        )

    def _round(self, observation: Observation) -> RoundDecision:
        if not self.selection.replan:
            return _as_planned(observation)
        if isinstance(self.policy, AdaptivePolicy):
            return self.policy.adapt(observation)
        return JointOnline(objective=observation.plan.objective, trust=self.selection.trust).adapt(observation)


def narrowed(observation: Observation, choice: Choice) -> Observation:
    """What would be seen if there were only those chosen, their weights those of the step."""
    of, problem, plan = choice.devices, observation.problem, observation.plan
    devices = problem.devices.at(of)
    weight = devices.weight / devices.weight.sum() if choice.weight is None else choice.weight
    return replace(
        observation,
        problem=replace(problem, devices=replace(devices, weight=weight)),
        plan=replace(plan, relaxed=None, devices=plan.devices.at(of)),
        gain=frozen_array(observation.gain[of]),
        available=frozen_array(observation.available[of]),
        facts=observation.facts.at(of),
    )


def own_draws(observation: Observation) -> np.random.Generator:
    """Random numbers for the next round: the same whenever the same run comes to the same round."""
    return np.random.default_rng((observation.seed, observation.finetune_rounds_done))


def planned_round_s(observation: Observation) -> float:
    """How long a round of the plan with all devices lasts on the planning gains."""
    problem = observation.problem
    return device_round(problem.devices, problem.radio, observation.plan.devices).delay_s


def _as_planned(observation: Observation) -> RoundDecision:
    """The plan's rounds, and its fine-tuning round again as long as one fits what is left on the gains seen."""
    plan, problem = observation.plan, observation.problem
    if observation.pretrain_rounds_done < plan.pretrain_rounds and observation.finetune_rounds_done == 0:
        return RoundDecision("pretrain", plan.server, plan.devices)
    if not plan.finetune_rounds:
        return RoundDecision("stop", plan.server, plan.devices)
    if not np.all(observation.gain > 0.0):
        return RoundDecision("finetune", plan.server, plan.devices)
    cost = device_round(replace(problem.devices, gain=observation.gain), problem.radio, plan.devices)
    left = observation.remaining
    fits = cost.delay_s <= left.delay_s and cost.energy_j <= left.energy_j
    return RoundDecision("finetune" if fits else "stop", plan.server, plan.devices)


def _ends_by(deadline_s: float, observation: Observation, plan: DevicesPlan) -> bool:
    """Whether a round of ``plan`` ends within ``deadline_s`` on the gains seen."""
    if math.isinf(deadline_s):
        return True
    problem = observation.problem
    seen = replace(problem.devices, gain=observation.gain)
    return device_round(seen, problem.radio, plan).delay_s <= deadline_s


def _with(values: FloatArray, index: IntArray, at_index: FloatArray) -> FloatArray:
    """``values`` (K,) with ``at_index`` (n,) at ``index`` (n,)."""
    merged = values.copy()
    merged[index] = at_index
    return merged
