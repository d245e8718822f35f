"""Two-state processes in time: devices that come and go, other work that steals cycles."""

import bisect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np


class OnOff(Protocol):
    """Per device, on or off as a function of time."""

    def at(self, device: int, time_s: float) -> tuple[bool, float]:
        """Whether ``device`` is on at ``time_s``, and when that next changes (``inf``: never)."""
        ...


@dataclass(frozen=True)
class AlwaysOn:
    """On for good."""

    def at(self, device: int, time_s: float) -> tuple[bool, float]:
        """On."""
        return True, math.inf


@dataclass(frozen=True)
class Switches:
    """Given instants at which each device changes state; ``first_on[k]`` is its state before the first of them."""

    first_on: tuple[bool, ...]
    at_s: tuple[tuple[float, ...], ...]

    def at(self, device: int, time_s: float) -> tuple[bool, float]:
        """By bisection; a change holds from its very instant."""
        changes = self.at_s[device]
        passed = bisect.bisect_right(changes, time_s)
        return self.first_on[device] ^ (passed % 2 == 1), changes[passed] if passed < len(changes) else math.inf


class ExponentialOnOff:
    """Alternating exponential sojourns of given means, begun in the stationary state.

    One generator per device; sojourns are drawn once, in order, and remembered: the same question always has the same
    answer, in whatever order it is asked.
    """

    def __init__(self, mean_on_s: float, mean_off_s: float, generator: Callable[[int], np.random.Generator]) -> None:
        self._means_s = (mean_off_s, mean_on_s)
        self._generator = generator
        self._paths: dict[int, tuple[np.random.Generator, bool, list[float]]] = {}

    def at(self, device: int, time_s: float) -> tuple[bool, float]:
        """Draws further sojourns as far as ``time_s`` needs."""
        generator, first_on, changes = self._path(device)
        while not changes or changes[-1] <= time_s:
            on = first_on ^ (len(changes) % 2 == 1)
            begin_s = changes[-1] if changes else 0.0
            changes.append(max(begin_s + generator.exponential(self._means_s[on]), math.nextafter(begin_s, math.inf)))
        passed = bisect.bisect_right(changes, time_s)
        return first_on ^ (passed % 2 == 1), changes[passed]

    def _path(self, device: int) -> tuple[np.random.Generator, bool, list[float]]:
        if device not in self._paths:
            generator = self._generator(device)
            off_s, on_s = self._means_s
            self._paths[device] = (generator, bool(generator.random() < on_s / (on_s + off_s)), [])
        return self._paths[device]


@dataclass(frozen=True)
class OnOffLoad:
    """Background work that steals ``stolen`` of the cycles while it is on (a `Load` of the processor)."""

    process: OnOff
    stolen: float

    def share(self, device: int, time_s: float) -> tuple[float, float]:
        """``stolen`` while on, nothing while off."""
        on, until_s = self.process.at(device, time_s)
        return (self.stolen if on else 0.0), until_s
