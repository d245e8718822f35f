"""Processors: which frequency one really gets, what it draws, and how long cycles take while it changes.

A computation runs in segments of constant speed. Segments end where background load, heat or the ladder changes the
speed; each is integrated exactly.
"""

import math
from itertools import pairwise
from typing import Annotated, NamedTuple, Protocol, Self

from pydantic import Field, model_validator

from prefine.emulator.randomness import stream
from prefine.emulator.section import NonNegative, Positive, Section
from prefine.emulator.simulation.availability import ExponentialOnOff, OnOff
from prefine.emulator.simulation.thermal import Heat, NoHeat, ThermalModel, ThermalState


class Load(Protocol):
    """Share of the cycles that other work steals, as a step function of time."""

    @property
    def can_steal(self) -> bool:
        """Whether it ever steals anything."""
        ...

    def share(self, device: int, time_s: float) -> tuple[float, float]:
        """Stolen share in [0, 1) at ``time_s``, and when it next changes (later than ``time_s``; ``inf``: never)."""
        ...


class NoLoad:
    """The processor has nothing else to do."""

    can_steal = False

    def share(self, device: int, time_s: float) -> tuple[float, float]:
        """No share, without a next change."""
        return 0.0, math.inf


class OnOffLoad:
    """Steals the share ``stolen`` of a device's cycles while ``process`` is on for that device, and none while off."""

    can_steal = True

    def __init__(self, process: OnOff, stolen: float) -> None:
        self._process = process
        self._stolen = stolen

    def share(self, device: int, time_s: float) -> tuple[float, float]:
        """``stolen`` or 0, until the process next changes."""
        on, until_s = self._process.at(device, time_s)
        return (self._stolen if on else 0.0), until_s


class BackgroundWork(Section):
    """``[processor.load]``: work that steals ``stolen`` of the cycles, on and off for exponential times."""

    stolen: Annotated[float, Field(gt=0.0, lt=1.0)]
    mean_on_s: Positive
    mean_off_s: Positive

    def in_run(self, seed: int) -> OnOffLoad:
        """The work as it comes and goes in the run with ``seed``; each device has its own stream."""
        process = ExponentialOnOff(self.mean_on_s, self.mean_off_s, lambda device: stream(seed, "load", device))
        return OnOffLoad(process, self.stolen)


class ProcessorModel(Section):
    """``[processor]``: what the devices' processors do with the frequency that a plan asks for.

    Without ``levels_hz`` any frequency can be had, which is the planner's model; with them, the next level up, and
    every change of level takes ``switching_latency_s``. ``static_power_w`` (leakage) is drawn while they are at work.
    """

    levels_hz: tuple[Positive, ...] | None = None
    switching_latency_s: NonNegative = 0.0
    static_power_w: NonNegative = 0.0
    load: BackgroundWork | None = None
    heat: Heat | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.levels_hz is not None and (
            not self.levels_hz or any(low >= high for low, high in pairwise(self.levels_hz))
        ):
            raise ValueError("levels_hz must be ascending and not empty")
        if self.levels_hz is None and self.switching_latency_s > 0.0:
            raise ValueError("switching_latency_s needs levels_hz")
        return self

    @property
    def is_plain(self) -> bool:
        """Whether a device gets the frequency it asks for at once and keeps it: then its computation is one segment."""
        return self == ProcessorModel(static_power_w=self.static_power_w)

    @property
    def thermal(self) -> ThermalModel:
        """``heat``, or a processor that is always cool."""
        return self.heat or NoHeat()

    def load_in_run(self, seed: int) -> Load:
        """The background work of the run with ``seed``, or none."""
        return NoLoad() if self.load is None else self.load.in_run(seed)

    def level(self, wanted_hz: float) -> float:
        """The lowest level that is at least ``wanted_hz`` (to a relative 1e-12), else the highest."""
        levels_hz = self.levels_hz or (wanted_hz,)
        return next((level for level in levels_hz if level >= wanted_hz * (1.0 - 1e-12)), levels_hz[-1])

    def switching_s(self, from_hz: float, to_hz: float) -> float:
        """Time lost in changing from one frequency to another."""
        return self.switching_latency_s if from_hz != to_hz else 0.0


