"""The exact joint designs: both stages' rounds, batches, frequencies and powers at once, with a certificate.

`JointSimple`, the rule of thumb, stands beside them: it needs no constants of the bound of pre-training.
"""

import math
from dataclasses import dataclass, replace

from prefine.emulator.bound import RoundCost, server_round
from prefine.emulator.errors import InfeasibleError
from prefine.emulator.types import Budget, Plan, Problem, Relaxed, ServerPlan
from prefine.policies.bent_shift import relax_phi
from prefine.policies.dual import Start, relax
from prefine.policies.feasibility import (
    require_fraction,
    require_pretraining_constants,
    require_reachable,
    require_whole_batches,
)
from prefine.policies.objectives.all_rounds import AllRounds
from prefine.policies.objectives.given_share import GivenShare
from prefine.policies.objectives.settling import fine_tuned
from prefine.policies.resharing import reshared
from prefine.policies.rounding import IntegerSearch
from prefine.policies.subproblems import Stages
from prefine.policies.whole_bound import whole_lower_bound

_GAP_NOT_WORTH_ANOTHER_SEARCH = 0.005
"""Integer gap up to which one stage alone is not tried: larger saves a second search that gains at most this much."""


@dataclass(frozen=True)
class Joint:
    """Minimises Phi, the bound over the rounds of both stages (the metric of arXiv 2404.00836).

    Source: docs/theory.md, sections 3 and 4 (this project's exact route; the paper's own is `prefine.policies.sca`).
    """

    def plan(self, problem: Problem) -> Plan:
        """The integer design; ``relaxed`` is the global optimum over real rounds and batches.

        Raises InfeasibleError where not one round fits the budgets.
        """
        return design_all_rounds(Stages(problem))

    def certify(self, problem: Problem, plan: Plan) -> float | None:
        """What no design of whole numbers can beat (`whole_lower_bound`)."""
        return whole_lower_bound(Stages(problem), plan, AllRounds())


@dataclass(frozen=True)
class JointFinetune:
    """Minimises Phi_FT, the mean over the fine-tuning rounds: the design for the model that is kept.

    Phi_FT is a predictor with fitted constants, not a proven bound. Source: docs/theory.md, section 3c.
    """

    def plan(self, problem: Problem) -> Plan:
        """The integer design; ``relaxed`` is the global optimum over real rounds and batches.

        Raises InputError without ``pretrain_contraction`` and ``pretrain_floor``, InfeasibleError where not one
        fine-tuning round fits the budgets.
        """
        return design_finetuned(Stages(problem))

    def certify(self, problem: Problem, plan: Plan) -> float | None:
        """What no design of whole numbers can beat (`whole_lower_bound`), in Phi_FT."""
        stages = Stages(problem.as_trained)
        return whole_lower_bound(stages, plan, fine_tuned(stages.terms))


@dataclass(frozen=True)
class JointSimple:
    """Needs no constants of Phi_FT: gives up at most ``give_up`` of the fine-tuning rounds to pre-training.

    N is the largest number of server rounds after which the fine-tune-only design on what is left of both budgets
    still has 1 - ``give_up`` of its rounds. The server runs as the pretrain-only design would have it.
    Source: this project's study of hand-over rules (docs/theory.md, section 5).
    """

    give_up: float = 0.15

    def __post_init__(self) -> None:
        require_fraction("joint-simple", "give_up", self.give_up)

    def plan(self, problem: Problem) -> Plan:
        """N by bisection, the rest as finetune-only. Raises InfeasibleError where not one fine-tuning round fits."""
        stages = Stages(problem)
        require_reachable(stages)
        require_whole_batches(stages)
        alone, start = relax(stages, GivenShare(0.0))
        server = _server(stages)
        cost = server_round(problem.server, server)
        least = (1.0 - self.give_up) * alone.finetune_rounds
        low, high = 0, math.floor(cost.affordable(problem.budget))
        while low < high:
            middle = (low + high + 1) // 2
            left = _after(problem, middle, cost)
            if left is not None and _rounds(left, start).finetune_rounds >= least:
                low = middle
            else:
                high = middle - 1
        return self._with_pretraining(problem, low, server, cost)

    def _with_pretraining(self, problem: Problem, rounds: int, server: ServerPlan, cost: RoundCost) -> Plan:
        """The fine-tune-only design on what ``rounds`` server rounds leave; fewer where rounding leaves no room."""
        while True:
            left = _after(problem, rounds, cost)
            try:
                if left is not None:
                    plan = design_share(Stages(left), 0.0)
                    return Plan(rounds, plan.finetune_rounds, server, plan.devices)
            except InfeasibleError:
                if rounds == 0:
                    raise
            rounds //= 2


