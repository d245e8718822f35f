"""``[budget]`` and ``[compare]``: what a run may use, what a comparison runs."""

from typing import Literal

from pydantic import Field, field_validator

from prefine.emulator.options import DeviceRows
from prefine.emulator.section import Count, Finite, NonNegative, Positive, Section
from prefine.emulator.types import Budget


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

    Differences are taken to ``reference``; rounds are evaluated every ``evaluate_every``. ``targets`` are test
    accuracies; tables say when each run reached them and what it had spent (docs/tables.md, "Targets"). ``devices``
    says whose rounds are kept one by one.
    """

    policies: tuple[str, ...] = Field(
        default=("joint-ft", "joint", "finetune-only", "pretrain-only", "separate", "uniform"), min_length=1
    )
    reference: str = "finetune-only"
    seeds: Count = 5
    evaluate_every: Count = 1
    targets: tuple[Finite, ...] = ()
    devices: DeviceRows = "all"

    @field_validator("targets")
    @classmethod
    def _each_once(cls, targets: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(targets)) < len(targets):
            raise ValueError("must not name an accuracy twice")
        return targets
