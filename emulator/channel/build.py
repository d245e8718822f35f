"""Settings -> channel: large scale x fading, or a trace in their place."""

import math
from collections.abc import Mapping

import numpy as np
from pydantic import ValidationError

from prefine.emulator.channel.base import Channel, Grid, Process
from prefine.emulator.channel.fading import BlockFading, Rician
from prefine.emulator.channel.largescale import NO_SHADOWING, ConstantField, Field, LargeScale, Shadowing
from prefine.emulator.channel.mobility import ConstantVelocity, Fixed, Mobility, RandomWaypoint, place
from prefine.emulator.channel.pathloss import MACRO, LogDistance, UrbanMacro, UrbanMicro, free_space_loss_db
from prefine.emulator.channel.sampled import CHUNK, SampledChannel
from prefine.emulator.channel.shadowing import GaussianField
from prefine.emulator.channel.static import StaticChannel
from prefine.emulator.channel.trace import Trace, TraceChannel
from prefine.emulator.errors import InputError
from prefine.emulator.randomness import stream
from prefine.emulator.scenario.channel import ChannelSettings
from prefine.emulator.types import FloatArray
from prefine.emulator.units import from_db

DEFAULT_RICIAN_K_DB = 6.0
SIGHT_CORRELATION_M = 50.0
"""TR 38.901 table 7.6.3.1-2: correlation distance of the line-of-sight state, UMa and UMi."""
MOVES_PER_CORRELATION = 16
"""Large-scale gain is taken anew at least this often per correlation distance travelled."""


def build_channel(
    settings: ChannelSettings,
    location_m: FloatArray,
    *,
    seed: int,
    layout_seed: int,
    trace: Trace | None = None,
) -> Channel:
    """The channel of the K devices at ``location_m``: distances (K,) from the base station, or positions (K, 2).

    Where devices are and what stands in the way comes from ``layout_seed``, small-scale fading from ``seed``.
    Raises InputError where settings, devices and trace do not fit together.
    """
    devices = len(location_m)
    if settings.model == "trace":
        if trace is None:
            raise InputError(f"channel.trace = {settings.trace!r} was not read")
        return TraceChannel(trace, trace_starts(settings, trace, devices, layout_seed), settings.on_end)
    slow = _large_scale(settings, location_m, layout_seed)
    if settings.model == "static" and settings.mobility == "fixed":
        return StaticChannel(_at_start(slow, devices))
    step_s = sample_step_s(settings)
    if settings.mobility == "fixed":
        slow, hold = StaticChannel(_at_start(slow, devices)), CHUNK
    else:
        hold = _hold(settings, step_s)
    return SampledChannel(slow, _fading(settings, devices, seed), step_s, hold)


def settings_from(keys: Mapping[str, object]) -> ChannelSettings:
    """Settings from plain keys, as on a command line. Raises InputError with the first thing that is wrong."""
    try:
        return ChannelSettings.model_validate(dict(keys))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(["channel", *(str(part) for part in first["loc"][:1])])
        raise InputError(f"{place}: {first['msg'].removeprefix('Value error, ')}") from None


def sample_step_s(settings: ChannelSettings) -> float:
    """How long a gain is held: ``step_s`` if given, a block, or a fraction of the coherence time."""
    if settings.step_s is not None:
        return settings.step_s
    if settings.model == "block":
        return _block_s(settings)
    if settings.model == "static":
        return _allowed_move_m(settings) / settings.speed_m_s
    return settings.coherence_time_s / settings.steps_per_coherence_time


def trace_starts(settings: ChannelSettings, trace: Trace, devices: int, layout_seed: int) -> FloatArray:
    """Where in its trace each device starts.

    ``spread``: the first device on a column at 0, each further one at a random place of it; all at 0 where the trace
    does not start over, for there a late start would only bring the end nearer.
    """
    start = settings.trace_start_s
    if start == "spread" and settings.on_end != "wrap":
        return np.zeros(devices)
    if start == "spread":
        return np.array([_spread(trace, k, layout_seed) for k in range(devices)])
    return _per_device(start, devices, "trace_start_s")


def _spread(trace: Trace, device: int, layout_seed: int) -> float:
    end_s = trace.end_s[device % len(trace)]
    if device < len(trace) or math.isinf(end_s):
        return 0.0
    return end_s * stream(layout_seed, "trace start", device).random()


def _per_device(value: float | tuple[float, ...], devices: int, key: str) -> FloatArray:
    values = np.atleast_1d(np.asarray(value, dtype=np.float64))
    if len(values) not in (1, devices):
        raise InputError(f"channel.{key} has {len(values)} values, must have 1 or one for each of {devices} devices")
    return np.broadcast_to(values, (devices,)).copy()


