"""What a server's fine-tuning is to it, with or without a barrier, and the books that both ways keep."""

from collections.abc import Generator
from typing import Any, NamedTuple, Protocol

import simpy

from prefine.emulator.device_table import Round
from prefine.emulator.records import DeviceRecord
from prefine.emulator.simulation.choices import Choices
from prefine.emulator.simulation.energy import EnergyAccount
from prefine.emulator.types import RoundDecision


class Updated(NamedTuple):
    """One server update: since when and since what energy it was under way, and how many arrivals it was made of."""

    start_s: float
    before_j: float
    participants: int


class Finetuning(Protocol):
    """Makes the server's updates of what devices send."""

    books: "Books"
    choices: Choices

    def update(self, decision: RoundDecision, number: int) -> Generator[simpy.Event, Any, Updated]:
        """Update ``number`` (from 1); what devices begin meanwhile is as ``decision`` says.

        Raises EnergyExhaustedError where the server's next activity would pass the budget.
        """
        ...

    def stop(self, cause: str) -> Generator[simpy.Event, Any, None]:
        """Call back who is at work, with ``cause`` as their outcome, and book what they did."""
        ...


class Books:
    """The records of a run's devices, an entry an update; on ``account``, what was spent on updates that were lost."""

    def __init__(self, account: EnergyAccount) -> None:
        self._account = account
        self.rounds: list[Round | list[DeviceRecord]] = []

    def add(self, records: list[DeviceRecord]) -> None:
        """Enter the records of an update, or of what was cut off."""
        self.rounds.append(records)
        for record in records:
            if record.outcome != "delivered":
                self._account.wasted_j += record.compute_energy_j + record.uplink_energy_j
