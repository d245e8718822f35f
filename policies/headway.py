"""Whether a Newton search makes headway, and how long its next step is."""

import math

_PASSES = 60
"""Newton passes at most: one that arrives takes a few; more only wait longer for those that do not."""

_PATIENCE = 12
"""Passes without an error smaller by `_PROGRESS` before they are given up: more wait longer where they cycle."""

_NOISE = 1e-7
"""Relative error from which on Newton's method has arrived where it makes no headway: what is left is rounding."""

_PROGRESS = 0.3
"""Headway is an error that falls by this factor; near the root it falls with its square."""

_SHORTER, _SHORTEST = 0.5, 0.2
"""Part of the last step's length that is tried where the error has not fallen, and the least, before a whole one."""


class Headway:
    """How a Newton search comes along: how long its next step is, and whether it goes on."""

    def __init__(self) -> None:
        self._before = self._best = math.inf
        self._length, self._passes, self._since = 1.0, 0, 0

    @property
    def goes_on(self) -> bool:
        """Not after too many passes, in all or since the last that was worth it."""
        return self._passes < _PASSES and self._since < _PATIENCE

    def is_over(self, error: float) -> bool:
        """Whether ``error`` is what rounding leaves."""
        return _NOISE >= error >= self._before * _PROGRESS

    def step(self, error: float) -> float:
        """The length of the next step, as a part of Newton's, after one that led to ``error``."""
        longer = error < self._before or self._length < _SHORTEST
        self._length = 1.0 if longer else _SHORTER * self._length
        self._since = 0 if error < _PROGRESS * self._best else self._since + 1
        self._before, self._best, self._passes = error, min(error, self._best), self._passes + 1
        return self._length
