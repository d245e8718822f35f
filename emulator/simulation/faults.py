"""What goes wrong in the field, as the frozen parameters of a run; the defaults are a world without faults."""

import math
from dataclasses import dataclass

from prefine.emulator.simulation.onoff import AlwaysOn, OnOff


@dataclass(frozen=True)
class Outage:
    """An upload attempt at an SNR below ``threshold`` (linear) fails after ``attempt_s`` at full transmit power.

    It is tried again after ``backoff_s``, doubled each time, ``retries`` times at most. A threshold of 0 never fails.
    """

    threshold: float = 0.0
    attempt_s: float = 0.0
    backoff_s: float = 0.0
    retries: int = 0


@dataclass(frozen=True)
class Faults:
    """``round_deadline_s`` counts from the round's start; ``battery_j`` is what each device can spend in all.

    A round with fewer than ``min_participants`` available devices waits; one where fewer arrive updates nothing.
    """

    availability: OnOff = AlwaysOn()  # noqa: RUF009  # frozen and stateless
    outage: Outage = Outage()
    round_deadline_s: float = math.inf
    min_participants: int = 1
    battery_j: float = math.inf


NO_FAULTS = Faults()
