"""The ``[channel]`` section: what happens to a signal between device and server, whatever its model.

docs/channels.md says what each key does. The keys are the same for all models, so that models can be swept; each model
is a class of its own (`prefine.emulator.channel.models`).
"""

import math
from abc import abstractmethod
from collections.abc import Callable
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from prefine.emulator.channel.base import Channel, Grid, Process, StaticChannel
from prefine.emulator.channel.largescale import (
    NO_SHADOWING,
    ConstantField,
    GaussianField,
    LargeScale,
    ScalarField,
    Shadowing,
)
from prefine.emulator.channel.mobility import ConstantVelocity, Fixed, Mobility, RandomWaypoint, Site
from prefine.emulator.channel.pathloss import (
    MACRO,
    LogDistance,
    PathLoss,
    UrbanMacro,
    UrbanMicro,
    free_space_loss_db,
)
from prefine.emulator.channel.sampled import CHUNK, SampledChannel
from prefine.emulator.errors import InputError
from prefine.emulator.randomness import stream
from prefine.emulator.section import Count, NonNegative, Positive, Section
from prefine.emulator.types import FloatArray
from prefine.emulator.units import SPEED_OF_LIGHT_M_S

GainDb = Annotated[float, Field(ge=-400.0, le=200.0)]
Statistic = Literal["upload-time", "mean", "quantile"]

COHERENCE_CONSTANT = 0.423
"""Coherence time times Doppler: sqrt(9/(16 pi)), Rappaport (2002), Wireless Communications, equation 5.40.c."""

SLOWEST_M_S = 1e-6
"""Anything slower stands still on the time scale of a run."""

SIGHT_CORRELATION_M = 50.0
"""TR 38.901 table 7.6.3.1-2: correlation distance of the line-of-sight state, UMa and UMi."""

LARGEST_MOVE_M = 10.0
MOVES_PER_CORRELATION = 16
"""Large-scale gain is taken anew this often per correlation distance travelled, and per `LARGEST_MOVE_M`."""


