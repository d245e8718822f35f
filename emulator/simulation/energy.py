"""Where the energy went, and how much may still go: no activity starts whose energy the budget no longer holds."""

from typing import Literal

from prefine.emulator.charge import NO_CHARGE, Charge

Part = Literal["server", "compute", "uplink", "downlink"]

BUDGET_SLACK = 1e-9
"""Relative. A plan may be tight to the last digit, and a sum of many rounds rounds differently from a product."""


class EnergyExhaustedError(Exception):
    """The next activity would pass the energy budget; it is not started."""


class EnergyAccount:
    """Energy in joules by part.

    What is being spent right now is *held*, so that spent and held together stay in the budget. ``charge`` was spent
    before.
    """

    def __init__(self, budget_j: float, charge: Charge = NO_CHARGE) -> None:
        self._limit_j = budget_j * (1.0 + BUDGET_SLACK)
        self._held_j = 0.0
        self.spent_j: dict[Part, float] = {
            "server": charge.server_j,
            "compute": charge.compute_j,
            "uplink": charge.uplink_j,
            "downlink": charge.downlink_j,
        }
        self.wasted_j = 0.0

    @property
    def total_j(self) -> float:
        """Energy spent so far, all parts."""
        return sum(self.spent_j.values())

    def covers(self, energy_j: float) -> bool:
        """Whether ``energy_j`` more stays in the budget."""
        return self.total_j + self._held_j + energy_j <= self._limit_j

    def hold(self, energy_j: float) -> float:
        """Set ``energy_j`` aside for an activity about to start and return it.

        Raises EnergyExhaustedError where the budget does not cover it.
        """
        if not self.covers(energy_j):
            raise EnergyExhaustedError
        self._held_j += energy_j
        return energy_j

    def settle(self, part: Part, held_j: float, used_j: float) -> None:
        """Close an activity: release what was held for it and book what it used."""
        self._held_j -= held_j
        self.spent_j[part] += used_j
