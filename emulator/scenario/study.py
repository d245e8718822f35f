"""``[budget]`` and ``[compare]``: what a run may use, what a comparison runs."""

import math
from typing import Literal

from pydantic import Field, field_validator

from prefine.emulator.options import DeviceRows
from prefine.emulator.section import Count, Finite, NonNegative, Positive, Section
from prefine.emulator.types import Budget, EvaluatedWorkload, Plan, Workload

EVALUATED = 0.25
"""Evaluations' work for each unit of training work, where they are spaced by it."""

LEAST_LOOKS = 20
"""Evaluations of a run all the same: a curve, and a mean of gradients, of less would mislead."""


class BudgetSettings(Section):
    """What a whole run may use, both stages together.

    ``on_budget = "stop"`` ends a run at its budgets; ``"record"`` lets it overrun and says by how much.
    """

    delay_s: Positive
    energy_j: Positive
    on_budget: Literal["stop", "record"] = "stop"

    def build(self) -> Budget:
        """Both budgets as policies see them."""
        return Budget(self.delay_s, self.energy_j)


class GymSettings(Section):
    """``[gym]``: the scenario as an environment for learning to decide (docs/gym.md).

    ``base`` is the policy whose plan pre-trains and says what the server does. ``reward`` of a round is the ``"loss"``
    or the test ``"accuracy"`` gained, less what it used of the budgets at ``delay_price`` and ``energy_price``, the
    prices of a whole budget.
    """

    base: str = "joint-ft"
    reward: Literal["loss", "accuracy"] = "loss"
    delay_price: NonNegative = 0.0
    energy_price: NonNegative = 0.0


class CompareSettings(Section):
    """What ``prefine compare`` does when the command line does not say.

    Differences are taken to ``reference``; rounds are evaluated every ``evaluate_every``, or as seldom as `spacing`
    says. ``targets`` are test accuracies; tables say when each run reached them and what it had spent (docs/tables.md,
    "Targets"). ``devices`` says whose rounds are kept one by one.
    """

    policies: tuple[str, ...] = Field(
        default=("joint-ft", "joint", "finetune-only", "pretrain-only", "separate", "uniform"), min_length=1
    )
    reference: str = "finetune-only"
    seeds: Count = 5
    evaluate_every: Count | Literal["auto"] = 1
    targets: tuple[Finite, ...] = ()
    devices: DeviceRows = "all"

    @field_validator("targets")
    @classmethod
    def _each_once(cls, targets: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(targets)) < len(targets):
            raise ValueError("must not name an accuracy twice")
        return targets

    def spacing(self, plan: Plan, workload: Workload) -> int:
        """Rounds from one evaluation to the next, evenly spaced so that means over evaluated rounds favour no stage.

        ``"auto"``: evaluations take `EVALUATED` of the plan's work at most, but there are `LEAST_LOOKS` in any case.
        """
        rounds = plan.pretrain_rounds + plan.finetune_rounds
        if self.evaluate_every != "auto":
            return self.evaluate_every
        samples = plan.pretrain_rounds * plan.server.batch
        samples += plan.finetune_rounds * workload.cost.local_steps * float(plan.devices.batch.sum())
        look = workload.evaluation_samples if isinstance(workload, EvaluatedWorkload) else 0.0
        cheap = math.ceil(rounds * look / (EVALUATED * samples)) if rounds else 1
        return max(1, min(cheap, rounds // LEAST_LOOKS))
