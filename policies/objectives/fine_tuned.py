"""Phi_FT over the fine-tuning rounds alone, with a fitted effect of pre-training (docs/theory.md, section 3c)."""

import math
from dataclasses import dataclass

import numpy as np

from prefine.emulator.bound import BoundTerms
from prefine.emulator.physics import Mixed, Number
from prefine.emulator.types import Budget, FloatArray
from prefine.policies.objectives.base import Objective, ObjectiveName, Prices, Trial
from prefine.policies.objectives.counting import Counts, FinetuneRound, finetune_counts, pick, real_rounds_beside, steps
from prefine.policies.subproblems import Stages

_NEWTON_STEPS = 200
"""A bound on the loop only: Newton's method takes about 5 and stops by itself at `_ROUNDING`."""

_ROUNDING = 4e-16
"""Relative step at which Newton's method ends, two units in the last place: larger proves a slightly lower bound."""


@dataclass(frozen=True)
class FineTuned(Objective):
    """Phi_FT over any N and at least one M, for problems without ``pretrain_noise``: the server's noise adds up.

    A predictor with fitted constants, not a proven bound.
    """

    @property
    def name(self) -> ObjectiveName:
        """Phi_FT."""
        return "bound_ft"

    def value(
        self, terms: BoundTerms, pretrain_rounds: Number, finetune_rounds: Mixed, server_batch: Mixed, noise: Mixed
    ) -> Number:
        """Phi_FT; see `Objective`."""
        return terms.bound_ft(pretrain_rounds, finetune_rounds, server_batch, noise)

    def numerator(self, terms: BoundTerms, rounds: tuple[int, int], server_batch: float, noise: float) -> float:
        """B exp(-a N) + C + N alpha0 / b0 + M noise."""
        return terms.pretrained_ft(float(rounds[0]), server_batch) + rounds[1] * noise

    def counted(self, pretrain_rounds: float, finetune_rounds: float) -> float:
        """M."""
        return finetune_rounds

    def prices(self, stages: Stages, log_odds: float) -> Prices:
        """delay T + energy E = s, the root of s = C + min_N [B exp(-a N) + N h0'(s)]: Newton's method from above."""
        budget, terms = stages.problem.budget, stages.terms
        total = terms.removable + terms.floor
        for _ in range(_NEWTON_STEPS):
            least, paid = self._total(stages, Prices.of(log_odds, budget, total))
            left = least - total
            slope = paid / total - 1.0
            lower = total - left / slope
            if lower >= total * (1.0 - _ROUNDING):
                break
            total = lower
        return Prices.of(log_odds, budget, total)

    def _total(self, stages: Stages, prices: Prices) -> tuple[float, float]:
        """C + min_N [B exp(-a N) + N h0'] at these prices, and what the budgets that the N rounds use are worth."""
        server = self.server(stages, prices)
        price = server.price(prices.delay, prices.energy)
        rounds = float(stages.terms.best_pretraining(price))
        return float(stages.terms.remaining(rounds)) + rounds * price, rounds * (price - server.noise)

    def lower_bound(self, stages: Stages, trial: Trial) -> float:
        """h1: at these prices pre-training just pays for itself."""
        return trial.devices.price

    def rounds(self, stages: Stages, trial: Trial) -> tuple[float, float]:
        """N as priced, and as many M as the tighter budget has left."""
        pretraining = self._pretraining(stages, trial)
        return pretraining, max(0.0, min(self._left(stages, trial, pretraining)))

    def _pretraining(self, stages: Stages, trial: Trial) -> float:
        return float(stages.terms.best_pretraining(trial.server_price()))

    def _left(self, stages: Stages, trial: Trial, pretraining: float) -> tuple[float, float]:
        """Fine-tuning rounds that delay and energy allow after ``pretraining`` rounds."""
        budget, server, devices = stages.problem.budget, trial.server.cost, trial.devices.cost
        return (
            (budget.delay_s - pretraining * server.delay_s) / devices.delay_s,
            (budget.energy_j - pretraining * server.energy_j) / devices.energy_j,
        )

    def residual(self, stages: Stages, trial: Trial) -> float:
        """How unevenly the fine-tuning rounds use what pre-training left of the budgets; see `Objective`."""
        by_delay, by_energy = self._left(stages, trial, self._pretraining(stages, trial))
        if by_delay <= 0.0:
            return -math.inf
        return math.inf if by_energy <= 0.0 else math.log(by_delay / by_energy)

    def best_counts(self, stages: Stages, budget: Budget, batches: FloatArray, finetuning: FinetuneRound) -> Counts:
        """See `Objective`. Phi_FT is convex in N, so N is next to its stationary point, or all that fits."""
        terms, counts, column = stages.terms, finetune_counts(budget, finetuning.cost), batches[:, np.newaxis]
        most = np.floor(real_rounds_beside(counts, stages.problem.server, budget, column, finetuning.cost))
        wanted = terms.best_pretraining(terms.server_noise / column)
        picks = []
        for pretraining in (np.minimum(np.floor(wanted), most), np.minimum(np.ceil(wanted), most)):
            value = self.value(terms, pretraining, counts, column, finetuning.noise)
            picks.append(pick(value, pretraining, counts, column))
        return min(picks)

    def alone(self, stages: Stages, budget: Budget) -> Counts:
        """None: Phi_FT needs a fine-tuning round."""
        return Counts(np.inf)

    def neighbours(
        self, pretrain_rounds: int, finetune_rounds: int, server_batch: float
    ) -> list[tuple[int, int, float]]:
        """One round or server sample more or fewer, or one round exchanged."""
        return steps(pretrain_rounds, finetune_rounds, server_batch)
