"""The best share of pre-training in hindsight, and what each policy loses against it: its regret.

The runs of the family are in hindsight.csv. Its best member is chosen on the even seeds and scored on the odd ones, and
the other way round, so that choosing does not flatter it.
"""

import re

import numpy as np
import pandas as pd

from prefine.emulator.analysis import statistics
from prefine.emulator.analysis.statistics import Estimate
from prefine.emulator.analysis.tables import SCORE

NAME = "hindsight"
"""What tables call the member chosen so, seed by seed; no policy may have this label beside it."""


def cross_fitted(family: pd.DataFrame) -> pd.DataFrame:
    """For each seed, the run of the member that is best on the seeds of the other parity, as a run of policy `NAME`.

    ``family`` has the columns of runs.csv and one combination of varied values. Members without a finished run under
    every seed are left out; of members that are level, the first by name is chosen. Empty where no member is left, or
    where all seeds are even, or odd.
    """
    scores = _scores(family)
    odd = scores.columns.to_numpy(int) % 2 == 1
    if scores.empty or odd.all() or not odd.any():
        return family.iloc[:0].assign(policy=NAME)
    best_on = {1: scores.loc[:, ~odd].mean(axis=1).idxmax(), 0: scores.loc[:, odd].mean(axis=1).idxmax()}
    chosen = family["policy"] == family["seed"].mod(2).map(best_on)
    return family[chosen].sort_values("seed").assign(policy=NAME)


def best_member(family: pd.DataFrame) -> str:
    """The member with the highest mean over all seeds; empty where there is none."""
    scores = _scores(family)
    return "" if scores.empty else str(scores.mean(axis=1).idxmax())


def _scores(family: pd.DataFrame) -> pd.DataFrame:
    """Members without gaps by seed, in order of their names."""
    done = family[family["status"] == "done"]
    return done.pivot_table(index="policy", columns="seed", values=SCORE).dropna()


def accuracy(hindsight: pd.DataFrame) -> float:
    """Accuracy of `cross_fitted` runs: the mean over both halves of the seeds, which weigh alike; NaN without any."""
    halves = hindsight[SCORE].groupby(hindsight["seed"] % 2).mean()
    return float(halves.mean()) if len(halves) > 1 else np.nan


def regret(hindsight: pd.DataFrame, mine: pd.DataFrame) -> Estimate:
    """`accuracy` less the mean of ``mine`` (a policy's finished runs); half-width from the differences seed by seed."""
    theirs, ours = hindsight.set_index("seed")[SCORE].align(mine.set_index("seed")[SCORE], join="inner")
    paired = statistics.paired(theirs.to_numpy(np.float64), ours.to_numpy(np.float64))
    own = float(mine[SCORE].mean()) if len(mine) else np.nan
    best = accuracy(hindsight)
    return Estimate(statistics.unrounded(best - own, abs(own)), statistics.estimate(paired).half_width)


def described(member: str) -> str:
    """A member's label in words; any other label as it is.

    >>> described("given-45x16"), described("given-0x16")
    ('45 server rounds of 16 samples', 'no server rounds')
    """
    size = re.fullmatch(r"given-(\d+)x(\d+)", member)
    if size is None:
        return member
    return f"{size[1]} server rounds of {size[2]} samples" if int(size[1]) else "no server rounds"
