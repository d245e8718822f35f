"""Whether the fitted curve of the task gap is right, asked of the calibration runs themselves.

A curve that is right is as far from the runs' mean as that is from the truth, which the spread of the runs tells. So
their distance is compared with that spread: a test for lack of fit against pure error (docs/learning.md, "Task gap").
"""

import math
from typing import NamedTuple

import numpy as np
import scipy  # its parts are loaded where they are first named

from prefine.emulator.types import FloatArray
from prefine.models.fits import GapFit

LEVEL = 0.05
"""How often a curve that is right is taken for a wrong one, about: a smaller level finds fewer wrong ones."""


class Misfit(NamedTuple):
    """How far a curve is from the runs' mean, in units of the mean's variance, and how far chance would take it."""

    ratio: float
    most: float

    @property
    def is_significant(self) -> bool:
        """Whether the curve is wrong, at the level `LEVEL`."""
        return self.ratio > self.most


def gap_misfit(fit: GapFit, rounds: FloatArray, batches: FloatArray, gaps: FloatArray) -> Misfit:
    """Of ``fit`` to ``gaps`` (runs, q, m): the task gap at ``rounds`` (m,), the first of them 0, of ``batches`` (q,).

    The mean over points of (squared distance) / (variance of the runs' mean), the variance that of the point's batch: a
    point alone knows too little. Points of one run stray together, in no more directions than so few runs can show, one
    fewer than there are; so the ratio is held against Fisher's F for those. A lone run knows no spread: NaN.
    """
    runs = len(gaps)
    if runs < 2:
        return Misfit(math.nan, math.inf)
    start, after = float(gaps[:, :, 0].mean()), gaps[:, :, 1:]
    off = after.mean(axis=0) - fit.gap(start, rounds[1:], batches)
    variance = after.var(axis=0, ddof=1).mean(axis=1) / runs
    ratio = np.mean(np.mean(off**2, axis=1) / np.maximum(variance, np.finfo(float).eps * start**2))
    return Misfit(float(ratio), float(scipy.stats.f.ppf(1.0 - LEVEL, runs - 1, (runs - 1) ** 2)))
