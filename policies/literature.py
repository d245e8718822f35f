"""Resource allocation from the literature, which takes batches and rounds as given and minimises delay or energy."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

from prefine.emulator.bound import Prediction, predict
from prefine.emulator.errors import InfeasibleError
from prefine.emulator.types import Plan, Problem, ServerPlan
from prefine.policies.baselines import Uniform, fill_rounds, pin_batches, with_batch
from prefine.policies.feasibility import (
    require_at_least,
    require_fraction,
    require_one_of,
    require_positive,
    require_reachable,
    shortfall,
)
from prefine.policies.root import IncreasingRoot
from prefine.policies.rounding import SLIVER
from prefine.policies.subproblems import Stages

_RATIO_RANGE = 60.0
"""How far the log of a second's worth may lie from the budgets' ratio: wider only costs a few more evaluations."""

_STEPS = 80
"""Evaluations at most; the bracket halves at least every third, so more would only repeat the last digits."""

_CLOSE = 1e-10
"""Part of the budget that may stay unused: larger stops sooner, smaller uses the last digits."""


@dataclass(frozen=True)
class MinDelay:
    """The least delay for given rounds and batches under the energy budget.

    Source: Yang et al., "Energy Efficient Federated Learning Over Wireless Communication Networks", IEEE TWC 2021
    (arXiv 1911.02417), its completion-time problem. There the accuracy fixes the rounds; here ``rounds`` does, of
    which ``share`` are pre-training, or with ``rounds`` = 0 the plan of `uniform` with this batch and share.
    """

    uses_constants: ClassVar[bool] = False

    batch: int = 32
    share: float = 0.5
    rounds: int = 0

    def __post_init__(self) -> None:
        _check("min-delay", self.batch, self.share, self.rounds)

    def plan(self, problem: Problem) -> Plan:
        """Frequencies and powers at which the rounds just use up the energy budget, or full speed.

        Raises InfeasibleError where the rounds do not fit both budgets.
        """
        energy_j = problem.budget.energy_j * (1.0 - SLIVER)
        given = _Given.of(problem, self.batch, self.share, self.rounds)
        return given.search(lambda predicted: math.log(predicted.energy_j / energy_j), prefer_fast=True)


@dataclass(frozen=True)
class MinEnergy:
    """The least energy for given rounds and batches under the delay budget.

    Source: Yang et al. (arXiv 1911.02417), its energy problem; parameters as in `MinDelay`.
    """

    uses_constants: ClassVar[bool] = False

    batch: int = 32
    share: float = 0.5
    rounds: int = 0

    def __post_init__(self) -> None:
        _check("min-energy", self.batch, self.share, self.rounds)

    def plan(self, problem: Problem) -> Plan:
        """Frequencies and powers at which the rounds just use up the delay budget.

        Raises InfeasibleError where the rounds do not fit both budgets.
        """
        delay_s = problem.budget.delay_s * (1.0 - SLIVER)
        given = _Given.of(problem, self.batch, self.share, self.rounds)
        return given.search(lambda predicted: math.log(delay_s / predicted.delay_s), prefer_fast=False)


@dataclass(frozen=True)
class Fedl:
    """Energy plus ``kappa`` (J/s) times delay, minimised in every round for a given batch.

    Source: Tran et al., "Federated Learning over Wireless Networks: Optimization Model Design and Analysis", INFOCOM
    2019, and Dinh et al., IEEE/ACM TON 29(1), 2021 (FEDL). There devices share the uplink in time, here as the scenario
    says. ``phases``: "joint" is one barrier over computing and upload, "apart" minimises each of the two for itself, as
    the source does; under TDMA these are the same. As many rounds as both budgets allow, ``share`` of them
    pre-training.
    """

    uses_constants: ClassVar[bool] = False

    batch: int = 32
    share: float = 0.5
    kappa: float = 1.0
    phases: Literal["joint", "apart"] = "joint"

    def __post_init__(self) -> None:
        _check("fedl", self.batch, self.share, 0)
        require_positive("fedl", "kappa", self.kappa)
        require_one_of("fedl", "phases", self.phases, ("joint", "apart"))

    def plan(self, problem: Problem) -> Plan:
        """The plan. Raises InfeasibleError where not one round fits."""
        stages = Stages(with_batch(problem, self.batch))
        require_reachable(stages)
        devices = stages.apart(self.kappa) if self.phases == "apart" else stages.devices.solve(self.kappa, 1.0).plan
        server = ServerPlan(stages.problem.server.min_batch, stages.server.frequency(self.kappa))
        plan = fill_rounds(problem, self.share, server, devices)
        if plan is None:
            raise InfeasibleError(shortfall(stages))
        return plan


@dataclass(frozen=True)
class _Given:
    """Rounds and batches; what is left to choose is how many joules a second is worth."""

    stages: Stages
    pretrain_rounds: int
    finetune_rounds: int

    @staticmethod
    def of(problem: Problem, batch: int, share: float, rounds: int) -> "_Given":
        require_reachable(Stages(problem))
        if rounds == 0:
            like = Uniform(batch, share).plan(problem)
            stages = Stages(pin_batches(problem, like.server.batch, like.devices.batch))
            return _Given(stages, like.pretrain_rounds, like.finetune_rounds)
        stages = Stages(with_batch(problem, batch))
        pretraining = round(share * rounds)
        return _Given(stages, pretraining, rounds - pretraining)

    def at(self, log_ratio: float) -> tuple[Plan, Prediction]:
        """The rounds of least energy plus ratio times delay."""
        ratio = math.exp(log_ratio)
        server = ServerPlan(self.stages.problem.server.min_batch, self.stages.server.frequency(ratio))
        plan = Plan(self.pretrain_rounds, self.finetune_rounds, server, self.stages.devices.solve(ratio, 1.0).plan)
        return plan, predict(self.stages.problem, plan)

    def search(self, residual: Callable[[Prediction], float], *, prefer_fast: bool) -> Plan:
        """The plan where ``residual``, increasing in the ratio, vanishes; of what fits both budgets, the best."""
        budget = self.stages.problem.budget
        middle = math.log(budget.energy_j / budget.delay_s)
        root = IncreasingRoot(middle, middle - _RATIO_RANGE, middle + _RATIO_RANGE)
        best: tuple[float, Plan] | None = None
        for _ in range(_STEPS):
            log_ratio = root.next()
            plan, predicted = self.at(log_ratio)
            if predicted.delay_s <= budget.delay_s and predicted.energy_j <= budget.energy_j:
                goal = predicted.delay_s if prefer_fast else predicted.energy_j
                best = (goal, plan) if best is None or goal < best[0] else best
            value = residual(predicted)
            if root.exhausted or -_CLOSE < value <= 0.0:
                break
            root.update(log_ratio, value)
        if best is None:
            rounds = f"{self.pretrain_rounds} + {self.finetune_rounds} rounds"
            raise InfeasibleError(f"{rounds} of this batch do not fit; {shortfall(self.stages)}")
        return best[1]


def _check(policy: str, batch: int, share: float, rounds: int) -> None:
    require_at_least(policy, "batch", batch, 1)
    require_fraction(policy, "share", share)
    require_at_least(policy, "rounds", rounds, 0)
