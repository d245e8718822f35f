"""Inverses of smooth scalar functions by tables: an answer takes a few array operations, and errs by less than 1e-9."""

from collections.abc import Callable

import numpy as np

from prefine.emulator.types import FloatArray

STEP = 0.02
"""Distance of the table's points: the error of cubic interpolation goes with its fourth power, the table's length with
its inverse."""

_NEWTON_STEPS = 60
"""A bound on the loop only; from a table of the function a few are enough."""

Function = Callable[[FloatArray], FloatArray]


class LogInverse:
    """Of a rising function f of z = log x, by cubic Hermite interpolation between points evenly spaced in y = f(z).

    ``slope`` is df/dz. Below the table, which goes from z = ``low`` to ``high``, f is a straight line of slope
    ``power``; above it the answer is that at ``high``.
    """

    def __init__(self, function: Function, slope: Function, low: float, high: float, power: float) -> None:
        ends = function(np.array([low, high]))
        self._first, self._low, self._power = float(ends[0]), low, power
        y = np.arange(ends[0], ends[1], STEP)
        grid = np.linspace(low, high, 4 * len(y))
        z = np.interp(y, function(grid), grid)
        for _ in range(_NEWTON_STEPS):
            step = (function(z) - y) / slope(z)
            z = np.clip(z - step, low, high)
            if float(np.max(np.abs(step))) < 1e-14 * max(abs(low), abs(high)):
                break
        self._z, self._rise = z, STEP / slope(z)

    def __call__(self, y: FloatArray) -> FloatArray:
        """log x, of the shape of ``y``."""
        at = (y - self._first) / STEP
        left = np.clip(at.astype(np.int64), 0, len(self._z) - 2)
        part = np.clip(at - left, 0.0, 1.0)
        z0, z1, d0, d1 = self._z[left], self._z[left + 1], self._rise[left], self._rise[left + 1]
        jump = z1 - z0
        cubic = z0 + part * (d0 + part * ((3.0 * jump - 2.0 * d0 - d1) + part * (d0 + d1 - 2.0 * jump)))
        below: FloatArray = np.minimum(y - self._first, 0.0) / self._power
        return cubic + below
