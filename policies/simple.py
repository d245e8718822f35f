"""The rule of thumb: spend on pre-training what costs at most some share of the fine-tuning rounds."""

import math
from dataclasses import dataclass, replace

from prefine.emulator.bound import RoundCost, server_round
from prefine.emulator.errors import InfeasibleError
from prefine.emulator.types import Budget, Plan, Problem, Relaxed, ServerPlan
from prefine.policies.checks import require_fraction
from prefine.policies.dual import Start, relax, relax_pretraining
from prefine.policies.feasibility import require_whole_batches
from prefine.policies.joint import design_share, require_reachable
from prefine.policies.objectives import FixedShare, affordable
from prefine.policies.stages import Stages


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
        alone, start = relax(stages, FixedShare(0.0))
        server = _server(stages)
        cost = server_round(problem.server, server)
        least = (1.0 - self.give_up) * alone.finetune_rounds
        low, high = 0, math.floor(affordable(cost, problem.budget))
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


def _server(stages: Stages) -> ServerPlan:
    """The server's round in the pretrain-only design, with a whole batch."""
    server, plan = stages.problem.server, relax_pretraining(stages)[0].server
    batch = min(max(round(plan.batch), math.ceil(server.min_batch)), math.floor(server.max_batch))
    return ServerPlan(batch, plan.frequency_hz)


def _after(problem: Problem, rounds: int, cost: RoundCost) -> Problem | None:
    """``problem`` with what ``rounds`` server rounds leave of both budgets; None where they leave nothing."""
    budget = problem.budget
    left = Budget(budget.delay_s - rounds * cost.delay_s, budget.energy_j - rounds * cost.energy_j)
    return replace(problem, budget=left) if left.delay_s > 0.0 and left.energy_j > 0.0 else None


def _rounds(problem: Problem, start: Start) -> Relaxed:
    return relax(Stages(problem), FixedShare(0.0), start)[0]
