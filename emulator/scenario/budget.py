"""The ``[budget]`` section: what a whole run may use."""

from typing import Literal

from prefine.emulator.scenario.base import Positive, Section


class BudgetSettings(Section):
    """``on_budget = "stop"`` ends a run at its budgets; ``"record"`` lets it overrun and says by how much."""

    delay_s: Positive
    energy_j: Positive
    on_budget: Literal["stop", "record"] = "stop"
