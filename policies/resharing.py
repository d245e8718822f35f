"""Designs under OFDMA: each device counts on its own band, and what re-sharing then saves is planned with again.

While some compute or have finished, those who send have their bands too, so a round takes less than it was planned
with. How much less is known once it is planned (`prefine.emulator.access.uploads`). So the budgets are taken as larger
by what the last plan would leave of them, and the design is made anew.
"""

from collections.abc import Callable
from dataclasses import replace

from prefine.emulator.bound import planned_round, predict
from prefine.emulator.types import Budget, Plan, Problem
from prefine.policies.objectives.base import Objective
from prefine.policies.subproblems import Stages

_DESIGNS = 3
"""Designs at most: the first saves most, the second little, and each costs as much as the first."""

_WORTH_IT = 1e-3
"""Part of a budget: with less of it left, another design gains nothing to speak of."""


def reshared(
    stages: Stages, objective: Objective, design: Callable[[Stages], Plan], *, bound_rounds: bool = False
) -> Plan:
    """The best of what ``design`` makes, by ``objective``; under any other access the one design.

    ``bound_rounds``: N and M go together, so that neither can be changed alone.
    Its certificate is that of the first: for plans in which each counts on its own band. A better plan has no gap.
    """
    problem = stages.problem
    first = best = last = design(stages)
    if problem.radio.access != "ofdma" or problem.radio.bandwidth != "given":
        return best
    for _ in range(_DESIGNS - 1):
        wider = _wider(problem, last)
        if not last.finetune_rounds or wider is None:
            break
        last = design(replace(stages, problem=replace(problem, budget=wider)))
        fitting = _fitting(problem, last)
        if bound_rounds and fitting.finetune_rounds < last.finetune_rounds:
            break
        if objective.of(stages.terms, fitting) >= objective.of(stages.terms, best):
            break
        best = fitting
    if best is first or first.relaxed is None:
        return best
    gap = max(0.0, objective.of(stages.terms, best) / first.relaxed.lower_bound - 1.0)
    return replace(best, relaxed=first.relaxed, integer_gap=gap)


def _wider(problem: Problem, plan: Plan) -> Budget | None:
    """The budgets that ``plan`` would use up if its rounds took what it reckoned with; None where it nearly does."""
    takes, reckoned, budget = predict(problem, plan), predict(problem, plan, planned_round), problem.budget
    left = 1.0 - max(takes.delay_s / budget.delay_s, takes.energy_j / budget.energy_j)
    if left < _WORTH_IT:
        return None
    return Budget(
        budget.delay_s * max(1.0, reckoned.delay_s / takes.delay_s),
        budget.energy_j * max(1.0, reckoned.energy_j / takes.energy_j),
    )


def _fitting(problem: Problem, plan: Plan) -> Plan:
    """``plan`` with as many of its fine-tuning rounds as the budgets really allow."""
    one, none = (predict(problem, replace(plan, finetune_rounds=rounds)) for rounds in (1, 0))
    most = float(plan.finetune_rounds)
    for left, each in (
        (problem.budget.delay_s - none.delay_s, one.delay_s - none.delay_s),
        (problem.budget.energy_j - none.energy_j, one.energy_j - none.energy_j),
    ):
        most = min(most, max(0.0, left / each * (1.0 - _ROUNDING)))
    return replace(plan, finetune_rounds=int(most))


_ROUNDING = 1e-12
"""Part of a budget that is left, so that the last digits never overspend it."""
