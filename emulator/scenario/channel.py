"""The ``[channel]`` section: what happens to a signal between device and server."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from prefine.emulator.scenario.base import Count, NonNegative, Positive, Section
from prefine.emulator.units import SPEED_OF_LIGHT_M_S

Model = Literal["static", "rayleigh", "rician", "block", "trace"]
PathLossModel = Literal["macro", "log-distance", "uma", "umi"]
Mobility = Literal["fixed", "constant-velocity", "random-waypoint"]
OnEnd = Literal["wrap", "hold", "error"]
GainDb = Annotated[float, Field(ge=-400.0, le=200.0)]
Statistic = Literal["upload-time", "mean", "quantile"]

COHERENCE_CONSTANT = 0.423
"""Coherence time times Doppler: sqrt(9/(16 pi)), Rappaport (2002), Wireless Communications, equation 5.40.c."""

SLOWEST_M_S = 1e-6
"""Anything slower stands still on the time scale of a run."""


class ChannelSettings(Section):
    """Path loss x shadowing x fading, or a trace in their place. docs/channels.md says what each key does."""

    model: Model = "static"
    carrier_hz: Annotated[float, Field(ge=1e6, le=1e12)] = 2e9

    gain_db: GainDb | Annotated[tuple[GainDb, ...], Field(strict=False)] | None = None
    """Large-scale gain, one for all or one per device; replaces path loss and shadowing."""
    path_loss: PathLossModel = "macro"
    min_distance_m: Positive = 10.0
    path_loss_exponent: Annotated[float, Field(ge=1.0, le=10.0)] = 3.0
    reference_distance_m: Positive = 1.0
    reference_loss_db: Annotated[float, Field(ge=-200.0, le=400.0)] | None = None
    base_height_m: Positive | None = None
    device_height_m: Annotated[float, Field(ge=1.5, le=22.5)] = 1.5
    line_of_sight: Literal["random", "always", "never"] = "random"
    antenna_gain_db: Annotated[float, Field(ge=-200.0, le=200.0)] = 0.0

    shadowing_db: Annotated[float, Field(ge=0.0, le=100.0)] | Literal["model"] = 0.0
    shadowing_distance_m: Positive | Literal["model"] = 50.0

    speed_m_s: Annotated[float, Field(ge=0.0, le=1e5)] = 1.4
    mobility: Mobility = "fixed"
    area_radius_m: Positive = 500.0
    pause_s: NonNegative = 0.0

    rician_k_db: Annotated[float, Field(ge=-100.0, le=100.0)] | None = None
    sinusoids: Annotated[int, Field(ge=8, le=4096)] = 64
    steps_per_coherence_time: Count = 8
    step_s: Annotated[float, Field(ge=1e-9)] | None = None
    block_s: Annotated[float, Field(ge=1e-9)] | None = None

    trace: str | None = None
    on_end: OnEnd = "wrap"
    trace_start_s: NonNegative | Annotated[tuple[NonNegative, ...], Field(strict=False)] | Literal["spread"] = "spread"

    planning: Statistic = "upload-time"
    planning_quantile: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.5

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.model == "trace") != (self.trace is not None):
            raise ValueError('model = "trace" and trace = "FILE.csv" go together; one is here without the other')
        if 0.0 < self.speed_m_s < SLOWEST_M_S:
            raise ValueError(f"speed_m_s = {self.speed_m_s:g} must be 0 or at least {SLOWEST_M_S:g}")
        if self.model in ("rayleigh", "rician") and self.speed_m_s == 0.0:
            raise ValueError(f'model = "{self.model}" needs speed_m_s > 0 (nothing fades at rest); or model = "block"')
        if self.model == "block" and self.block_s is None and self.speed_m_s == 0.0:
            raise ValueError('model = "block" needs block_s, or speed_m_s > 0 to take the coherence time from')
        if self.mobility != "fixed" and self.speed_m_s == 0.0:
            raise ValueError(f'mobility = "{self.mobility}" needs speed_m_s > 0')
        if self.mobility != "fixed" and (self.gain_db is not None or self.model == "trace"):
            raise ValueError(f'mobility = "{self.mobility}" moves nothing where gain_db or a trace sets the gain')
        if self.path_loss in ("uma", "umi"):
            self._within_tr_38_901()
        elif "model" in (self.shadowing_db, self.shadowing_distance_m):
            raise ValueError('shadowing "model" needs path_loss = "uma" or "umi"; give a number of dB and of metres')
        return self

    def _within_tr_38_901(self) -> None:
        if not 0.5e9 <= self.carrier_hz <= 100e9:
            raise ValueError(f"carrier_hz = {self.carrier_hz:g} is outside TR 38.901: 0.5e9 to 100e9")
        if self.path_loss == "uma" and self.device_height_m > 13.0:
            raise ValueError(f"device_height_m = {self.device_height_m:g} is above what uma supports here: 1.5 to 13")

    @property
    def doppler_hz(self) -> float:
        """Largest Doppler shift f_d = v f_c / c."""
        return self.speed_m_s * self.carrier_hz / SPEED_OF_LIGHT_M_S

    @property
    def coherence_time_s(self) -> float:
        """0.423 / f_d; ``inf`` at rest."""
        return COHERENCE_CONSTANT / self.doppler_hz if self.doppler_hz > 0.0 else float("inf")
