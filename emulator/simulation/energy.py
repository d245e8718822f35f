"""Where the energy went, and how much may still go.

No activity starts whose energy is not there: not in the budget of the run, not in the battery of the device. The energy
of what is under way is *held*, so that spent and held together never pass either. An activity is a computation or
switch at one speed, an attempt, or a stretch of an upload at one bandwidth: to its end, or to the end of the slot.
"""

from collections.abc import Generator
from typing import Any, Literal

import simpy

from prefine.emulator.charge import NO_CHARGE, Charge

Part = Literal["server", "compute", "uplink", "downlink"]

BUDGET_SLACK = 1e-9
"""Relative. A plan may be tight to the last digit, and a sum of many rounds rounds differently from a product."""


class EnergyExhaustedError(Exception):
    """The next activity would pass the energy budget; it is not started."""


class BatteryEmptyError(Exception):
    """The battery does not hold the energy of the next activity; it is not started."""


class EnergyAccount:
    """The energy of a run in joules, by part, against its budget; ``charge`` was spent before the run."""

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
        return sum(self.spent_j.values()) + self._held_j + energy_j <= self._limit_j

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

    def transmit(self, env: simpy.Environment, held_j: float, duration_s: float) -> Generator[simpy.Event, Any, None]:
        """A download of ``duration_s`` that uses the energy held for it, at constant power.

        Raises simpy.Interrupt where it is interrupted, once what it used is booked.
        """
        start_s, used_j = env.now, held_j
        try:
            if duration_s > 0.0:
                yield env.timeout(duration_s)
        except simpy.Interrupt:
            used_j *= (env.now - start_s) / duration_s
            raise
        finally:
            self.settle("downlink", held_j, used_j)


class Battery:
    """One device's battery of ``capacity_j`` joules: what is held or spent here is so on the run's account as well."""

    def __init__(self, capacity_j: float, account: EnergyAccount) -> None:
        self._account = account
        self._left_j = capacity_j
        self._held_j = 0.0

    @property
    def left_j(self) -> float:
        """What is not spent; some of it may be held."""
        return self._left_j

    @property
    def is_empty(self) -> bool:
        """Whether nothing can begin any more."""
        return self._left_j <= 0.0

    def drain(self, energy_j: float) -> None:
        """Take out what is booked on the run's account elsewhere."""
        self._left_j -= energy_j

    def give_up(self) -> None:
        """Count as empty from now on: it could not power what came next."""
        self._left_j = 0.0

    def hold(self, energy_j: float) -> float:
        """Set ``energy_j`` aside for an activity about to start and return it.

        Raises BatteryEmptyError where the battery does not hold it, EnergyExhaustedError where the budget does not.
        """
        if energy_j > self._left_j - self._held_j:
            raise BatteryEmptyError
        held_j = self._account.hold(energy_j)
        self._held_j += held_j
        return held_j

    def settle(self, part: Part, held_j: float, used_j: float) -> None:
        """Close an activity: release what was held for it and book what it used."""
        self._account.settle(part, held_j, used_j)
        self._held_j -= held_j
        self._left_j -= used_j
