"""The ``[server]`` section: the edge server's processor."""

from typing import Self

from pydantic import Field, model_validator

from prefine.emulator.scenario.base import Positive, Section


class ServerSettings(Section):
    """Cycles per sample default to the network's operations divided by ``flops_per_cycle``."""

    cycles_per_sample: Positive | None = None
    flops_per_cycle: Positive = 4.0
    capacitance: Positive = 1e-29
    min_frequency_hz: Positive = 1e8
    max_frequency_hz: Positive = 2e10
    min_batch: int = Field(default=1, ge=1)
    max_batch: int = Field(default=512, ge=1)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        for name in ("frequency_hz", "batch"):
            least, most = getattr(self, f"min_{name}"), getattr(self, f"max_{name}")
            if least > most:
                raise ValueError(f"min_{name} = {least:g} is above max_{name} = {most:g}")
        return self
