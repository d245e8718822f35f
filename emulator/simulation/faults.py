"""What goes wrong in the field. Everything is off unless its keys are there.

To add a fault: a section with what it needs to know, a key for it in `Faults`, and, where it acts before an upload, a
``before_upload`` as `Outage` has it.
"""

import math
from collections.abc import Callable, Generator
from typing import Any, Protocol, Self

import simpy
from pydantic import Field, model_validator

from prefine.emulator.randomness import stream
from prefine.emulator.section import Count, Decibel, NonNegative, Positive, Section
from prefine.emulator.simulation.availability import AlwaysOn, ExponentialOnOff, OnOff
from prefine.emulator.units import from_db

Passing = Generator[simpy.Event, Any, None]
"""What a device does while time passes; faults ``yield from`` it."""


class LostError(Exception):
    """A device's update is lost; the one argument is the outcome that its record shows."""


class Upload(Protocol):
    """An upload that is about to begin, as faults see it."""

    def snr(self) -> float:
        """Linear signal-to-noise ratio p g / (N0 W) now, in the device's own band."""
        ...

    def send_in_vain(self, duration_s: float) -> Passing:
        """Transmit for ``duration_s`` and deliver nothing; the energy is the device's upload energy."""
        ...

    def wait(self, duration_s: float) -> Passing:
        """Do nothing for ``duration_s``, at no energy."""
        ...


class UploadFault(Protocol):
    """What may happen between the end of a device's computation and its first bit."""

    def before_upload(self, upload: Upload) -> Passing:
        """Let time pass as the fault has it. Raises LostError where the upload never begins."""
        ...


class Dropout(Section):
    """``[faults.dropout]``: devices leave and return after exponential times of these means."""

    mean_up_s: Positive
    mean_down_s: Positive

    def in_run(self, seed: int) -> OnOff:
        """Who is there in the run with ``seed``; each device has its own stream."""
        return ExponentialOnOff(self.mean_up_s, self.mean_down_s, lambda device: stream(seed, "dropout", device))


class Outage(Section):
    """``[faults.outage]``: an upload attempt below ``snr_threshold_db`` fails after ``attempt_s`` at transmit power.

    It is tried again after ``backoff_s``, doubled each time, ``retries`` times at most.
    """

    snr_threshold_db: Decibel
    attempt_s: NonNegative = 0.001
    backoff_s: Positive = 0.01
    retries: int = Field(default=5, ge=0, le=1000)

    def before_upload(self, upload: Upload) -> Passing:
        """Try until the SNR is above the threshold. Raises LostError("outage") after the last retry."""
        threshold = from_db(self.snr_threshold_db)
        failures = 0
        while upload.snr() < threshold:
            yield from upload.send_in_vain(self.attempt_s)
            if failures == self.retries:
                raise LostError("outage")
            yield from upload.wait(self.backoff_s * 2.0**failures)
            failures += 1


class Faults(Section):
    """``[faults]``: what goes wrong in the field.

    ``round_deadline_s`` counts from a round's start; ``battery_j`` is what each device can spend in all.
    ``availability`` is a CSV file, in place of ``dropout``. A round with fewer than ``min_participants`` available
    devices waits; one where fewer arrive updates nothing.
    """

    dropout: Dropout | None = None
    availability: str | None = None
    outage: Outage | None = None
    round_deadline_s: Positive | None = None
    min_participants: Count = 1
    battery_j: Positive | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.dropout is not None and self.availability is not None:
            raise ValueError("dropout and availability exclude each other")
        return self

    @property
    def can_disturb(self) -> bool:
        """Whether a round that has begun may go otherwise than planned, though every battery lasts."""
        return self != Faults(min_participants=self.min_participants, battery_j=self.battery_j)

    @property
    def upload_faults(self) -> tuple[UploadFault, ...]:
        """What an upload may meet before it begins, in this order."""
        return tuple(fault for fault in (self.outage,) if fault is not None)

    @property
    def deadline_s(self) -> float:
        """``round_deadline_s`` in seconds; infinite where there is none."""
        return self.round_deadline_s or math.inf

    @property
    def capacity_j(self) -> float:
        """``battery_j`` in joules; infinite where there is none."""
        return self.battery_j or math.inf

    def presence(self, seed: int, devices: int, read: Callable[[str, int], OnOff]) -> OnOff:
        """When each of ``devices`` devices is there in the run with ``seed``.

        ``read`` reads the availability file of a name for so many devices; it raises InputError where it is wrong.
        """
        if self.availability is not None:
            return read(self.availability, devices)
        return AlwaysOn() if self.dropout is None else self.dropout.in_run(seed)
