"""Phi over the rounds of both stages (docs/theory.md, sections 2 and 3): with free rounds, or with a given share."""

import math
from dataclasses import dataclass

import numpy as np

from prefine.emulator.bound import BoundTerms
from prefine.emulator.physics import Mixed, Number
from prefine.emulator.types import Budget, FloatArray
from prefine.policies.objectives.base import Objective, ObjectiveName, Prices, Trial, imbalance
from prefine.policies.objectives.counting import (
    Counts,
    FinetuneRound,
    bent_rounds,
    best_alone,
    finetune_counts,
    pick,
    real_rounds_beside,
    steps,
)
from prefine.policies.subproblems import Stages

_ROUNDING = 1e-9
"""Part of A by which a count may seem to miss what was reached, and still is looked at."""


@dataclass(frozen=True)
class MeanOverAllRounds(Objective):
    """What every objective that is Phi has in common: its formula, and prices that sum to A over both budgets."""

    @property
    def name(self) -> ObjectiveName:
        """Phi."""
        return "bound"

    def value(
        self, terms: BoundTerms, pretrain_rounds: Number, finetune_rounds: Mixed, server_batch: Mixed, noise: Mixed
    ) -> Number:
        """Phi; see `Objective`."""
        return terms.bound(pretrain_rounds, finetune_rounds, server_batch, noise)

    def numerator(self, terms: BoundTerms, rounds: tuple[int, int], server_batch: float, noise: float) -> float:
        """A + N (Delta^2 + alpha0 / b0) + M noise."""
        return terms.pretrained(float(rounds[0]), server_batch) + rounds[1] * noise

    def counted(self, pretrain_rounds: float, finetune_rounds: float) -> float:
        """N + M."""
        return pretrain_rounds + finetune_rounds

    def prices(self, stages: Stages, log_odds: float) -> Prices:
        """delay T + energy E = A (docs/theory.md, section 3b)."""
        return Prices.of(log_odds, stages.problem.budget, stages.terms.start)


