"""Phi with a given share of pre-training rounds (docs/theory.md, section 5)."""

from dataclasses import dataclass

import numpy as np

from prefine.emulator.bound import RoundCost, mean_round, most_server_rounds
from prefine.emulator.types import Budget, FloatArray, Server
from prefine.policies.objectives.all_rounds import MeanOverAllRounds
from prefine.policies.objectives.base import Trial, imbalance
from prefine.policies.objectives.counting import (
    MOST_COUNTS,
    Counts,
    FinetuneRound,
    best_alone,
    pick,
    real_rounds_beside,
    server_steps,
)
from prefine.policies.subproblems import Stages


@dataclass(frozen=True)
class GivenShare(MeanOverAllRounds):
    """Phi with N / (N + M) = ``share``, in [0, 1]; share 0 is fine-tuning alone. Whole N is the nearest integer.

    The dual is that of a straight shift, as for `AllRounds`.
    """

    share: float

    @property
    def finetunes(self) -> bool:
        """Not with share 1."""
        return self.share < 1.0

    def lower_bound(self, stages: Stages, trial: Trial) -> float:
        """share h0 + (1 - share) h1, by the argument of section 3b."""
        return self.share * (stages.terms.shift + trial.server_price()) + (1.0 - self.share) * trial.devices.price

    def _mean_cost(self, trial: Trial) -> RoundCost:
        return mean_round(self.share, trial.server.cost, trial.devices.cost)

    def rounds(self, stages: Stages, trial: Trial) -> tuple[float, float]:
        """As many rounds as the tighter budget allows."""
        total = self._mean_cost(trial).affordable(stages.problem.budget)
        return self.share * total, (1.0 - self.share) * total

    def residual(self, stages: Stages, trial: Trial) -> float:
        """How unevenly the mean round uses the budgets; see `Objective`."""
        return imbalance(self._mean_cost(trial), stages.problem.budget)

    def best_counts(self, stages: Stages, budget: Budget, batches: FloatArray, finetuning: FinetuneRound) -> Counts:
        """See `Objective`."""
        column, server, cost = batches[:, np.newaxis], stages.problem.server, finetuning.cost
        most = self._most_total(server, budget, float(np.min(batches)), cost)
        total = np.arange(1.0, most + 1.0) if most <= MOST_COUNTS else np.floor(np.linspace(1.0, most, MOST_COUNTS))
        pretraining = np.round(self.share * total)
        counts = total - pretraining
        fits = (pretraining <= real_rounds_beside(counts, server, budget, column, cost)) & (
            (counts * cost.delay_s <= budget.delay_s) & (counts * cost.energy_j <= budget.energy_j)
        )
        value = np.where(fits, self.value(stages.terms, pretraining, counts, column, finetuning.noise), np.inf)
        return pick(value, np.broadcast_to(pretraining, value.shape), counts, column)

    def alone(self, stages: Stages, budget: Budget) -> Counts:
        """See `Objective`: as many rounds as the nearest integer to ``share`` of them is all of them."""
        most = np.inf if self.share == 1.0 else float(np.floor(0.5 / (1.0 - self.share)))
        if np.round(self.share * most) < most:
            most -= 1.0  # a half is rounded to the even number
        return best_alone(stages.terms, stages.problem.server, budget, most)

    def neighbours(
        self, pretrain_rounds: int, finetune_rounds: int, server_batch: float
    ) -> list[tuple[int, int, float]]:
        """One round more or fewer at the same share, or one server sample more or fewer."""
        totals = pretrain_rounds + finetune_rounds + 1, pretrain_rounds + finetune_rounds - 1
        splits = [(round(self.share * total), total - round(self.share * total)) for total in totals]
        return [(n, m, server_batch) for n, m in splits] + server_steps(pretrain_rounds, finetune_rounds, server_batch)

    def _most_total(self, server: Server, budget: Budget, batch: float, cost: RoundCost) -> float:
        """No more rounds than this fit, at the least batch."""
        most = np.inf
        if self.share > 0.0:
            whole = most_server_rounds(server, *(np.array([x]) for x in (batch, budget.delay_s, budget.energy_j)))
            most = (whole.item() + 1.0) / self.share
        if self.share < 1.0:
            most = min(most, (cost.affordable(budget) + 1.0) / (1.0 - self.share))
        return float(np.floor(most))