class ProcessorState(NamedTuple):
    """Where one device's processor stands at ``time_s``: its level, its heat."""

    time_s: float
    frequency_hz: float
    thermal: ThermalState


class Segment(NamedTuple):
    """A stretch of constant speed: it lasts ``duration_s``, does ``cycles`` of our work and draws ``power_w``."""

    duration_s: float
    cycles: float
    power_w: float
    frequency_hz: float


class Processor:
    """The processor of one ``device``, with its ``capacitance`` in J/(cycle Hz^2) and the run's background ``load``."""

    def __init__(self, model: ProcessorModel, device: int, capacitance: float, load: Load) -> None:
        self._model = model
        self._thermal = model.thermal
        self._device = device
        self._capacitance = capacitance
        self._load = load

    def start(self, wanted_hz: float) -> ProcessorState:
        """At rest, cold, at the level of ``wanted_hz``."""
        return ProcessorState(0.0, self._model.level(wanted_hz), self._thermal.start())

    def rest(self, state: ProcessorState, now_s: float) -> ProcessorState:
        """The state after idling until ``now_s``: it cools."""
        thermal = self._thermal.advance(state.thermal, 0.0, now_s - state.time_s)
        return state._replace(time_s=now_s, thermal=thermal)

    def next_segment(self, state: ProcessorState, wanted_hz: float, left_cycles: float) -> Segment:
        """The stretch that begins now, to its natural end: done, load changes, throttling changes, or switched."""
        level_hz = self._model.level(self._thermal.limit(state.thermal, wanted_hz))
        switching_s = self._model.switching_s(state.frequency_hz, level_hz)
        if switching_s > 0.0:
            return Segment(switching_s, 0.0, self._model.static_power_w, level_hz)
        stolen, changes_s = self._load.share(self._device, state.time_s)
        speed_hz = level_hz * (1.0 - stolen)
        own_w = self._capacitance * speed_hz * level_hz**2
        dissipated_w = self._capacitance * level_hz**3 + self._model.static_power_w
        natural_s = left_cycles / speed_hz if speed_hz > 0.0 else math.inf
        until_s = min(changes_s - state.time_s, self._thermal.time_to_change(state.thermal, dissipated_w))
        if natural_s <= until_s:
            return Segment(natural_s, left_cycles, own_w + self._model.static_power_w, level_hz)
        return Segment(until_s, speed_hz * until_s, own_w + self._model.static_power_w, level_hz)

    def after(self, state: ProcessorState, segment: Segment, now_s: float) -> ProcessorState:
        """The state when ``segment``, begun in ``state``, has run until ``now_s``."""
        dissipated_w = self._model.static_power_w
        if segment.cycles > 0.0:
            dissipated_w += self._capacitance * segment.frequency_hz**3
        thermal = self._thermal.advance(state.thermal, dissipated_w, now_s - state.time_s)
        return ProcessorState(now_s, segment.frequency_hz, thermal)


class PlainProcessor(Processor):
    """A `Processor` that gives what is asked for at once, for good: idle, cool, without levels, always in one state."""

    def next_segment(self, state: ProcessorState, wanted_hz: float, left_cycles: float) -> Segment:
        """The whole computation."""
        own_w = self._capacitance * wanted_hz * wanted_hz**2
        return Segment(left_cycles / wanted_hz, left_cycles, own_w + self._model.static_power_w, wanted_hz)


def processor_of(model: ProcessorModel, device: int, capacitance: float, load: Load) -> Processor:
    """The processor of one ``device`` that is as simple as ``model`` and ``load`` allow."""
    plain = model.is_plain and not load.can_steal
    return (PlainProcessor if plain else Processor)(model, device, capacitance, load)
