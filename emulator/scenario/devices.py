"""The ``[devices]`` section and the ``[[device]]`` list: who takes part, and with what hardware."""

from typing import Self

from pydantic import Field, model_validator

from prefine.emulator.scenario.base import Count, Positive, Section
from prefine.emulator.scenario.spread import Range, Spread


class DeviceSettings(Section):
    """One ``[[device]]``: what differs from ``[devices]``."""

    distance_m: Positive | None = None
    cycles_per_sample: Positive | None = None
    capacitance: Positive | None = None
    min_frequency_hz: Positive | None = None
    max_frequency_hz: Positive | None = None
    min_batch: int | None = Field(default=None, ge=1)
    max_batch: int | None = Field(default=None, ge=1)
    max_power_w: Positive | None = None


class DevicesSettings(Section):
    """Every quantity may be one number, a list with one number a device, or a range ``{low = , high = }``.

    Cycles per sample default to the network's operations divided by ``flops_per_cycle``.
    """

    count: Count | None = None
    distance_m: Spread = Range(low=50.0, high=500.0)
    cycles_per_sample: Spread | None = None
    flops_per_cycle: Positive = 4.0
    capacitance: Spread = 1e-28
    min_frequency_hz: Spread = 1e7
    max_frequency_hz: Spread = 2e9
    min_batch: int = Field(default=1, ge=1)
    max_batch: int = Field(default=256, ge=1)
    max_power_w: Spread = 0.2

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_batch > self.max_batch:
            raise ValueError(f"min_batch = {self.min_batch} is above max_batch = {self.max_batch}")
        return self
