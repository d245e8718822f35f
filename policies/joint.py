"""The exact joint designs: both stages' rounds, batches, frequencies and powers at once, with a certificate."""

from dataclasses import dataclass, replace

from prefine.emulator.bound import predict
from prefine.emulator.errors import InfeasibleError, InputError
from prefine.emulator.types import Plan, Problem, Relaxed
from prefine.policies.counts import GivenShare, MeanOfAllRounds, MeanOfFinetuning
from prefine.policies.dual import relax, relax_all_rounds, relax_pretraining
from prefine.policies.feasibility import shortfall
from prefine.policies.integers import IntegerSearch
from prefine.policies.objectives import FineTuned
from prefine.policies.objectives import FixedShare as ShareObjective
from prefine.policies.stages import Stages


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


def design_all_rounds(stages: Stages) -> Plan:
    """The best design for Phi; where a device cannot be reached, pre-training alone."""
    relaxed, start = relax_all_rounds(stages)
    plan = IntegerSearch(stages, relaxed, start, MeanOfAllRounds()).plan()
    return _or_one_stage(stages, plan, relaxed, share=float(relaxed.pretrain_rounds > relaxed.finetune_rounds))


def design_finetuned(stages: Stages) -> Plan:
    """The best design for Phi_FT."""
    require_pretraining_constants(stages.problem)
    require_reachable(stages)
    objective = FineTuned()
    relaxed, start = relax(stages, objective)
    plan = IntegerSearch(stages, relaxed, start, MeanOfFinetuning(), objective.name).plan()
    return _or_one_stage(stages, plan, relaxed, share=0.0)


def design_share(stages: Stages, share: float) -> Plan:
    """The best design for Phi with N / (N + M) = ``share``. Raises InfeasibleError where not one round fits."""
    if share == 1.0:
        relaxed, start = relax_pretraining(stages)
    else:
        require_reachable(stages)
        relaxed, start = relax(stages, ShareObjective(share))
    return IntegerSearch(stages, relaxed, start, GivenShare(share)).plan()


def _or_one_stage(stages: Stages, plan: Plan, relaxed: Relaxed, share: float) -> Plan:
    """``plan``, or one with a single stage (``share`` 0 or 1) where that is better: the search is local.

    With N = 0 both objectives are the same, so the design for Phi serves both.
    """
    if plan.integer_gap is not None and plan.integer_gap <= _GAP_NOT_WORTH_ANOTHER_SEARCH:
        return plan
    try:
        alone = design_share(stages, share)
    except InfeasibleError:
        return plan
    value, other = (getattr(predict(stages.problem, each), plan.objective) for each in (plan, alone))
    if value <= other:
        return plan
    gap = max(0.0, other / relaxed.lower_bound - 1.0)
    return replace(alone, relaxed=relaxed, integer_gap=gap, objective=plan.objective)


_GAP_NOT_WORTH_ANOTHER_SEARCH = 0.005


def require_pretraining_constants(problem: Problem) -> None:
    """Raises InputError where Phi_FT cannot be evaluated."""
    for name in ("pretrain_contraction", "pretrain_floor"):
        if getattr(problem.learning, name) is None:
            raise InputError(f"learning.{name}: missing; policies that minimise Phi_FT need it (a number, at least 0)")


def require_reachable(stages: Stages) -> None:
    """Raises InfeasibleError where a device has no link."""
    if not stages.reachable:
        raise InfeasibleError(shortfall(stages))
