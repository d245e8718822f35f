"""What the joint design is compared with: parts of it fixed, one stage alone, no design at all."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from prefine.emulator.bound import device_round, mean_round, predict, server_round
from prefine.emulator.errors import InfeasibleError, InputError
from prefine.emulator.types import Budget, DevicesPlan, FloatArray, Plan, Problem, ServerPlan
from prefine.policies.effort import Effort
from prefine.policies.feasibility import require_at_least, require_fraction, require_whole_batches, shortfall
from prefine.policies.joint import design_all_rounds, design_share
from prefine.policies.rounding import SLIVER
from prefine.policies.subproblems import Stages, sending


@dataclass(frozen=True)
class PretrainOnly:
    """The best plan for Phi with M = 0: the device stage of the model is never trained."""

    def plan(self, problem: Problem) -> Plan:
        """The integer design with its certificate."""
        return design_share(Stages(problem), 1.0)


@dataclass(frozen=True)
class FinetuneOnly:
    """The best plan for Phi with N = 0: federated learning from scratch."""

    def plan(self, problem: Problem) -> Plan:
        """The integer design with its certificate."""
        return design_share(Stages(problem), 0.0)


@dataclass(frozen=True)
class Separate:
    """Each stage optimised alone: pre-training on ``share`` of both budgets, fine-tuning on the rest."""

    share: float = 0.5

    def __post_init__(self) -> None:
        require_fraction("separate", "share", self.share, open_ended=True)

    def plan(self, problem: Problem) -> Plan:
        """The two plans side by side; a stage that does not fit its part gets no rounds."""
        first = _or_none(lambda: PretrainOnly().plan(_with_part(problem, self.share)))
        second = _or_none(lambda: FinetuneOnly().plan(_with_part(problem, 1.0 - self.share)))
        if first is None and second is None:
            raise InfeasibleError(shortfall(Stages(problem)))
        pretraining, finetuning = first or second, second or first
        assert pretraining is not None  # noqa: S101 - one of the two is there
        assert finetuning is not None  # noqa: S101 - as above
        return Plan(
            first.pretrain_rounds if first else 0,
            second.finetune_rounds if second else 0,
            pretraining.server,
            finetuning.devices,
        )


@dataclass(frozen=True)
class FixedBatch:
    """The joint design for Phi with the same given ``batch`` everywhere (as far as the ranges allow)."""

    batch: int = 32

    def __post_init__(self) -> None:
        require_at_least("fixed-batch", "batch", self.batch, 1)

    def plan(self, problem: Problem) -> Plan:
        """The integer design with its certificate."""
        return design_all_rounds(Stages(with_batch(problem, self.batch)))


@dataclass(frozen=True)
class FixedShare:
    """The joint design for Phi with a given ``share`` N / (N + M)."""

    share: float = 0.5

    def __post_init__(self) -> None:
        require_fraction("fixed-share", "share", self.share)

    def plan(self, problem: Problem) -> Plan:
        """The integer design with its certificate."""
        return design_share(Stages(problem), self.share)


@dataclass(frozen=True)
class MaxPower:
    """The joint design for Phi where every device transmits at its maximum power."""

    def plan(self, problem: Problem) -> Plan:
        """The integer design with its certificate."""
        return design_all_rounds(Stages(problem, full_power=True))


@dataclass(frozen=True)
class MaxFrequency:
    """The joint design for Phi where server and devices run at their maximum frequency."""

    def plan(self, problem: Problem) -> Plan:
        """The integer design with its certificate."""
        server = replace(problem.server, min_frequency_hz=problem.server.max_frequency_hz)
        devices = replace(problem.devices, min_frequency_hz=problem.devices.max_frequency_hz)
        return design_all_rounds(Stages(replace(problem, server=server, devices=devices)))


@dataclass(frozen=True)
class Uniform:
    """No design: one batch for all, mid frequencies, full power, as many rounds as fit, ``share`` pre-training."""

    uses_constants: ClassVar[bool] = False

    batch: int = 32
    share: float = 0.5

    def __post_init__(self) -> None:
        require_at_least("uniform", "batch", self.batch, 1)
        require_fraction("uniform", "share", self.share)

    def plan(self, problem: Problem) -> Plan:
        """The plan; halves the batch until one round fits. Raises InfeasibleError where none does."""
        server, devices = problem.server, problem.devices
        batch = self.batch
        while True:
            sized = with_batch(problem, batch)
            plan = fill_rounds(
                problem,
                self.share,
                ServerPlan(sized.server.min_batch, 0.5 * (server.min_frequency_hz + server.max_frequency_hz)),
                sending(
                    problem,
                    sized.devices.min_batch,
                    0.5 * (devices.min_frequency_hz + devices.max_frequency_hz),
                    devices.max_power_w,
                ),
            )
            if plan is not None:
                return plan
            if batch == 1:
                raise InfeasibleError(shortfall(Stages(problem)))
            batch //= 2


@dataclass(frozen=True)
class Random:
    """A random plan that fits: share, batches, frequencies and powers drawn from their ranges (``seed``)."""

    uses_constants: ClassVar[bool] = False

    seed: int = 0

    def __post_init__(self) -> None:
        require_at_least("random", "seed", self.seed, 0)

    def plan(self, problem: Problem) -> Plan:
        """The first draw of which at least one round fits. Raises InfeasibleError after a thousand."""
        generator = np.random.default_rng(self.seed)
        server, devices = problem.server, problem.devices
        require_whole_batches(Stages(problem))
        for _ in range(_DRAWS):
            share = float(generator.random())
            (server_batch,) = _draw_batches(generator, np.array([server.min_batch]), np.array([server.max_batch]))
            batch = _draw_batches(generator, devices.min_batch, devices.max_batch)
            plan = fill_rounds(
                problem,
                share,
                ServerPlan(float(server_batch), generator.uniform(server.min_frequency_hz, server.max_frequency_hz)),
                sending(
                    problem,
                    batch,
                    generator.uniform(devices.min_frequency_hz, devices.max_frequency_hz),
                    np.maximum(
                        devices.max_power_w * generator.uniform(_LEAST_POWER, 1.0, len(devices)), devices.least_power_w
                    ),
                ),
            )
            if plan is not None:
                return plan
        raise InfeasibleError(f"random: no plan found in {_DRAWS} draws; {shortfall(Stages(problem))}")


_DRAWS = 1000
"""Draws before `Random` gives up: more find a plan in scarcer budgets, and take longer to say that there is none."""

_LEAST_POWER = 0.05
"""Least power drawn, as a share of the maximum: below it uploads take so long that hardly a draw fits."""


def _draw_batches(generator: np.random.Generator, least: FloatArray, most: FloatArray) -> FloatArray:
    """Whole batches, their logarithms uniform: small ones as likely as large ones."""
    low, high = np.ceil(least), np.floor(most)
    drawn: FloatArray = np.clip(np.floor(np.exp(generator.uniform(np.log(low), np.log(high + 1.0)))), low, high)
    return drawn


def _or_none(plan: Callable[[], Plan]) -> Plan | None:
    try:
        return plan()
    except InfeasibleError:
        return None


def _with_part(problem: Problem, share: float) -> Problem:
    """``problem`` with ``share`` of both budgets."""
    budget = problem.budget
    return replace(problem, budget=Budget(share * budget.delay_s, share * budget.energy_j))


def with_batch(problem: Problem, batch: int) -> Problem:
    """``problem`` with every batch pinned to ``batch``, or to the nearest that its range allows."""
    server, devices = problem.server, problem.devices
    one = min(max(float(batch), math.ceil(server.min_batch)), math.floor(server.max_batch))
    each = np.clip(np.full(len(devices), float(batch)), np.ceil(devices.min_batch), np.floor(devices.max_batch))
    if one < server.min_batch or np.any(each < devices.min_batch):
        raise InputError(f"batch = {batch}: some batch range contains no whole number")
    return pin_batches(problem, one, each)


def pin_batches(problem: Problem, server_batch: float, batch: FloatArray) -> Problem:
    """``problem`` with these batches and no others, ``batch`` (K,)."""
    return replace(
        problem,
        server=replace(problem.server, min_batch=server_batch, max_batch=server_batch),
        devices=replace(problem.devices, min_batch=batch, max_batch=batch),
    )


_FEWER_ROUNDS = 100
"""Numbers of rounds tried, each one less: from the mean cost of a round, two are enough where a round more counts."""


def fill_rounds(problem: Problem, share: float, server: ServerPlan, devices: DevicesPlan) -> Plan | None:
    """As many rounds as both budgets allow, N the nearest integer to ``share`` of them; None if not one fits."""
    pretraining = server_round(problem.server, server)
    finetuning = device_round(problem.devices, problem.radio, devices)
    budget = problem.budget
    total = math.ceil(mean_round(share, pretraining, finetuning).affordable(budget) * (1.0 - SLIVER)) + 1
    effort = Effort(_FEWER_ROUNDS, "rounds that fit")
    while total > 0:
        effort.spend()
        rounds = round(share * total)
        plan = Plan(rounds, total - rounds, server, devices)
        predicted = predict(problem, plan)
        if predicted.delay_s <= budget.delay_s and predicted.energy_j <= budget.energy_j:
            return plan
        total -= 1
    return None
