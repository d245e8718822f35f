"""Processors: which frequency one really gets, what it draws, and how long cycles take while it changes.

A computation runs in segments of constant speed. Segments end where background load, heat or the ladder changes the
speed; each is integrated exactly.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from prefine.emulator.simulation.thermal import COLD, Heat, ThermalState


class Ladder(Protocol):
    """The frequencies a processor can run at."""

    def level(self, wanted_hz: float) -> float:
        """The frequency it runs at when ``wanted_hz`` is asked for."""
        ...

    def switching_s(self, from_hz: float, to_hz: float) -> float:
        """Time lost in changing from one frequency to another."""
        ...


@dataclass(frozen=True)
class ContinuousLadder:
    """Any frequency, at once: the planner's model."""

    def level(self, wanted_hz: float) -> float:
        """As asked."""
        return wanted_hz

    def switching_s(self, from_hz: float, to_hz: float) -> float:
        """None."""
        return 0.0


@dataclass(frozen=True)
class DiscreteLadder:
    """Given levels in ascending order: the next level up, the highest if there is none."""

    levels_hz: tuple[float, ...]
    latency_s: float = 0.0

    def level(self, wanted_hz: float) -> float:
        """The lowest level that is at least ``wanted_hz`` (to a relative 1e-12), else the highest."""
        enough = (level for level in self.levels_hz if level >= wanted_hz * (1.0 - 1e-12))
        return next(enough, self.levels_hz[-1])

    def switching_s(self, from_hz: float, to_hz: float) -> float:
        """``latency_s`` for every change of level."""
        return self.latency_s if from_hz != to_hz else 0.0


class Load(Protocol):
    """Share of the cycles that other work steals, as a step function of time."""

    def share(self, device: int, time_s: float) -> tuple[float, float]:
        """Stolen share in [0, 1) at ``time_s``, and when it next changes."""
        ...


@dataclass(frozen=True)
class NoLoad:
    """The processor has nothing else to do."""

    def share(self, device: int, time_s: float) -> tuple[float, float]:
        """Nothing is stolen, ever."""
        return 0.0, math.inf


@dataclass(frozen=True)
class ProcessorModel:
    """What all devices' processors have in common; ``static_power_w`` (leakage) is drawn while they are at work."""

    ladder: Ladder = ContinuousLadder()
    load: Load = NoLoad()
    heat: Heat = COLD
    static_power_w: float = 0.0


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


@dataclass(frozen=True)
class Processor:
    """The processor of one device."""

    model: ProcessorModel
    device: int
    capacitance: float

    def start(self, wanted_hz: float) -> ProcessorState:
        """At rest, cold, at the level of ``wanted_hz``."""
        return ProcessorState(0.0, self.model.ladder.level(wanted_hz), self.model.heat.start())

    def rest(self, state: ProcessorState, now_s: float) -> ProcessorState:
        """The state after idling until ``now_s``: it cools."""
        thermal = self.model.heat.advance(state.thermal, 0.0, now_s - state.time_s)
        return state._replace(time_s=now_s, thermal=thermal)

    def next_segment(self, state: ProcessorState, wanted_hz: float, left_cycles: float) -> Segment:
        """The stretch that begins now, to its natural end: done, load changes, throttling changes, or switched."""
        heat = self.model.heat
        level_hz = self.model.ladder.level(heat.limit(state.thermal, wanted_hz))
        switching_s = self.model.ladder.switching_s(state.frequency_hz, level_hz)
        if switching_s > 0.0:
            return Segment(switching_s, 0.0, self.model.static_power_w, level_hz)
        stolen, changes_s = self.model.load.share(self.device, state.time_s)
        speed_hz = level_hz * (1.0 - stolen)
        own_w = self.capacitance * speed_hz * level_hz**2
        dissipated_w = self.capacitance * level_hz**3 + self.model.static_power_w
        natural_s = left_cycles / speed_hz if speed_hz > 0.0 else math.inf
        until_s = min(changes_s - state.time_s, heat.time_to_change(state.thermal, dissipated_w))
        if natural_s <= until_s:
            return Segment(natural_s, left_cycles, own_w + self.model.static_power_w, level_hz)
        return Segment(until_s, speed_hz * until_s, own_w + self.model.static_power_w, level_hz)

    def after(self, state: ProcessorState, segment: Segment, now_s: float) -> ProcessorState:
        """The state when ``segment``, begun in ``state``, has run until ``now_s``."""
        dissipated_w = self.model.static_power_w
        if segment.cycles > 0.0:
            dissipated_w += self.capacitance * segment.frequency_hz**3
        thermal = self.model.heat.advance(state.thermal, dissipated_w, now_s - state.time_s)
        return ProcessorState(now_s, segment.frequency_hz, thermal)