class ChannelSection(Section):
    """Path loss x shadowing x fading, or a trace or a user's own class in their place."""

    model: str
    carrier_hz: Annotated[float, Field(ge=1e6, le=1e12)] = 2e9

    gain_db: GainDb | Annotated[tuple[GainDb, ...], Field(strict=False)] | None = None
    """Large-scale gain, one for all or one per device; replaces path loss and shadowing."""
    path_loss: Literal["macro", "log-distance", "uma", "umi"] = "macro"
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
    mobility: Literal["fixed", "constant-velocity", "random-waypoint"] = "fixed"
    area_radius_m: Positive = 500.0
    pause_s: NonNegative = 0.0

    rician_k_db: Annotated[float, Field(ge=-100.0, le=100.0)] | None = None
    sinusoids: Annotated[int, Field(ge=8, le=4096)] = 64
    steps_per_coherence_time: Count = 8
    step_s: Annotated[float, Field(ge=1e-9)] | None = None
    block_s: Annotated[float, Field(ge=1e-9)] | None = None

    trace: str | None = None
    on_end: Literal["wrap", "hold", "error"] = "wrap"
    trace_start_s: NonNegative | Annotated[tuple[NonNegative, ...], Field(strict=False)] | Literal["spread"] = "spread"

    parameters: dict[str, object] = Field(default_factory=dict)
    """Of a user's own class."""

    planning: Statistic = "upload-time"
    planning_quantile: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.5

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.model == "trace") != (self.trace is not None):
            raise ValueError('model = "trace" and trace = "FILE.csv" go together; one is here without the other')
        if 0.0 < self.speed_m_s < SLOWEST_M_S:
            raise ValueError(f"speed_m_s = {self.speed_m_s:g} must be 0 or at least {SLOWEST_M_S:g}")
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

    @abstractmethod
    def build(self, site: Site, seed: int) -> Channel:
        """The channel of the devices at ``site`` in the run with ``seed``.

        Raises InputError where section, devices and files do not fit together.
        """

    def horizon_s(self, site: Site, delay_s: float) -> FloatArray:
        """The stretch of time (K,) in seconds to take planning statistics over, in a run of ``delay_s``."""
        return np.full(len(site), delay_s)

    @property
    def doppler_hz(self) -> float:
        """Largest Doppler shift f_d = v f_c / c."""
        return self.speed_m_s * self.carrier_hz / SPEED_OF_LIGHT_M_S

    @property
    def coherence_time_s(self) -> float:
        """0.423 / f_d; ``inf`` at rest."""
        return COHERENCE_CONSTANT / self.doppler_hz if self.doppler_hz > 0.0 else float("inf")

    def per_device(self, key: str, devices: int) -> FloatArray:
        """The value of ``key``, one for all or one each, as (K,). Raises InputError where their number is wrong."""
        values = np.atleast_1d(np.asarray(getattr(self, key), dtype=np.float64))
        if len(values) not in (1, devices):
            raise InputError(
                f"channel.{key} has {len(values)} values, must have 1 or one for each of {devices} devices"
            )
        return np.broadcast_to(values, (devices,)).copy()

    def large_scale(self, site: Site) -> Process:
        """Path loss, shadowing and antenna gain of each device along its way; or the gains given for them.

        Raises InputError where the gains given and the devices differ in number.
        """
        if self.gain_db is not None:
            return StaticChannel(10.0 ** (self.per_device("gain_db", len(site)) / 10.0))
        if self.mobility == "fixed":
            return site.still(self, lambda: self._at_rest(site))
        return self._large_scale(site)

    def _large_scale(self, site: Site) -> LargeScale:
        path_loss = self._path_loss()
        return LargeScale(
            mobility=self._mobility(site),
            path_loss=path_loss,
            shadowing=self._shadowing(path_loss, site.layout_seed),
            sight=self._sight(site.layout_seed),
            antenna_gain_db=self.antenna_gain_db,
            min_distance_m=self.min_distance_m,
        )

    def _at_rest(self, site: Site) -> StaticChannel:
        process = self._large_scale(site)
        return StaticChannel(process.gain(site.position_m)) if process.is_plain else at_start(process, len(site))

    def allowed_move_m(self) -> float:
        """How far a device may move before its large-scale gain is taken anew."""
        distance_m = self.shadowing_distance_m
        return (
            min(LARGEST_MOVE_M, LARGEST_MOVE_M if isinstance(distance_m, str) else distance_m) / MOVES_PER_CORRELATION
        )

    def faded(self, slow: Process, fast: Process, step_s: float) -> SampledChannel:
        """The product of a large-scale process and a fading one, on steps of ``step_s``."""
        if self.mobility == "fixed":
            return SampledChannel(slow, fast, step_s, CHUNK)
        steps = max(self.allowed_move_m() / (self.speed_m_s * step_s), 1.0)
        return SampledChannel(slow, fast, step_s, int(2 ** min(math.floor(math.log2(steps)), int(math.log2(CHUNK)))))

    def _path_loss(self) -> PathLoss:
        reference_db = self.reference_loss_db
        if reference_db is None:
            reference_db = free_space_loss_db(self.reference_distance_m, self.carrier_hz)
        laws: dict[str, PathLoss] = {
            "macro": MACRO,
            "log-distance": LogDistance(reference_db, self.path_loss_exponent, self.reference_distance_m),
            "uma": UrbanMacro(self.carrier_hz, self.base_height_m or 25.0, self.device_height_m),
            "umi": UrbanMicro(self.carrier_hz, self.base_height_m or 10.0, self.device_height_m),
        }
        return laws[self.path_loss]

    def _mobility(self, site: Site) -> Mobility:
        position_m, speed_m_s, seed, numbers = site.position_m, self.speed_m_s, site.layout_seed, site.numbers
        ways: dict[str, Callable[[], Mobility]] = {
            "fixed": lambda: Fixed(position_m),
            "constant-velocity": lambda: ConstantVelocity(position_m, speed_m_s, seed, numbers),
            "random-waypoint": lambda: RandomWaypoint(
                position_m, speed_m_s, self.area_radius_m, self.pause_s, seed, numbers
            ),
        }
        return ways[self.mobility]()

    def _shadowing(self, path_loss: PathLoss, layout_seed: int) -> Shadowing:
        if self.shadowing_db == 0.0:
            return NO_SHADOWING
        deviation_db = _in_both_states(self.shadowing_db, path_loss.shadowing_db)
        distance_m = _in_both_states(self.shadowing_distance_m, path_loss.shadowing_distance_m)
        blocked, line = (
            GaussianField(d, stream(layout_seed, purpose))
            for d, purpose in zip(distance_m, ("shadowing blocked", "shadowing line"), strict=True)
        )
        return Shadowing(deviation_db, (blocked, line))

    def _sight(self, layout_seed: int) -> ScalarField:
        if self.line_of_sight == "never":
            return ConstantField(math.inf)
        if self.line_of_sight == "random" and self.path_loss in ("uma", "umi"):
            return GaussianField(SIGHT_CORRELATION_M, stream(layout_seed, "line of sight"))
        return ConstantField(-math.inf)


def at_start(process: Process, devices: int) -> StaticChannel:
    """The values of ``process`` at time 0, for good."""
    if isinstance(process, StaticChannel):
        return process
    return StaticChannel(np.array([process.sample(k, Grid(0.0, 1.0, 1))[0] for k in range(devices)]))


def _in_both_states(value: float | str, of_model: tuple[float, float]) -> tuple[float, float]:
    """Values for places without and with line of sight: the path loss model's own where ``value`` is "model"."""
    return of_model if isinstance(value, str) else (value, value)
