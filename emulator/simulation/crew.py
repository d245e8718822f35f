"""Who is behind the K devices of a plan: always the same K, or in each round other clients of a population.

The clock, its records and the audit speak of places 0 to K - 1; a crew says who sat there, and with what hardware.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Protocol

import numpy as np

from prefine.emulator.types import Devices, IntArray


class Crew(Protocol):
    """Who sat in which place in which fine-tuning round; ``own`` are the devices (K,) that the plan was made for."""

    def hardware(self, own: Devices, rounds: IntArray, places: IntArray) -> tuple[Devices, IntArray]:
        """Devices, and where among them each of ``places`` (n,) in ``rounds`` (n,) is, (n,)."""
        ...

    def numbers(self, rounds: IntArray, places: IntArray) -> IntArray:
        """The number (n,) of who sat in each of ``places`` (n,) in ``rounds`` (n,)."""
        ...

    def everyone(self, own: Devices) -> IntArray:
        """The numbers of all that there were, rising."""
        ...


class Residents:
    """The K devices themselves."""

    def hardware(self, own: Devices, rounds: IntArray, places: IntArray) -> tuple[Devices, IntArray]:
        """The devices' own."""
        return own, places

    def numbers(self, rounds: IntArray, places: IntArray) -> IntArray:
        """The places'."""
        return places

    def everyone(self, own: Devices) -> IntArray:
        """0 to K - 1."""
        return np.arange(len(own))


class Seated(Protocol):
    """Has K places, and does as whoever sits in them."""

    def seat(self, clients: Sequence[int]) -> None:
        """From now on ``clients`` (K,) sit in the places."""
        ...


@dataclass
class Visitors:
    """Clients who come for a round, and those of all rounds so far; one run uses it up.

    ``draw`` gives the numbers (K,) of a round's clients, ``equip`` their hardware (K,). ``seats`` are told who comes.
    """

    draw: Callable[[int], Sequence[int]]
    equip: Callable[[Sequence[int]], Devices]
    seats: tuple[Seated, ...]
    _clients: list[Sequence[int]] = field(default_factory=list, init=False)
    _devices: list[Devices] = field(default_factory=list, init=False)

    def come(self, number: int) -> Devices:
        """Seat the clients of round ``number``; rounds are counted from 1, none is left out. Their hardware, (K,)."""
        clients = self.draw(number)
        for seat in self.seats:
            seat.seat(clients)
        self._clients.append(clients)
        self._devices.append(self.equip(clients))
        return self._devices[-1]

    def hardware(self, own: Devices, rounds: IntArray, places: IntArray) -> tuple[Devices, IntArray]:
        """See `Crew`: all rounds' devices, one round after the other."""
        every = self._devices or [own]
        columns: dict[str, Any] = {
            one.name: None
            if getattr(own, one.name) is None
            else np.concatenate([getattr(devices, one.name) for devices in every])
            for one in fields(Devices)
        }
        return Devices(**columns), (rounds - 1) * len(own) + places

    def numbers(self, rounds: IntArray, places: IntArray) -> IntArray:
        """See `Crew`."""
        return np.array(self._clients, dtype=np.int64)[rounds - 1, places] if len(rounds) else places

    def everyone(self, own: Devices) -> IntArray:
        """Of the rounds so far."""
        return np.unique(np.array(self._clients, dtype=np.int64))
