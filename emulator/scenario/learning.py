"""The ``[learning]`` section: the constants of the bound, as numbers or measured."""

from typing import Literal

from prefine.emulator.scenario.base import NonNegative, Positive, Section
from prefine.emulator.scenario.spread import Spread

Estimate = Literal["estimate"]


class LearningSettings(Section):
    """``"estimate"`` measures a constant by a pilot on the actual data and model (docs/learning.md)."""

    smoothness: Positive | Estimate = "estimate"
    initial_gap: Positive | Estimate = "estimate"
    discrepancy: NonNegative | Estimate = "estimate"
    server_variance: NonNegative | Estimate = "estimate"
    device_variance: Spread | Estimate = "estimate"
    pretrain_contraction: Positive | Estimate = "estimate"
    pretrain_floor: NonNegative | Estimate = "estimate"

    @property
    def needs_pilot(self) -> bool:
        """Whether anything is to be measured."""
        return any(value == "estimate" for value in self.model_dump().values())
