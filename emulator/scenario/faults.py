"""The ``[faults]`` section: what goes wrong in the field. Everything is off unless its keys are there."""

from typing import Self

from pydantic import Field, model_validator

from prefine.emulator.scenario.base import Count, Finite, NonNegative, Positive, Section


class DropoutSettings(Section):
    """Devices leave and return after exponential times of these means."""

    mean_up_s: Positive
    mean_down_s: Positive


class OutageSettings(Section):
    """Upload attempts below ``snr_threshold_db`` fail after ``attempt_s``; the next comes after a doubling back-off."""

    snr_threshold_db: Finite
    attempt_s: NonNegative = 0.001
    backoff_s: Positive = 0.01
    retries: int = Field(default=5, ge=0)


class FaultsSettings(Section):
    """``availability`` is a CSV ``time_s,device,available`` (1 or 0), in place of ``dropout``.

    ``battery_j`` is what each device can spend in all; it then leaves for good.
    """

    dropout: DropoutSettings | None = None
    availability: str | None = None
    outage: OutageSettings | None = None
    round_deadline_s: Positive | None = None
    min_participants: Count = 1
    battery_j: Positive | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.dropout is not None and self.availability is not None:
            raise ValueError("dropout and availability exclude each other")
        return self
