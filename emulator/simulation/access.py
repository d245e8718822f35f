"""Multiple access: how the uplink band is shared among the devices that are sending.

A discipline answers each coming and going with the bandwidths that change, in Hz, and until when its answer holds.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple, Protocol

from prefine.emulator.types import FloatArray


class Shares(NamedTuple):
    """The bandwidths that change now, by device, and when the discipline wants to be asked again."""

    bandwidth_hz: Mapping[int, float]
    until_s: float = math.inf


class Discipline(Protocol):
    """Shares the band. ``sending`` is in order of arrival; ``joined`` is who has just come, ``None`` if nobody."""

    def share(self, sending: Collection[int], joined: int | None, now_s: float) -> Shares:
        """What changes from ``now_s`` on."""
        ...


@dataclass(frozen=True)
class Fdma:
    """Every device keeps its own band, whoever else sends: the planner's model."""

    own_hz: FloatArray

    def share(self, sending: Collection[int], joined: int | None, now_s: float) -> Shares:
        """Only a newcomer's band changes."""
        return Shares({} if joined is None else {joined: float(self.own_hz[joined])})


@dataclass(frozen=True)
class Ofdma:
    """The whole band, always, among those still sending, in proportion to their own bands."""

    own_hz: FloatArray

    def share(self, sending: Collection[int], joined: int | None, now_s: float) -> Shares:
        """Everybody's band changes whenever somebody comes or goes."""
        scale = float(self.own_hz.sum()) / math.fsum(float(self.own_hz[device]) for device in sending)
        return Shares({device: scale * float(self.own_hz[device]) for device in sending})


@dataclass(frozen=True)
class Tdma:
    """One device at a time on the whole band, in slots of ``slot_s`` that go round among those sending.

    An infinite slot is first come, first served, each to its end.
    """

    own_hz: FloatArray
    slot_s: float = math.inf

    def share(self, sending: Collection[int], joined: int | None, now_s: float) -> Shares:
        """The whole band for whoever's slot it is, nothing for the others."""
        slot = self._slot(now_s)
        turn = next(islice(sending, slot % len(sending), None))
        total_hz = float(self.own_hz.sum())
        return Shares({device: total_hz * (device == turn) for device in sending}, (slot + 1) * self.slot_s)

    def _slot(self, now_s: float) -> int:
        if math.isinf(self.slot_s):
            return 0
        slot = math.floor(now_s / self.slot_s)
        return slot + 1 if (slot + 1) * self.slot_s <= now_s else slot
