"""The exact joint designs: both stages' rounds, batches, frequencies and powers at once, with a certificate."""

from dataclasses import dataclass

from emulator.errors import InfeasibleError, InputError
from emulator.types import Plan, Problem
from policies.counts import MeanOfAllRounds, MeanOfFinetuning
from policies.dual import relax, relax_all_rounds
from policies.feasibility import shortfall
from policies.integers import IntegerSearch
from policies.objectives import FineTuned
from policies.stages import Stages


@dataclass(frozen=True)
class Joint:
    """Minimises Phi, the bound over the rounds of both stages (the metric of arXiv 2404.00836).

    Source: docs/theory.md, sections 3 and 4 (this project's exact route; the paper's own is `policies.sca`).
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
    return IntegerSearch(stages, relaxed, start, MeanOfAllRounds()).plan()


def design_finetuned(stages: Stages) -> Plan:
    """The best design for Phi_FT."""
    require_pretraining_constants(stages.problem)
    require_reachable(stages)
    objective = FineTuned()
    relaxed, start = relax(stages, objective)
    return IntegerSearch(stages, relaxed, start, MeanOfFinetuning(), objective.name).plan()


def require_pretraining_constants(problem: Problem) -> None:
    """Raises InputError where Phi_FT cannot be evaluated."""
    for name in ("pretrain_contraction", "pretrain_floor"):
        if getattr(problem.learning, name) is None:
            raise InputError(f"learning.{name}: missing; policies that minimise Phi_FT need it (a number, at least 0)")


def require_reachable(stages: Stages) -> None:
    """Raises InfeasibleError where a device has no link."""
    if not stages.reachable:
        raise InfeasibleError(shortfall(stages))
