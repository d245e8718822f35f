"""Intervals, paired differences and agreement of rankings; everything that cannot be known is NaN."""

from functools import cache
from typing import NamedTuple, TypeVar

import numpy as np
import pandas as pd
import scipy  # scipy.special is loaded where it is first named: half a second that many a run does without
from numpy.typing import ArrayLike

from prefine.emulator.types import FloatArray

CONFIDENCE = 0.95

_Number = TypeVar("_Number", float, FloatArray)

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


def estimates(values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """`estimate` of each row of ``values`` (m, n): means and half-widths (m,)."""
    rows = np.ascontiguousarray(values)
    means, half_widths = np.empty((2, len(rows)))
    plain = np.isfinite(rows).all(axis=1) if rows.shape[1] > 1 else np.zeros(len(rows), dtype=bool)
    for index in np.flatnonzero(~plain).tolist():
        means[index], half_widths[index] = estimate(rows[index])
    if plain.any():
        known = rows[plain]
        count, size = known.shape[1], np.abs(known).max(axis=1)
        wide = _quantile(count - 1) * known.std(axis=1, ddof=1) / float(np.sqrt(count))
        means[plain], half_widths[plain] = _unrounded(known.mean(axis=1), size), _unrounded(wide, size)
    return means, half_widths


def _unrounded(values: FloatArray, size: FloatArray) -> FloatArray:
    return np.where(np.abs(values) <= ROUNDING * size, 0.0, values)


def unrounded(value: float, size: float) -> float:
    """``value``, or zero where it is but the rounding error of numbers of this ``size``.

    >>> unrounded(-7.1e-15, 64.0), unrounded(0.5, 64.0)
    (0.0, 0.5)
    """
    return 0.0 if abs(value) <= ROUNDING * size else value


def both(mean: _Number, half_width: _Number) -> tuple[_Number, _Number]:
    """The two values that have this `estimate`, the smaller first: nothing is lost of two.

    >>> [round(value, 12) for value in both(*estimate([0.5, 0.75]))]
    [0.5, 0.75]
    """
    away = half_width / _quantile(1)
    return mean - away, mean + away


@cache
def _quantile(degrees_of_freedom: int) -> float:
    return float(scipy.special.stdtrit(degrees_of_freedom, (1 + CONFIDENCE) / 2))


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


def win_rates(values: FloatArray, reference: FloatArray) -> FloatArray:
    """`win_rate` of each row of ``values`` and ``reference``, both (m, n); shape (m,)."""
    rates = np.full(len(values), np.nan)
    unknown = np.isnan(values) | np.isnan(reference)
    for index in np.flatnonzero(unknown.any(axis=1)).tolist():
        rates[index] = win_rate(values[index], reference[index])
    known = ~unknown.any(axis=1)
    if known.any() and values.shape[1]:
        mine, theirs = np.ascontiguousarray(values[known]), np.ascontiguousarray(reference[known])
        level = np.isclose(mine, theirs, rtol=ROUNDING, atol=0.0)
        rates[known] = np.where(level, 0.5, mine > theirs).mean(axis=1)
    return rates


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


def paired(values: FloatArray, reference: FloatArray) -> FloatArray:
    """``values - reference``, element by element; what is rounding alone is zero, what one of them lacks NaN."""
    with np.errstate(invalid="ignore"):  # both infinite: no number
        difference = values - reference
        size = np.maximum(np.abs(values), np.abs(reference))
        return np.where(np.abs(difference) < ROUNDING * size, 0.0, difference)


def better(values: FloatArray, reference: FloatArray) -> FloatArray:
    """One-sided p-values of the paired differences against "``values`` are no higher on average than ``reference``".

    Both are (..., n), without gaps, and what is paired stands last; shape (...). Student's t. Where every difference is
    the same the t-test has nothing to divide by: then the sign test's 2^-n speaks. NaN for fewer than two pairs.
    """
    difference = paired(values, reference)
    count = difference.shape[-1]
    if count < 2:
        return np.full(difference.shape[:-1], np.nan)
    mean, spread = difference.mean(axis=-1), difference.std(axis=-1, ddof=1)
    same = spread <= _NO_SPREAD * np.abs(difference).max(axis=-1)
    chance = scipy.special.stdtr(count - 1, -mean * np.sqrt(count) / np.where(same, 1.0, spread))
    return np.where(same, np.where(mean > 0.0, 0.5**count, 1.0), chance)


def level_with_best(scores: pd.DataFrame) -> list[str]:
    """Which columns of ``scores`` (seeds by policies, without gaps) may be the best: with 95 % confidence the best is.

    A policy is out where another is `better` at 5 % divided by the number of others: the first step of Holm's
    procedure over its comparisons. The best of m policies is so wrongly left out with a chance of 5 % at most (subset
    selection, Gupta 1965; multiple comparisons with the best, Hsu 1984). Order of means, highest first; with fewer than
    two seeds, all.
    """
    policies = list(scores.mean().sort_values(ascending=False, kind="stable").index)
    each = np.ascontiguousarray(scores[policies].to_numpy(dtype=np.float64).T)
    level = (1.0 - CONFIDENCE) / max(1, len(policies) - 1)
    return [policy for policy, mine in zip(policies, each, strict=True) if not (better(each, mine) <= level).any()]
