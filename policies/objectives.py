"""What a relaxed design minimises, as seen by the one-dimensional dual (docs/theory.md, sections 3 and 3c).

With log-odds w of theta, both prices follow; each objective knows the scale of the prices, the lower bound they
certify, the rounds to make of the two stages' responses, and on which side of w the best prices lie.
"""

import math
from dataclasses import dataclass
from typing import Literal, Protocol

from prefine.emulator.bound import RoundCost
from prefine.emulator.types import Budget
from prefine.policies.device_stage import DeviceRound
from prefine.policies.server_stage import ServerRound
from prefine.policies.stages import Stages


@dataclass(frozen=True)
class Prices:
    """What a second (``delay``) and a joule (``energy``) cost in units of the bound's numerator."""

    delay: float
    energy: float

    @staticmethod
    def of(log_odds: float, budget: Budget, total: float) -> "Prices":
        """delay T + energy E = ``total``, of which the logistic function of ``log_odds`` pays for delay."""
        theta, rest = 1.0 / (1.0 + math.exp(-log_odds)), 1.0 / (1.0 + math.exp(log_odds))
        return Prices(total * theta / budget.delay_s, total * rest / budget.energy_j)

    @property
    def ratio(self) -> float:
        """Joules a second is worth."""
        return self.delay / self.energy


@dataclass(frozen=True)
class Trial:
    """Both stages' responses at one ``log_odds``."""

    log_odds: float
    prices: Prices
    server: ServerRound
    devices: DeviceRound

    def server_price(self) -> float:
        """h0 without Delta^2."""
        return self.server.price(self.prices.delay, self.prices.energy)


def imbalance(cost: RoundCost, budget: Budget) -> float:
    """Positive where a round uses more of the energy than of the delay budget: the log of that ratio."""
    return math.log(cost.energy_j / budget.energy_j) - math.log(cost.delay_s / budget.delay_s)


class Objective(Protocol):
    """One of the objectives below."""

    @property
    def name(self) -> Literal["bound", "bound_ft"]:
        """Which bound ``value`` is."""
        ...

    def prices(self, stages: Stages, log_odds: float) -> Prices:
        """Both prices at ``log_odds``."""
        ...

    def lower_bound(self, stages: Stages, trial: Trial) -> float:
        """What the prices of ``trial`` prove."""
        ...

    def rounds(self, stages: Stages, trial: Trial) -> tuple[float, float]:
        """Real N and M within the budgets, made of the responses of ``trial``."""
        ...

    def value(self, stages: Stages, rounds: tuple[float, float], trial: Trial) -> float:
        """The bound of a design."""
        ...

    def residual(self, stages: Stages, trial: Trial) -> float:
        """Increasing in the log-odds, zero at the best."""
        ...

    def kink(self, stages: Stages, low: Trial, high: Trial) -> float | None:
        """Where the tangents at ``low`` and ``high`` meet, if different functions decide the lower bound there."""
        ...


@dataclass(frozen=True)
class FixedShare:
    """Phi with a given share N / (N + M); share 0 is fine-tuning alone."""

    share: float
    name: Literal["bound"] = "bound"

    def prices(self, stages: Stages, log_odds: float) -> Prices:
        """The prices sum to A over both budgets."""
        return Prices.of(log_odds, stages.problem.budget, stages.terms.start)

    def lower_bound(self, stages: Stages, trial: Trial) -> float:
        """The mean of h0 and h1."""
        return self.share * (stages.terms.shift + trial.server_price()) + (1.0 - self.share) * trial.devices.price

    def _mean_cost(self, trial: Trial) -> RoundCost:
        return RoundCost(
            self.share * trial.server.cost.delay_s + (1.0 - self.share) * trial.devices.cost.delay_s,
            self.share * trial.server.cost.energy_j + (1.0 - self.share) * trial.devices.cost.energy_j,
        )

    def rounds(self, stages: Stages, trial: Trial) -> tuple[float, float]:
        """As many rounds as the tighter budget allows."""
        total = affordable(self._mean_cost(trial), stages.problem.budget)
        return self.share * total, (1.0 - self.share) * total

    def value(self, stages: Stages, rounds: tuple[float, float], trial: Trial) -> float:
        """Phi."""
        return _phi(stages, rounds, trial)

    def residual(self, stages: Stages, trial: Trial) -> float:
        """How unevenly the mean round uses the budgets."""
        return imbalance(self._mean_cost(trial), stages.problem.budget)

    def kink(self, stages: Stages, low: Trial, high: Trial) -> float | None:
        """One smooth function."""
        return None


