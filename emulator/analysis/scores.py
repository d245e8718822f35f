"""Runs as arrays: a policy's runs are found, and their means worked out, without a table for each policy."""

from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from prefine.emulator.analysis.tables import SCORE
from prefine.emulator.types import FloatArray, IntArray

Places = NDArray[np.intp]

NOWHERE: Places = np.empty(0, dtype=np.intp)


class Scores(NamedTuple):
    """The columns of n runs that policies are compared by; ``figures`` is (figures, n)."""

    seeds: IntArray
    figures: FloatArray
    targets: FloatArray
    reached_s: FloatArray

    @classmethod
    def of(cls, runs: pd.DataFrame, figures: list[str]) -> Self:
        """Those of ``runs``, which have the columns ``figures``."""
        targets, reached_s = (runs[name].to_numpy(np.float64) for name in ("target_accuracy", "time_to_accuracy_s"))
        return cls(runs["seed"].to_numpy(np.int64), runs[figures].to_numpy(np.float64).T, targets, reached_s)

    def taken(self, at: Places) -> Self:
        """The runs at these places."""
        return type(self)(self.seeds[at], self.figures[:, at], self.targets[at], self.reached_s[at])

    @property
    def reach_rate(self) -> float:
        """The share that reached the first target; NaN where there is none."""
        known = ~np.isnan(self.targets)
        return float((~np.isnan(self.reached_s[known])).mean()) if known.any() else np.nan


def places(labels: pd.Series | NDArray[Any]) -> dict[Any, Places]:
    """Where each of ``labels`` (n,) stands, rising; in order of appearance.

    >>> {label: at.tolist() for label, at in places(pd.Series(["b", "a", "b"])).items()}
    {'b': [0, 2], 'a': [1]}
    """
    codes, different = pd.factorize(labels)
    ends = np.cumsum(np.bincount(codes, minlength=len(different)))
    return dict(zip(different, np.split(np.argsort(codes, kind="stable"), ends[:-1]), strict=False))


def cells(frame: pd.DataFrame, keys: list[str]) -> list[Places]:
    """The places of the rows of each combination of values of ``keys``, by appearance; of all, without keys."""
    if not keys:
        return [np.arange(len(frame))]
    return list(places(frame.groupby(keys, sort=False, dropna=False).ngroup()).values())


def mean(values: FloatArray) -> float:
    """Mean of ``values`` (n,), NaN left out; NaN of none."""
    known = np.count_nonzero(~np.isnan(values))
    return float(np.nansum(values)) / known if known else np.nan


def by_seed(runs: pd.DataFrame, figure: str = SCORE) -> pd.DataFrame:
    """``figure`` by seed and policy, in order of appearance; NaN where a policy has none, of several their mean."""
    row, seeds = pd.factorize(runs["seed"])
    column, policies = pd.factorize(runs["policy"])
    values = runs[figure].to_numpy(np.float64)
    known = ~np.isnan(values)
    total, count = np.zeros((2, len(seeds), len(policies)))
    np.add.at(total, (row[known], column[known]), values[known])
    np.add.at(count, (row[known], column[known]), 1.0)
    with np.errstate(invalid="ignore"):
        return pd.DataFrame(total / count, index=seeds, columns=policies)
