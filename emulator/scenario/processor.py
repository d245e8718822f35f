"""The ``[processor]`` section: what the devices' processors really do with the frequency a plan asks for."""

from itertools import pairwise
from typing import Annotated, Self

from pydantic import Field, model_validator

from prefine.emulator.scenario.base import Finite, NonNegative, Positive, Section


class LoadSettings(Section):
    """Background work that steals ``stolen`` of the cycles, on and off for exponential times."""

    stolen: Annotated[float, Field(gt=0.0, lt=1.0)]
    mean_on_s: Positive
    mean_off_s: Positive


class HeatSettings(Section):
    """First-order heat: hot at ``throttle_c``, the processor is held to ``throttled_hz`` until down to ``resume_c``."""

    ambient_c: Finite = 25.0
    resistance_c_w: Positive
    time_constant_s: Positive
    throttle_c: Finite
    resume_c: Finite
    throttled_hz: Positive

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.ambient_c < self.resume_c < self.throttle_c:
            raise ValueError(
                f"must rise: ambient_c = {self.ambient_c:g}, resume_c = {self.resume_c:g}, "
                f"throttle_c = {self.throttle_c:g}"
            )
        return self


class ProcessorSettings(Section):
    """Without ``levels_hz`` any frequency can be had; with them, the next level up (the highest if there is none)."""

    levels_hz: tuple[Positive, ...] | None = None
    switching_latency_s: NonNegative = 0.0
    static_power_w: NonNegative = 0.0
    load: LoadSettings | None = None
    heat: HeatSettings | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.levels_hz is not None and (
            not self.levels_hz or any(low >= high for low, high in pairwise(self.levels_hz))
        ):
            raise ValueError("levels_hz must be ascending and not empty")
        if self.levels_hz is None and self.switching_latency_s > 0.0:
            raise ValueError("switching_latency_s needs levels_hz")
        return self
