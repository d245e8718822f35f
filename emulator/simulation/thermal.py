"""Heat: a first-order thermal model with a throttling threshold and hysteresis.

Temperature above ambient relaxes towards P R with time constant tau = R C (one lumped thermal resistance and
capacity): d theta/dt = (P R - theta) / tau. At ``throttle_c`` the processor is held to ``throttled_hz`` until it has
cooled to ``resume_c``.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol


class ThermalState(NamedTuple):
    """Temperature in degrees Celsius, and whether the processor is throttled."""

    temperature_c: float
    throttled: bool


class Heat(Protocol):
    """How a processor warms, cools and is throttled."""

    def start(self) -> ThermalState:
        """At ambient temperature."""
        ...

    def limit(self, state: ThermalState, wanted_hz: float) -> float:
        """The frequency it may run at."""
        ...

    def time_to_change(self, state: ThermalState, power_w: float) -> float:
        """Seconds until ``power_w`` makes it throttle or resume; ``inf`` if never."""
        ...

    def advance(self, state: ThermalState, power_w: float, duration_s: float) -> ThermalState:
        """The state after ``duration_s`` at ``power_w``."""
        ...


@dataclass(frozen=True)
class NoHeat:
    """Always cool."""

    def start(self) -> ThermalState:
        """Cool."""
        return ThermalState(0.0, False)

    def limit(self, state: ThermalState, wanted_hz: float) -> float:
        """No limit."""
        return wanted_hz

    def time_to_change(self, state: ThermalState, power_w: float) -> float:
        """Never."""
        return math.inf

    def advance(self, state: ThermalState, power_w: float, duration_s: float) -> ThermalState:
        """Nothing changes."""
        return state


COLD = NoHeat()


@dataclass(frozen=True)
class FirstOrderHeat:
    """One thermal resistance and one time constant; ``resume_c`` < ``throttle_c`` gives the hysteresis."""

    ambient_c: float
    resistance_c_w: float
    time_constant_s: float
    throttle_c: float
    resume_c: float
    throttled_hz: float

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
