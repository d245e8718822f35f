"""Curves fitted to what calibration runs saw: the shift over the rounds, and the task gap at several server batches.

Both are linear in all but one parameter, a rate per round. For a given rate the rest is a least-squares problem with
bounds, which has one solution; the rate itself is searched for, first on a grid. So no start is needed and no fit can
fail to converge.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy  # its parts are loaded where they are first named: optimize takes half a second

from prefine.emulator.types import FloatArray

GRID = 40
"""Rates tried before the search closes in: more only matter where the misfit has several minima."""

FASTEST = 0.5
"""Per round. A faster rate is over before the next measured point."""

FLAT = 1e-3
"""Part of the final shift: a rise below this is none."""

LEAST_CONTRACTION, MOST_CONTRACTION = 1e-6, 5.0


class ShiftFit(NamedTuple):
    """Delta^2 at round n is ``slope`` - ``relief`` ``rate`` exp(-``rate`` n): from its start it rises to ``slope``."""

    slope: float
    relief: float
    rate: float


class GapFit(NamedTuple):
    """G(N, b) = (G_0 - floor) e + floor + (noise / b) (1 - e), with e = exp(-contraction N)."""

    contraction: float
    floor: float
    noise: float

    def gap(self, start: float, rounds: FloatArray, batches: FloatArray) -> FloatArray:
        """The task gap (q, m) after ``rounds`` (m,) with server ``batches`` (q,), from ``start``."""
        left = np.exp(-self.contraction * rounds)
        noise = self.noise / batches[:, np.newaxis] * (1.0 - left)
        result: FloatArray = (start - self.floor) * left + self.floor + noise
        return result


def fit_shift(rounds: FloatArray, shift: FloatArray, horizon: float) -> ShiftFit:
    """The least-squares rise of ``shift`` (p,), Delta^2 at ``rounds`` (p,), that is never negative and never falls.

    The rate is at least 1 / ``horizon``: what takes longer than was looked at cannot be told from a straight line.
    Where the shift falls or stays, relief and rate are 0 and the slope is its mean.
    """

    def solved(rate: float) -> tuple[FloatArray, float]:
        rise = 1.0 - np.exp(-rate * rounds)
        found, misfit = scipy.optimize.nnls(
            np.stack([np.ones_like(rise), rise], axis=1), shift
        )  # start and rise, both at least 0
        return found, float(misfit)

    rate = _best_rate(lambda rate: solved(rate)[1], 1.0 / horizon, FASTEST)
    start, rise = (float(value) for value in solved(rate)[0])
    if rise <= FLAT * (start + rise):
        return ShiftFit(float(shift.mean()), 0.0, 0.0)
    return ShiftFit(start + rise, rise / rate, rate)


def fit_gap(rounds: FloatArray, batches: FloatArray, gap: FloatArray) -> GapFit:
    """The least-squares contraction, floor and noise of ``gap`` (q, p): the task gap at ``rounds`` (p,) of each of the
    ``batches`` (q,). The floor is between 0 and the gap at the start, the noise at least 0.
    """
    start = float(gap[:, 0].mean())
    per_batch = np.repeat(1.0 / batches, len(rounds))

    def solved(contraction: float) -> tuple[FloatArray, float]:
        left = np.tile(np.exp(-contraction * rounds), len(batches))
        done = 1.0 - left
        columns = np.stack([done, done * per_batch], axis=1)
        highest = max(start, np.finfo(float).tiny)
        found = scipy.optimize.lsq_linear(
            columns, gap.ravel() - start * left, ([0.0, 0.0], [highest, np.inf]), method="bvls"
        )
        return found.x, float(found.cost)

    contraction = _best_rate(lambda rate: solved(rate)[1], LEAST_CONTRACTION, MOST_CONTRACTION)
    floor, noise = solved(contraction)[0]
    return GapFit(contraction, float(floor), float(noise))


def _best_rate(misfit: Callable[[float], float], least: float, most: float) -> float:
    """The rate of least ``misfit``: the best of a geometric grid, then Brent's method between its neighbours."""
    grid = np.linspace(np.log(least), np.log(most), GRID)
    best = int(np.argmin([misfit(float(rate)) for rate in np.exp(grid)]))
    bounds = grid[max(0, best - 1)], grid[min(GRID - 1, best + 1)]
    found = scipy.optimize.minimize_scalar(lambda log: misfit(float(np.exp(log))), bounds=bounds, method="bounded")
    return float(np.exp(found.x))