@dataclass(frozen=True)
class AllRounds:
    """Phi over both stages; its dual function is min(h0, h1)."""

    name: Literal["bound"] = "bound"

    def prices(self, stages: Stages, log_odds: float) -> Prices:
        """The prices sum to A over both budgets."""
        return Prices.of(log_odds, stages.problem.budget, stages.terms.start)

    def lower_bound(self, stages: Stages, trial: Trial) -> float:
        """The cheaper stage."""
        return min(stages.terms.shift + trial.server_price(), trial.devices.price)

    def rounds(self, stages: Stages, trial: Trial) -> tuple[float, float]:
        """The best vertex of {N, M >= 0, both budgets}: one stage alone, or both with both budgets tight."""
        budget, server, devices = stages.problem.budget, trial.server.cost, trial.devices.cost
        vertices = [(affordable(server, budget), 0.0), (0.0, affordable(devices, budget))]
        determinant = server.delay_s * devices.energy_j - server.energy_j * devices.delay_s
        if determinant != 0.0:
            pretraining = (budget.delay_s * devices.energy_j - budget.energy_j * devices.delay_s) / determinant
            finetuning = (budget.energy_j * server.delay_s - budget.delay_s * server.energy_j) / determinant
            if pretraining > 0.0 and finetuning > 0.0:
                vertices.append((pretraining, finetuning))
        return min(vertices, key=lambda rounds: self.value(stages, rounds, trial))

    def value(self, stages: Stages, rounds: tuple[float, float], trial: Trial) -> float:
        """Phi."""
        return _phi(stages, rounds, trial)

    def finetuning_decides(self, stages: Stages, trial: Trial) -> bool:
        """Whether h1 is the smaller one."""
        return trial.devices.price <= stages.terms.shift + trial.server_price()

    def residual(self, stages: Stages, trial: Trial) -> float:
        """How unevenly a round of the deciding stage uses the budgets."""
        decisive = trial.devices if self.finetuning_decides(stages, trial) else trial.server
        return imbalance(decisive.cost, stages.problem.budget)

    def kink(self, stages: Stages, low: Trial, high: Trial) -> float | None:
        """See `Objective`."""
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


@dataclass(frozen=True)
class FineTuned:
    """Phi_FT: the mean over the fine-tuning rounds, with a fitted effect of pre-training."""

    name: Literal["bound_ft"] = "bound_ft"

    def prices(self, stages: Stages, log_odds: float) -> Prices:
        """The prices whose sum over both budgets is s = C + min_N [B exp(-a N) + N h0'(s)]: Newton from above."""
        budget, terms = stages.problem.budget, stages.terms
        total = terms.removable + terms.floor
        for _ in range(_NEWTON_STEPS):
            prices = Prices.of(log_odds, budget, total)
            server = stages.server.respond(prices.ratio, prices.energy)
            price = server.price(prices.delay, prices.energy)
            rounds = self._pretraining(stages, price)
            left = terms.floor + terms.removable * math.exp(-terms.contraction * rounds) + rounds * price - total
            slope = rounds * (price - server.noise) / total - 1.0
            lower = total - left / slope
            if lower >= total * (1.0 - _ROUNDING):
                break
            total = lower
        return Prices.of(log_odds, budget, total)

    def _pretraining(self, stages: Stages, server_price: float) -> float:
        """N that minimises B exp(-a N) + N h0'."""
        pull = stages.terms.contraction * stages.terms.removable
        return math.log(pull / server_price) / stages.terms.contraction if pull > server_price else 0.0

    def lower_bound(self, stages: Stages, trial: Trial) -> float:
        """At these prices pre-training pays for itself, so h1."""
        return trial.devices.price

    def rounds(self, stages: Stages, trial: Trial) -> tuple[float, float]:
        """N as priced, and as many M as the tighter budget has left."""
        pretraining = self._pretraining(stages, trial.server_price())
        return pretraining, max(0.0, min(self._left(stages, trial, pretraining)))

    def _left(self, stages: Stages, trial: Trial, pretraining: float) -> tuple[float, float]:
        """Fine-tuning rounds that delay and energy allow after ``pretraining`` rounds."""
        budget, server, devices = stages.problem.budget, trial.server.cost, trial.devices.cost
        return (
            (budget.delay_s - pretraining * server.delay_s) / devices.delay_s,
            (budget.energy_j - pretraining * server.energy_j) / devices.energy_j,
        )

    def value(self, stages: Stages, rounds: tuple[float, float], trial: Trial) -> float:
        """Phi_FT."""
        return stages.terms.bound_ft(*rounds, trial.server.plan.batch, trial.devices.plan.batch)

    def residual(self, stages: Stages, trial: Trial) -> float:
        """How unevenly the fine-tuning rounds use what pre-training left of the budgets."""
        by_delay, by_energy = self._left(stages, trial, self._pretraining(stages, trial.server_price()))
        if by_delay <= 0.0:
            return -math.inf
        return math.inf if by_energy <= 0.0 else math.log(by_delay / by_energy)

    def kink(self, stages: Stages, low: Trial, high: Trial) -> float | None:
        """One smooth function."""
        return None


_NEWTON_STEPS = 200
_ROUNDING = 4e-16


def affordable(cost: RoundCost, budget: Budget) -> float:
    """How many rounds (real) at ``cost`` the tighter budget allows."""
    return min(budget.delay_s / cost.delay_s, budget.energy_j / cost.energy_j)


def _phi(stages: Stages, rounds: tuple[float, float], trial: Trial) -> float:
    return stages.terms.bound(*rounds, trial.server.plan.batch, trial.devices.plan.batch)
