"""Heat: a first-order thermal model with a throttling threshold and hysteresis.

Temperature above ambient relaxes towards P R with time constant tau = R C (one lumped thermal resistance and
capacity): d theta/dt = (P R - theta) / tau. At ``throttle_c`` the processor is held to ``throttled_hz`` until it has
cooled to ``resume_c``.
"""

import math
from typing import NamedTuple, Protocol, Self

from pydantic import model_validator

from prefine.emulator.section import Finite, Positive, Section


class ThermalState(NamedTuple):
    """Temperature in degrees Celsius, and whether the processor is throttled."""

    temperature_c: float
    throttled: bool


class ThermalModel(Protocol):
    """How a processor warms, cools and is throttled.

    ``advance`` is a flow: advancing by a and then by b at one power is advancing by a + b, up to rounding. Between two
    instants of ``time_to_change`` the answer of ``limit`` does not change.
    """

    def start(self) -> ThermalState:
        """The state of a processor that has rested for long."""
        ...

    def limit(self, state: ThermalState, wanted_hz: float) -> float:
        """The frequency in Hz it may run at when ``wanted_hz`` is asked for."""
        ...

    def time_to_change(self, state: ThermalState, power_w: float) -> float:
        """Seconds until ``power_w`` makes it throttle or resume; ``inf`` if never."""
        ...

    def advance(self, state: ThermalState, power_w: float, duration_s: float) -> ThermalState:
        """The state after ``duration_s`` at ``power_w``."""
        ...


class NoHeat:
    """A processor that is always cool enough: never throttled."""

    def start(self) -> ThermalState:
        """At 0 degrees, not throttled."""
        return ThermalState(0.0, False)

    def limit(self, state: ThermalState, wanted_hz: float) -> float:
        """``wanted_hz``, without a limit."""
        return wanted_hz

    def time_to_change(self, state: ThermalState, power_w: float) -> float:
        """Infinitely long: it is never throttled."""
        return math.inf

    def advance(self, state: ThermalState, power_w: float, duration_s: float) -> ThermalState:
        """The same state, whatever happens."""
        return state


class Heat(Section):
    """``[processor.heat]``: at ``throttle_c`` held to ``throttled_hz``, until down to ``resume_c``.

    ``resistance_c_w`` is R in kelvin per watt, ``time_constant_s`` tau. ``resume_c`` < ``throttle_c`` gives the
    hysteresis. Left out: heat that the radio, the case and neighbouring cores add.
    """

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

    def start(self) -> ThermalState:
        """At ambient temperature, not throttled."""
        return ThermalState(self.ambient_c, False)

    def limit(self, state: ThermalState, wanted_hz: float) -> float:
        """``throttled_hz`` at most while throttled."""
        return min(wanted_hz, self.throttled_hz) if state.throttled else wanted_hz

    def time_to_change(self, state: ThermalState, power_w: float) -> float:
        """The exponential's crossing time: tau ln((steady - now) / (steady - threshold))."""
        steady_c = self._steady(power_w)
        threshold_c = self.resume_c if state.throttled else self.throttle_c
        if state.throttled:
            crosses = steady_c < threshold_c
            already = state.temperature_c <= threshold_c
        else:
            crosses = steady_c > threshold_c
            already = state.temperature_c >= threshold_c
        if already:
            return 0.0
        if not crosses:
            return math.inf
        return self.time_constant_s * math.log((steady_c - state.temperature_c) / (steady_c - threshold_c))

    def advance(self, state: ThermalState, power_w: float, duration_s: float) -> ThermalState:
        """Exponential approach to the steady temperature; a threshold reached (to 1e-9 degrees) switches throttling."""
        steady_c = self._steady(power_w)
        temperature_c = steady_c + (state.temperature_c - steady_c) * math.exp(-duration_s / self.time_constant_s)
        if state.throttled:
            return ThermalState(temperature_c, temperature_c > self.resume_c + 1e-9)
        return ThermalState(temperature_c, temperature_c >= self.throttle_c - 1e-9)

    def _steady(self, power_w: float) -> float:
        return self.ambient_c + power_w * self.resistance_c_w
