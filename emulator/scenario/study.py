"""``[budget]``, ``[learning]`` and ``[compare]``: what a run may use, what a plan knows, what a comparison runs."""

import math
from typing import Literal

from pydantic import Field, field_validator

from prefine.emulator.section import Count, Finite, NonNegative, Positive, Section, Spread, draw
from prefine.emulator.types import Budget, Constants, Learning, Workload

Estimate = Literal["estimate"]


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


class LearningSettings(Section):
    """The constants of the bound; ``"estimate"`` measures one on the actual data and model (docs/learning.md)."""

    smoothness: Positive | Estimate = "estimate"
    initial_gap: Positive | Estimate = "estimate"
    discrepancy: NonNegative | Estimate = "estimate"
    server_variance: NonNegative | Estimate = "estimate"
    device_variance: Spread | Estimate = "estimate"
    pretrain_contraction: Positive | Estimate = "estimate"
    pretrain_floor: NonNegative | Estimate = "estimate"

    def constants(self, workload: Workload, devices: int, seed: int) -> Constants:
        """The numbers given, and those of ``workload`` for what is to be measured; ``seed`` draws a range.

        Raises InputError where a list has not one variance for each of ``devices`` devices.
        """
        given = {name: value for name, value in self.model_dump().items() if value != "estimate"}
        if not isinstance(self.device_variance, str):
            drawn = draw(self.device_variance, "learning.device_variance", devices, seed)
            given["device_variance"] = tuple(drawn.tolist())
        if len(given) < len(type(self).model_fields):
            return workload.constants()._replace(**given)
        return Constants(learning_rate=1.0 / given["smoothness"], **given)


def learning(constants: Constants, learning_rate: float) -> Learning:
    """The constants of the bound as policies see them; one that nobody knows (NaN) is None."""
    return Learning(
        smoothness=constants.smoothness,
        learning_rate=learning_rate,
        initial_gap=constants.initial_gap,
        discrepancy=constants.discrepancy,
        pretrain_contraction=_known(constants.pretrain_contraction),
        pretrain_floor=_known(constants.pretrain_floor),
    )


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


class CompareSettings(Section):
    """What ``prefine compare`` does when the command line does not say.

    Differences are taken to ``reference``; rounds are evaluated every ``evaluate_every``. ``targets`` are test
    accuracies; tables say when each run reached them and what it had spent (docs/tables.md, "Targets").
    """

    policies: tuple[str, ...] = Field(
        default=("joint-ft", "joint", "finetune-only", "pretrain-only", "separate", "uniform"), min_length=1
    )
    reference: str = "finetune-only"
    seeds: Count = 5
    evaluate_every: Count = 1
    targets: tuple[Finite, ...] = ()

    @field_validator("targets")
    @classmethod
    def _each_once(cls, targets: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(targets)) < len(targets):
            raise ValueError("must not name an accuracy twice")
        return targets
