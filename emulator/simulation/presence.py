"""Who is there: asked for anew only where somebody has come or gone, or a battery has run down."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import simpy
from numpy.typing import NDArray

from prefine.emulator.simulation.availability import OnOff
from prefine.emulator.simulation.energy import Battery


class Presence:
    """Of ``count`` devices on the clock; ``batteries`` answers those that can run down, of all or of none."""

    def __init__(
        self, env: simpy.Environment, availability: OnOff, count: int, batteries: Callable[[], Sequence[Battery]]
    ) -> None:
        self._env, self._availability, self._count, self._batteries = env, availability, count, batteries
        self._since_s, self._until_s = -math.inf, -math.inf if availability.can_change else math.inf
        self._changes_s, self._empty = [math.inf] * count, 0
        self._on = self._there = np.ones(count, dtype=np.bool_)

    def available(self) -> NDArray[np.bool_]:
        """Who is on, with a battery that is not empty, (K,): the same array as the last time where it is the same."""
        self._look()
        batteries = self._batteries()
        empty = sum([battery.is_empty for battery in batteries])
        if empty != self._empty:
            self._empty = empty
            self._there = self._on & np.array([not battery.is_empty for battery in batteries])
        return self._there

    def changes_s(self) -> Sequence[float]:
        """When each next comes or goes, whatever its battery."""
        self._look()
        return self._changes_s

    def next_change_s(self) -> float:
        """When anyone next comes or goes who has not run down; ``inf`` where nobody does."""
        if not self._availability.can_change:
            return math.inf
        batteries, changes_s = self._batteries(), self.changes_s()
        if not batteries:
            return min(changes_s)
        left = zip(batteries, changes_s, strict=True)
        return min([change_s for battery, change_s in left if not battery.is_empty], default=math.inf)

    def _look(self) -> None:
        now_s = self._env.now
        if self._since_s <= now_s < self._until_s:
            return
        asked = [self._availability.at(number, now_s) for number in range(self._count)]
        self._on, self._changes_s = np.array([on for on, _ in asked]), [change_s for _, change_s in asked]
        self._since_s, self._until_s = now_s, min(self._changes_s)
        self._there, self._empty = self._on, 0
