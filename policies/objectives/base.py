"""What a design minimises: one class an objective, for the relaxed dual, for whole rounds and for evaluation.

The relaxed optimum is found by a one-dimensional dual (docs/theory.md, sections 3 and 3c): with log-odds w of theta
both prices follow, and each objective knows the scale of the prices, the lower bound they certify, the rounds to make
of the two stages' responses, and on which side of w the best prices lie.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

from prefine.emulator.bound import BoundTerms, Planned, RoundCost
from prefine.emulator.physics import Mixed, Number
from prefine.emulator.types import Budget, FloatArray
from prefine.policies.finetuning_stage import DeviceRound
from prefine.policies.objectives.counting import Counts, FinetuneRound
from prefine.policies.subproblems import ServerRound, Stages

ObjectiveName = Literal["bound", "bound_ft"]


@dataclass(frozen=True)
class Prices:
    """What a second (``delay``) and a joule (``energy``) cost in units of the bound's numerator."""

    delay: float
    energy: float

    @staticmethod
    def of(log_odds: float, budget: Budget, total: float) -> "Prices":
        """The prices with delay T + energy E = ``total``; the logistic function of ``log_odds`` pays for delay."""
        theta, rest = 1.0 / (1.0 + math.exp(-log_odds)), 1.0 / (1.0 + math.exp(log_odds))
        return Prices(total * theta / budget.delay_s, total * rest / budget.energy_j)

    @property
    def ratio(self) -> float:
        """Joules a second is worth."""
        return self.delay / self.energy


@dataclass(frozen=True)
class Trial:
    """Both stages' responses to the prices at one ``log_odds``."""

    log_odds: float
    prices: Prices
    server: ServerRound
    devices: DeviceRound

    def server_price(self) -> float:
        """h0 without Delta^2: noise plus cost of a pre-training round."""
        return self.server.price(self.prices.delay, self.prices.energy)


def imbalance(cost: RoundCost, budget: Budget) -> float:
    """log((J / E) / (D / T)): positive where a round uses more of the energy than of the delay budget."""
    return math.log(cost.energy_j / budget.energy_j) - math.log(cost.delay_s / budget.delay_s)


class Objective(ABC):
    """A bound to minimise over N, M, batches, frequencies and powers; immutable.

    Every subclass promises what its methods say here; the search for the relaxed optimum (`prefine.policies.dual`), the
    rounding (`prefine.policies.rounding`) and the tests rely on nothing else.
    """

    @property
    @abstractmethod
    def name(self) -> ObjectiveName:
        """The field of `Prediction` that this objective minimises; it goes into `Plan.objective`."""

    @property
    def finetunes(self) -> bool:
        """Whether designs with fine-tuning rounds are among those it chooses from."""
        return True

    # Evaluation

    @abstractmethod
    def value(
        self, terms: BoundTerms, pretrain_rounds: Number, finetune_rounds: Mixed, server_batch: Mixed, noise: Mixed
    ) -> Number:
        """The objective of any design: the formula of `BoundTerms`, elementwise; infinite where no round counts.

        ``noise`` is that of a fine-tuning round (`BoundTerms.round_noise`). Equals (numerator) / (`counted` rounds).
        """

    def of(self, terms: BoundTerms, plan: Planned) -> float:
        """The objective of ``plan``."""
        noise = terms.round_noise(plan.devices.batch)
        return float(self.value(terms, plan.pretrain_rounds, plan.finetune_rounds, plan.server.batch, noise))

    @abstractmethod
    def numerator(self, terms: BoundTerms, rounds: tuple[int, int], server_batch: float, noise: float) -> float:
        """The objective's numerator after ``rounds`` (N, M): `value` times `counted`, and finite without any round."""

    @abstractmethod
    def counted(self, pretrain_rounds: float, finetune_rounds: float) -> float:
        """The objective's denominator: the rounds it is a mean over."""

    # Relaxed optimum

    @abstractmethod
    def prices(self, stages: Stages, log_odds: float) -> Prices:
        """The largest prices for which `lower_bound` is a proof, with delay T : energy E = theta : 1 - theta.

        For every N, the numerator after N pre-training rounds, plus what these rounds cost at the prices, less
        `lower_bound` for each of them that is `counted`, is at least delay T + energy E.
        """

    def server(self, stages: Stages, prices: Prices) -> ServerRound:
        """The pre-training round to make at ``prices``: of least noise plus cost."""
        return stages.server.respond(prices.ratio, prices.energy)

    @abstractmethod
    def lower_bound(self, stages: Stages, trial: Trial) -> float:
        """For every log-odds, at most the optimum of the relaxed problem; equal to it at the best log-odds."""

    @abstractmethod
    def rounds(self, stages: Stages, trial: Trial) -> tuple[float, float]:
        """Real N, M >= 0 within both budgets at the costs of ``trial``; at the best log-odds, the optimal ones."""

    @abstractmethod
    def residual(self, stages: Stages, trial: Trial) -> float:
        """Increasing in the log-odds, and zero where `lower_bound` is largest; may jump across zero or be infinite."""

    def crossing(self, stages: Stages, low: Trial, high: Trial) -> float | None:
        """The log-odds where the tangents of `lower_bound` at ``low`` and ``high`` meet.

        None where one smooth function decides at both, which holds for an objective that does not say otherwise.
        """
        return None

    # Whole rounds

    @abstractmethod
    def best_counts(self, stages: Stages, budget: Budget, batches: FloatArray, finetuning: FinetuneRound) -> Counts:
        """The whole N, M and server batch (one of ``batches`` (B,)) of least `value` within ``budget``.

        The server runs as slowly as the time left allows. Infinite `Counts.value` where nothing fits.
        """

    @abstractmethod
    def alone(self, stages: Stages, budget: Budget) -> Counts:
        """The best whole N and server batch with M = 0 within ``budget``; infinite `Counts.value` where none counts."""

    @abstractmethod
    def neighbours(
        self, pretrain_rounds: int, finetune_rounds: int, server_batch: float
    ) -> list[tuple[int, int, float]]:
        """Whole (N, M, b0) one step away that this objective allows; some may not fit, or be below zero."""
