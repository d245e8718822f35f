"""Intervals, paired differences and agreement of rankings; everything that cannot be known is NaN."""

from functools import cache
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import stdtr, stdtrit

CONFIDENCE = 0.95

_NO_SPREAD = 1e-9
"""Standard deviation of differences, as a part of the largest, up to which they are all the same but for rounding."""


ROUNDING = 1e-12
"""What is smaller than this part of the numbers it comes from is their rounding error, and counts as zero."""


class Estimate(NamedTuple):
    """A mean and the half-width of its 95 % confidence interval (Student's t; NaN for fewer than two values)."""

    mean: float
    half_width: float


def estimate(values: ArrayLike) -> Estimate:
    """Mean and 95 % half-width of ``values`` (any shape (n,)), NaN left out."""
    known = np.asarray(values, dtype=np.float64)
    known = known[~np.isnan(known)]
    if known.size == 0:
        return Estimate(np.nan, np.nan)
    if known.size == 1 or not np.isfinite(known).all():
        return Estimate(float(known.mean()), np.nan)
    half_width = _quantile(known.size - 1) * float(known.std(ddof=1)) / float(np.sqrt(known.size))
    size = float(np.abs(known).max())
    return Estimate(unrounded(float(known.mean()), size), unrounded(half_width, size))


def unrounded(value: float, size: float) -> float:
    """``value``, or zero where it is but the rounding error of numbers of this ``size``.

    >>> unrounded(-7.1e-15, 64.0), unrounded(0.5, 64.0)
    (0.0, 0.5)
    """
    return 0.0 if abs(value) <= ROUNDING * size else value


@cache
def _quantile(degrees_of_freedom: int) -> float:
    return float(stdtrit(degrees_of_freedom, (1 + CONFIDENCE) / 2))


def win_rate(values: ArrayLike, reference: ArrayLike) -> float:
    """The share of pairs in which ``values`` is above ``reference``, both (n,); ties count half, NaN not at all.

    Two values that differ by their rounding alone are a tie.
    """
    pairs = np.column_stack([np.asarray(values, dtype=np.float64), np.asarray(reference, dtype=np.float64)])
    mine, theirs = pairs[~np.isnan(pairs).any(axis=1)].T
    if not mine.size:
        return np.nan
    level = np.isclose(mine, theirs, rtol=ROUNDING, atol=0.0)
    return float(np.mean(np.where(level, 0.5, mine > theirs)))


def kendall_tau(first: ArrayLike, second: ArrayLike) -> float:
    """Kendall's tau-b of two (n,) samples, pairs with NaN left out; NaN where one of them does not vary."""
    pairs = np.column_stack([np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)])
    pairs = pairs[~np.isnan(pairs).any(axis=1)]
    if len(pairs) < 2 or (pairs == pairs[0]).all(axis=0).any():
        return np.nan
    places = [np.unique(values, return_inverse=True)[1] for values in pairs.T]
    one, other = (np.sign(np.subtract.outer(place, place)) for place in places)
    balance, untied, others_untied = (float((a * b).sum()) / 2 for a, b in ((one, other), (one, one), (other, other)))
    return float(np.clip(balance / np.sqrt(untied) / np.sqrt(others_untied), -1.0, 1.0))


def kendall_w(scores: ArrayLike) -> float:
    """Kendall's coefficient of concordance of ``scores`` (judges, items), with the correction for ties.

    1: every judge ranks the items alike; 0: no agreement. Judges with a NaN are left out. NaN for fewer than two
    judges or items, or where nothing differs (Kendall & Babington Smith 1939).
    """
    table = np.atleast_2d(np.asarray(scores, dtype=np.float64))
    table = table[~np.isnan(table).any(axis=1)]
    judges, items = table.shape
    if judges < 2 or items < 2:
        return np.nan
    ranks, ties = np.empty_like(table), 0.0
    for row, scored in zip(ranks, table, strict=True):
        _, which, counts = np.unique(scored, return_inverse=True, return_counts=True)
        row[:] = (np.cumsum(counts) - 0.5 * (counts - 1))[which]
        ties += float((counts**3 - counts).sum())
    spread = float(((ranks.sum(axis=0) - judges * (items + 1) / 2) ** 2).sum())
    scale = judges**2 * (items**3 - items) - judges * ties
    return 12 * spread / scale if scale > 0 else np.nan


def paired(values: "pd.Series[float]", reference: "pd.Series[float]") -> "pd.Series[float]":
    """``values - reference`` over the labels (seeds) that both have; what is rounding alone is zero."""
    mine, theirs = values.align(reference, join="inner")
    difference = (mine - theirs).dropna()
    size = np.maximum(mine.abs(), theirs.abs())[difference.index]
    return difference.where(difference.abs() >= ROUNDING * size, 0.0)


def better(values: "pd.Series[float]", reference: "pd.Series[float]") -> float:
    """One-sided p-value of the paired differences against "``values`` are no higher on average than ``reference``".

    Student's t over the labels that both have. Where every difference is the same the t-test has nothing to divide by:
    then the sign test's 2^-n speaks. NaN for fewer than two pairs.
    """
    difference = paired(values, reference).to_numpy(dtype=np.float64)
    if difference.size < 2:
        return np.nan
    mean, spread = float(difference.mean()), float(difference.std(ddof=1))
    if spread <= _NO_SPREAD * float(np.abs(difference).max()):
        return 0.5**difference.size if mean > 0.0 else 1.0
    return float(stdtr(difference.size - 1, -mean * np.sqrt(difference.size) / spread))


def level_with_best(scores: pd.DataFrame) -> list[str]:
    """Which columns of ``scores`` (seeds by policies, without gaps) may be the best: with 95 % confidence the best is.

    A policy is out where another is `better` at 5 % divided by the number of others: the first step of Holm's
    procedure over its comparisons. The best of m policies is so wrongly left out with a chance of 5 % at most (subset
    selection, Gupta 1965; multiple comparisons with the best, Hsu 1984). Order of means, highest first; with fewer than
    two seeds, all.
    """
    policies = list(scores.mean().sort_values(ascending=False, kind="stable").index)
    others = max(1, len(policies) - 1)
    return [
        policy
        for policy in policies
        if not any(
            better(scores[other], scores[policy]) <= (1.0 - CONFIDENCE) / others
            for other in policies
            if other != policy
        )
    ]