@dataclass(frozen=True)
class AllRounds(MeanOverAllRounds):
    """Phi over any N and M; its dual function is min(h0, h1).

    The dual is that of a straight shift; `prefine.policies.bent_shift` calls it with tangents of one that bends.
    """

    def lower_bound(self, stages: Stages, trial: Trial) -> float:
        """min(h0, h1): the cheaper stage (section 3b)."""
        return min(stages.terms.shift + trial.server_price(), trial.devices.price)

    def rounds(self, stages: Stages, trial: Trial) -> tuple[float, float]:
        """The best vertex of {N, M >= 0, both budgets}: one stage alone, or both with both budgets tight."""
        budget, server, devices = stages.problem.budget, trial.server.cost, trial.devices.cost
        vertices = [(server.affordable(budget), 0.0), (0.0, devices.affordable(budget))]
        determinant = server.delay_s * devices.energy_j - server.energy_j * devices.delay_s
        if determinant != 0.0:
            pretraining = (budget.delay_s * devices.energy_j - budget.energy_j * devices.delay_s) / determinant
            finetuning = (budget.energy_j * server.delay_s - budget.delay_s * server.energy_j) / determinant
            if pretraining > 0.0 and finetuning > 0.0:
                vertices.append((pretraining, finetuning))
        batch, noise = trial.server.plan.batch, trial.devices.noise
        return min(vertices, key=lambda rounds: self.value(stages.terms, rounds[0], rounds[1], batch, noise))

    def finetuning_decides(self, stages: Stages, trial: Trial) -> bool:
        """Whether h1 is the smaller one."""
        return trial.devices.price <= stages.terms.shift + trial.server_price()

    def residual(self, stages: Stages, trial: Trial) -> float:
        """How unevenly a round of the deciding stage uses the budgets; see `Objective`."""
        decisive = trial.devices if self.finetuning_decides(stages, trial) else trial.server
        return imbalance(decisive.cost, stages.problem.budget)

    def crossing(self, stages: Stages, low: Trial, high: Trial) -> float | None:
        """Where the tangents of h0 and h1 meet, if one decides at ``low`` and the other at ``high``."""
        if self.finetuning_decides(stages, low) == self.finetuning_decides(stages, high):
            return None
        low_slope, high_slope = self._slope(stages, low), self._slope(stages, high)
        rise = self.lower_bound(stages, high) - self.lower_bound(stages, low)
        return low.log_odds + (rise - high_slope * (high.log_odds - low.log_odds)) / (low_slope - high_slope)

    def _slope(self, stages: Stages, trial: Trial) -> float:
        """Of min(h0, h1) in the log-odds, by the envelope theorem."""
        cost = (trial.devices if self.finetuning_decides(stages, trial) else trial.server).cost
        budget, prices = stages.problem.budget, trial.prices
        unevenness = cost.delay_s / budget.delay_s - cost.energy_j / budget.energy_j
        return unevenness * prices.delay * budget.delay_s * prices.energy * budget.energy_j / stages.terms.start

    def best_counts(self, stages: Stages, budget: Budget, batches: FloatArray, finetuning: FinetuneRound) -> Counts:
        """See `Objective`. Phi is monotone in N, so N is 0 or all that fits; or, where the shift bends, in between."""
        terms, found = stages.terms, self._finetuning_alone(stages, budget, batches, finetuning)
        counts = self._worth_pretraining(stages, budget, batches, finetuning, found.value)
        if not len(counts):
            return found
        column = batches[:, np.newaxis]
        most = np.floor(real_rounds_beside(counts, stages.problem.server, budget, column, finetuning.cost))
        tried = [most]
        if terms.bends:
            wanted = bent_rounds(terms, counts, column, finetuning.noise)
            tried += [np.minimum(np.floor(wanted), most), np.minimum(np.ceil(wanted), most)]
        for pretraining in tried:
            value = self.value(terms, pretraining, counts, column, finetuning.noise)
            found = min(found, pick(value, pretraining, counts, column))
        return found

    def _finetuning_alone(
        self, stages: Stages, budget: Budget, batches: FloatArray, finetuning: FinetuneRound
    ) -> Counts:
        """N = 0 and as many M as fit: A / M + noise falls in M."""
        most = math.floor(finetuning.cost.affordable(budget))
        value = self.value(stages.terms, 0.0, float(most), 1.0, finetuning.noise)
        return Counts(float(value), 0, most, int(batches[0]))

    def _worth_pretraining(
        self, stages: Stages, budget: Budget, batches: FloatArray, finetuning: FinetuneRound, reached: float
    ) -> FloatArray:
        """The counts (M,) beside which some pre-training may give less than ``reached``.

        N rounds do so where A + D(N) + N alpha0 / b0 + M noise < reached (N + M), D(N) is at least N times its first
        slope, and N b0 at most the samples that fit.
        """
        terms = stages.terms
        noiseless = terms.shift - terms.relief * terms.relief_rate - reached
        best = 0.0 if noiseless >= 0.0 else float(np.min((noiseless + terms.server_noise / batches) / batches))
        if best >= 0.0:
            return batches[:0]
        counts = finetune_counts(budget, finetuning.cost)
        if not math.isfinite(reached):
            return counts
        samples = real_rounds_beside(counts, stages.problem.server, budget, np.ones((1, 1)), finetuning.cost)[0]
        least = terms.start + counts * (finetuning.noise - reached) + samples * best
        worth: FloatArray = counts[least < _ROUNDING * terms.start]
        return worth

    def alone(self, stages: Stages, budget: Budget) -> Counts:
        """See `Objective`."""
        return best_alone(stages.terms, stages.problem.server, budget)

    def neighbours(
        self, pretrain_rounds: int, finetune_rounds: int, server_batch: float
    ) -> list[tuple[int, int, float]]:
        """One round or server sample more or fewer, or one round exchanged."""
        return steps(pretrain_rounds, finetune_rounds, server_batch)
