"""The models of ``[channel]``, one class each; `ChannelModel` is the section with the class of its ``model``.

To add a model: a class here or in a file of its own, and a line for it in `ChannelModel`.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import ConfigDict, RootModel, Tag, ValidationError, model_validator

from prefine.emulator.channel import powerlaw
from prefine.emulator.channel.base import Channel, Process, StaticChannel
from prefine.emulator.channel.fading import BlockFading, FadingSection, Rician
from prefine.emulator.channel.mobility import Site
from prefine.emulator.channel.plugin import OwnModel, is_own
from prefine.emulator.channel.section import ChannelSection, at_start
from prefine.emulator.channel.trace import Trace, TraceChannel
from prefine.emulator.complaints import complaint
from prefine.emulator.errors import InputError
from prefine.emulator.randomness import stream
from prefine.emulator.section import member
from prefine.emulator.types import FloatArray
from prefine.emulator.units import from_db

DEFAULT_RICIAN_K_DB = 6.0


class Static(ChannelSection):
    """No fading: the large-scale gain, which changes only where devices move."""

    model: Literal["static"] = "static"

    def build(self, site: Site, seed: int) -> Channel:
        """Constant gains, or the large-scale gain along each device's way."""
        slow = self.large_scale(site)
        if self.mobility == "fixed":
            return at_start(slow, len(site))
        step_s = self.step_s or self.allowed_move_m() / self.speed_m_s
        return self.faded(slow, StaticChannel(np.ones(len(site))), step_s)


class ClarkeSection(FadingSection):
    """Fading of Clarke's Doppler spectrum, at the speed of the section."""

    @model_validator(mode="after")
    def _moving(self) -> Self:
        if self.speed_m_s == 0.0:
            raise ValueError(f'model = "{self.model}" needs speed_m_s > 0 (nothing fades at rest); or model = "block"')
        return self

    @property
    def natural_step_s(self) -> float:
        """A fraction of the coherence time."""
        return self.coherence_time_s / self.steps_per_coherence_time

    @property
    def memory_s(self) -> float:
        """The coherence time, 0.423 / f_d."""
        return self.coherence_time_s


class Rayleigh(ClarkeSection):
    """No line of sight: |h|^2 is exponential."""

    model: Literal["rayleigh"] = "rayleigh"

    def fading(self, numbers: Sequence[int], seed: int) -> Process:
        """Clarke's scattered field alone: |h|^2 is exponential with mean 1."""
        return Rician(numbers, self.doppler_hz, seed, 0.0, self.sinusoids)

    def law(self, count: int) -> FloatArray:
        """Of the sum of ``sinusoids`` waves, nearly exponential."""
        return powerlaw.of_waves(count, self.sinusoids)


class RicianModel(ClarkeSection):
    """A constant wave beside the scattered ones, ``rician_k_db`` (6) stronger than they are together."""

    model: Literal["rician"] = "rician"

    def fading(self, numbers: Sequence[int], seed: int) -> Process:
        """Clarke's scattered field and the constant wave, together of mean power 1."""
        return Rician(numbers, self.doppler_hz, seed, self._k_factor, self.sinusoids)

    def law(self, count: int) -> FloatArray:
        """Of ``sinusoids`` waves beside the constant one."""
        return powerlaw.beside_a_line(powerlaw.of_waves(count, self.sinusoids), self._k_factor)

    @property
    def _k_factor(self) -> float:
        return from_db(DEFAULT_RICIAN_K_DB if self.rician_k_db is None else self.rician_k_db)


class Block(FadingSection):
    """Constant over blocks of ``block_s`` (the coherence time), independent from one to the next."""

    model: Literal["block"] = "block"

    @model_validator(mode="after")
    def _lasting(self) -> Self:
        if self.block_s is None and self.speed_m_s == 0.0:
            raise ValueError('model = "block" needs block_s, or speed_m_s > 0 to take the coherence time from')
        return self

    @property
    def natural_step_s(self) -> float:
        """The length of a block: the gain holds so long by itself."""
        return self.memory_s

    @property
    def memory_s(self) -> float:
        """``block_s``, or the coherence time."""
        return self.coherence_time_s if self.block_s is None else self.block_s

    def fading(self, numbers: Sequence[int], seed: int) -> Process:
        """Rayleigh, or Rician with ``rician_k_db``."""
        return BlockFading(numbers, self.memory_s, seed, self._k_factor)

    def law(self, count: int) -> FloatArray:
        """Exponential, or Rician with ``rician_k_db``."""
        return powerlaw.beside_a_line(powerlaw.gaussian(count), self._k_factor)

    @property
    def _k_factor(self) -> float:
        return 0.0 if self.rician_k_db is None else from_db(self.rician_k_db)


class Replay(ChannelSection):
    """The gains of a trace, as measured or recorded."""

    model: Literal["trace"] = "trace"

    def build(self, site: Site, seed: int) -> Channel:
        """Device k replays column k of the trace, whatever the run."""
        trace = self._trace(site)
        return TraceChannel(trace, self.starts_s(trace, site), self.on_end)

    def horizon_s(self, site: Site, delay_s: float) -> FloatArray:
        """The length of each device's trace."""
        trace = self._trace(site)
        return np.array([trace.end_s[k % len(trace)] for k in range(len(site))])

    def starts_s(self, trace: Trace, site: Site) -> FloatArray:
        """Where in its trace each device starts, (K,).

        ``spread``: the first device on a column at 0, each further one at a random place of it; all at 0 where the
        trace does not start over, for there a late start would only bring the end nearer.
        """
        if self.trace_start_s != "spread":
            return self.per_device("trace_start_s", len(site))
        if self.on_end != "wrap":
            return np.zeros(len(site))
        return np.array([_spread_s(trace, k, site.layout_seed) for k in range(len(site))])

    def _trace(self, site: Site) -> Trace:
        return site.trace(self.trace or "")


def _spread_s(trace: Trace, device: int, layout_seed: int) -> float:
    end_s = trace.end_s[device % len(trace)]
    if device < len(trace) or math.isinf(end_s):
        return 0.0
    return end_s * stream(layout_seed, "trace start", device).random()


ChannelModel = Annotated[
    Annotated[Static, Tag("static")]
    | Annotated[Rayleigh, Tag("rayleigh")]
    | Annotated[RicianModel, Tag("rician")]
    | Annotated[Block, Tag("block")]
    | Annotated[Replay, Tag("trace")]
    | Annotated[OwnModel, Tag("file.py:Class")],
    member("model", "static", other=("file.py:Class", is_own)),
]
"""``[channel]``: the class of its model; `is_own` names a class of the user's."""


class _Table(RootModel[Any]):
    """A ``[channel]`` table on its own."""

    model_config = ConfigDict(defer_build=True)  # commands on traces alone need it

    root: ChannelModel


def channel_model(keys: Mapping[str, object]) -> ChannelModel:
    """The section with plain ``keys``, as on a command line. Raises InputError with the first thing that is wrong."""
    try:
        table = _Table.model_validate(dict(keys))
    except ValidationError as error:
        raise InputError(complaint(error, _Table, "channel")) from None
    return table.root