def _at_start(process: Process, devices: int) -> FloatArray:
    return np.array([process.sample(k, Grid(0.0, 1.0, 1))[0] for k in range(devices)])


def _large_scale(settings: ChannelSettings, location_m: FloatArray, layout_seed: int) -> Process:
    if settings.gain_db is not None:
        gain_db = _per_device(settings.gain_db, len(location_m), "gain_db")
        return StaticChannel(10.0 ** (gain_db / 10.0))
    position_m = place(location_m, layout_seed) if location_m.ndim == 1 else location_m
    path_loss = _path_loss(settings)
    return LargeScale(
        mobility=_mobility(settings, position_m, layout_seed),
        path_loss=path_loss,
        shadowing=_shadowing(settings, path_loss, layout_seed),
        sight=_sight(settings, layout_seed),
        antenna_gain_db=settings.antenna_gain_db,
        min_distance_m=settings.min_distance_m,
    )


def _path_loss(settings: ChannelSettings) -> LogDistance | UrbanMacro | UrbanMicro:
    if settings.path_loss == "macro":
        return MACRO
    if settings.path_loss == "uma":
        return UrbanMacro(settings.carrier_hz, settings.base_height_m or 25.0, settings.device_height_m)
    if settings.path_loss == "umi":
        return UrbanMicro(settings.carrier_hz, settings.base_height_m or 10.0, settings.device_height_m)
    reference_m, reference_db = settings.reference_distance_m, settings.reference_loss_db
    if reference_db is None:
        reference_db = free_space_loss_db(reference_m, settings.carrier_hz)
    return LogDistance(reference_db, settings.path_loss_exponent, reference_m)


def _mobility(settings: ChannelSettings, position_m: FloatArray, layout_seed: int) -> Mobility:
    if settings.mobility == "constant-velocity":
        return ConstantVelocity(position_m, settings.speed_m_s, layout_seed)
    if settings.mobility == "random-waypoint":
        return RandomWaypoint(position_m, settings.speed_m_s, settings.area_radius_m, settings.pause_s, layout_seed)
    return Fixed(position_m)


def _shadowing(
    settings: ChannelSettings, path_loss: LogDistance | UrbanMacro | UrbanMicro, layout_seed: int
) -> Shadowing:
    if settings.shadowing_db == 0.0:
        return NO_SHADOWING
    deviation_db = _both(settings.shadowing_db, getattr(path_loss, "SHADOWING_DB", None))
    distance_m = _both(settings.shadowing_distance_m, getattr(path_loss, "SHADOWING_DISTANCE_M", None))
    blocked, line = (
        GaussianField(d, stream(layout_seed, purpose))
        for d, purpose in zip(distance_m, ("shadowing blocked", "shadowing line"), strict=True)
    )
    return Shadowing(deviation_db, (blocked, line))


def _both(value: float | str, of_model: tuple[float, float] | None) -> tuple[float, float]:
    """Values for places without and with line of sight; "model" was only accepted where ``of_model`` has them."""
    if isinstance(value, str):
        return of_model or (0.0, 0.0)
    return (value, value)


def _sight(settings: ChannelSettings, layout_seed: int) -> Field:
    if settings.line_of_sight == "always":
        return ConstantField(-math.inf)
    if settings.line_of_sight == "never":
        return ConstantField(math.inf)
    if settings.path_loss in ("uma", "umi"):
        return GaussianField(SIGHT_CORRELATION_M, stream(layout_seed, "line of sight"))
    return ConstantField(-math.inf)


def _fading(settings: ChannelSettings, devices: int, seed: int) -> Process:
    k_db = settings.rician_k_db
    if settings.model == "block":
        return BlockFading(devices, _block_s(settings), seed, 0.0 if k_db is None else from_db(k_db))
    if settings.model == "rayleigh":
        return Rician(devices, settings.doppler_hz, seed, 0.0, settings.sinusoids)
    if settings.model == "rician":
        k_factor = from_db(DEFAULT_RICIAN_K_DB if k_db is None else k_db)
        return Rician(devices, settings.doppler_hz, seed, k_factor, settings.sinusoids)
    return StaticChannel(np.ones(devices))


def _block_s(settings: ChannelSettings) -> float:
    return settings.coherence_time_s if settings.block_s is None else settings.block_s


def _hold(settings: ChannelSettings, step_s: float) -> int:
    """Steps, a power of two up to a chunk, over which a moving device's large-scale gain is kept."""
    steps = max(_allowed_move_m(settings) / (settings.speed_m_s * step_s), 1.0)
    return int(2 ** min(math.floor(math.log2(steps)), int(math.log2(CHUNK))))


def _allowed_move_m(settings: ChannelSettings) -> float:
    distance_m = settings.shadowing_distance_m
    return min(10.0, 10.0 if isinstance(distance_m, str) else distance_m) / MOVES_PER_CORRELATION