def design_all_rounds(stages: Stages) -> Plan:
    """The best design for Phi; where a device cannot be reached, pre-training alone."""
    return reshared(stages, AllRounds(), _design_all_rounds)


def _design_all_rounds(stages: Stages) -> Plan:
    objective = AllRounds()
    relaxed, start = relax_phi(stages)
    share = float(relaxed.pretrain_rounds > relaxed.finetune_rounds)
    return _or_one_stage(IntegerSearch(stages, relaxed, start, objective), relaxed, share)


def design_finetuned(stages: Stages) -> Plan:
    """The best design for Phi_FT. Raises InputError without its constants, InfeasibleError as `Joint`."""
    require_pretraining_constants(stages.problem)
    stages = replace(stages, problem=stages.problem.as_trained)
    require_reachable(stages)
    return reshared(stages, fine_tuned(stages.terms), _design_finetuned)


def _design_finetuned(stages: Stages) -> Plan:
    objective = fine_tuned(stages.terms)
    relaxed, start = relax(stages, objective)
    return _or_one_stage(IntegerSearch(stages, relaxed, start, objective), relaxed, share=0.0)


def design_share(stages: Stages, share: float) -> Plan:
    """The best design for Phi with N / (N + M) = ``share``. Raises InfeasibleError where not one round fits."""
    if share < 1.0:
        require_reachable(stages)
    return reshared(stages, GivenShare(share), lambda made: _design_share(made, share), bound_rounds=0.0 < share < 1.0)


def _design_share(stages: Stages, share: float) -> Plan:
    relaxed, start = relax_phi(stages, share)
    return IntegerSearch(stages, relaxed, start, GivenShare(share)).plan()


def _or_one_stage(search: IntegerSearch, relaxed: Relaxed, share: float) -> Plan:
    """What ``search`` finds, or a plan of a single stage (``share`` 0 or 1) where that is better: the search is local.

    With N = 0 both objectives are the same, so the design for Phi serves both. Where no design worked out had both
    stages, the search has been that for fine-tuning alone.
    """
    stages, objective, plan = search.stages, search.objective, search.plan()
    if plan.integer_gap is not None and plan.integer_gap <= _GAP_NOT_WORTH_ANOTHER_SEARCH:
        return plan
    if relaxed.pretrain_rounds == plan.pretrain_rounds == 0 and not search.mixed:
        return plan
    try:
        if share < 1.0:
            require_reachable(stages)
        alone = _design_share(stages, share)
    except InfeasibleError:
        return plan
    other = objective.of(stages.terms, alone)
    if objective.of(stages.terms, plan) <= other:
        return plan
    gap = max(0.0, other / relaxed.lower_bound - 1.0)
    return replace(alone, relaxed=relaxed, integer_gap=gap, objective=objective.name)


def _server(stages: Stages) -> ServerPlan:
    """The server's round in the pretrain-only design, with a whole batch."""
    server, plan = stages.problem.server, relax_phi(stages, 1.0)[0].server
    batch = min(max(round(plan.batch), math.ceil(server.min_batch)), math.floor(server.max_batch))
    return ServerPlan(batch, plan.frequency_hz)


def _after(problem: Problem, rounds: int, cost: RoundCost) -> Problem | None:
    """``problem`` with what ``rounds`` server rounds leave of both budgets; None where they leave nothing."""
    budget = problem.budget
    left = Budget(budget.delay_s - rounds * cost.delay_s, budget.energy_j - rounds * cost.energy_j)
    return replace(problem, budget=left) if left.delay_s > 0.0 and left.energy_j > 0.0 else None


def _rounds(problem: Problem, start: Start) -> Relaxed:
    return relax(Stages(problem), GivenShare(0.0), start)[0]
