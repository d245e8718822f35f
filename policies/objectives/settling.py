"""Phi_FT where the noise of the server's batches settles (docs/theory.md, section 3d)."""

import math
from dataclasses import dataclass

import numpy as np

from prefine.emulator.bound import BoundTerms
from prefine.emulator.types import Budget, FloatArray
from prefine.policies.objectives.base import Prices, Trial
from prefine.policies.objectives.counting import Counts, FinetuneRound, finetune_counts, pick, real_rounds_beside
from prefine.policies.objectives.fine_tuned import FineTuned
from prefine.policies.subproblems import ServerRound, Stages

_STEPS = 100
"""A bound on the loop only: safeguarded Newton takes about 5 steps, bisection alone would take 60."""

_ROUNDING = 1e-15
"""Error in a N at which the search ends: larger proves a slightly lower bound."""

_SMALL = 1e-5
"""Below it d log b / dx is taken at 0, where its formula loses its digits; it only guides Newton's method."""


def fine_tuned(terms: BoundTerms) -> FineTuned:
    """The objective Phi_FT for ``terms``: with server noise that settles where that was measured."""
    return FineTuned() if terms.settled_noise is None else SettlingFineTuned()


@dataclass(frozen=True)
class SettlingFineTuned(FineTuned):
    """Phi_FT with the server's noise (nu / b0) (1 - exp(-a N)), for problems with ``pretrain_noise``.

    A round no longer pays alpha0 / b0 of its own, so the server's batch depends on N, and both are found together.
    """

    def server(self, stages: Stages, prices: Prices) -> ServerRound:
        """The batch and frequency that go with the best N; its noise is not the round's, so it counts as 0."""
        return self._best(stages, prices)[1]

    def _best(self, stages: Stages, prices: Prices) -> tuple[float, ServerRound]:
        """The N and round of least B exp(-a N) + (nu / b0) (1 - exp(-a N)) + N b0 j, where j is a sample's price.

        In x = a N with the best batch b(x) the slope in N has the sign of b(x) (j / a) exp(x) + nu / b(x) - B, which
        rises, so its one root is the minimum; Newton's method on x + log(b(x) j / a) - log(B - nu / b(x)).
        """
        terms, stage = stages.terms, stages.server
        rate, nu, removable = terms.contraction, terms.settled_noise or 0.0, terms.removable
        if not rate * removable > 0.0:
            return 0.0, stage.round(stage.server.min_batch, prices.ratio)
        per_rate = stage.sample_price(prices.ratio, prices.energy) / rate
        batch, bend = self._batch(stages, 0.0, per_rate)
        if batch * per_rate + nu / batch >= removable:
            return 0.0, stage.round(batch, prices.ratio)
        low, high = 0.0, math.log(removable / (stage.server.min_batch * per_rate))
        x = high
        batch, bend = self._batch(stages, x, per_rate)
        for _ in range(_STEPS):
            left = removable - nu / batch
            error = x + math.log(batch * per_rate / left) if left > 0.0 else math.inf
            low, high = (x, high) if error <= 0.0 else (low, x)
            step = error / (1.0 + bend - bend * nu / batch / left) if left > 0.0 else math.inf
            following = x - step if low < x - step < high else 0.5 * (low + high)
            if abs(following - x) <= _ROUNDING * max(1.0, x) or not low < following < high:
                break
            x = following
            batch, bend = self._batch(stages, x, per_rate)
        return x / rate, stage.round(batch, prices.ratio)

    @staticmethod
    def _batch(stages: Stages, x: float, per_rate: float) -> tuple[float, float]:
        """The best batch after a N = ``x``, and d log b / dx: b^2 = (nu a / j) (1 - exp(-x)) / x within its range."""
        server, nu = stages.problem.server, stages.terms.settled_noise or 0.0
        settled = -math.expm1(-x) / x if x > 0.0 else 1.0
        free = math.sqrt(nu / per_rate * settled)
        if not server.min_batch < free < server.max_batch:
            return min(max(free, server.min_batch), server.max_batch), 0.0
        bend = 0.5 * (1.0 / math.expm1(x) - 1.0 / x) if x > _SMALL else -0.25
        return free, bend

    def _total(self, stages: Stages, prices: Prices) -> tuple[float, float]:
        """See `FineTuned`."""
        rounds, server = self._best(stages, prices)
        paid = rounds * server.price(prices.delay, prices.energy)
        return float(stages.terms.pretrained_ft(rounds, server.plan.batch)) + paid, paid

    def _pretraining(self, stages: Stages, trial: Trial) -> float:
        """The best N for the batch of ``trial``, in closed form."""
        terms = stages.terms
        return float(
            terms.best_pretraining(trial.server_price(), (terms.settled_noise or 0.0) / trial.server.plan.batch)
        )

    def best_counts(self, stages: Stages, budget: Budget, batches: FloatArray, finetuning: FinetuneRound) -> Counts:
        """See `Objective`. For a given batch this Phi_FT is monotone in N, so N is 0 or all that fits."""
        counts, column = finetune_counts(budget, finetuning.cost), batches[:, np.newaxis]
        most = np.floor(real_rounds_beside(counts, stages.problem.server, budget, column, finetuning.cost))
        picks = []
        for pretraining in (most, np.zeros_like(most)):
            value = self.value(stages.terms, pretraining, counts, column, finetuning.noise)
            picks.append(pick(value, pretraining, counts, column))
        return min(picks)
