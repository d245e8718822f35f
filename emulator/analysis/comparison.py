"""The comparison of policies: one row per policy (and varied scenario), every figure with its interval.

Policies met the same channels, faults, initial model and order of samples under each seed, so differences are taken
seed by seed. Intervals are Student's t at 95 %, without correction for the number of policies compared.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from prefine.emulator.analysis import statistics
from prefine.emulator.analysis.tables import column_types, varied_keys
from prefine.emulator.records import RunRecord

FIGURES = tuple(name for name, kind in column_types(RunRecord).items() if kind != "str" and name != "seed")
SCORE = "test_accuracy"
REALISED = "mean_grad_norm_sq"


def groups(frame: pd.DataFrame, keys: Sequence[str]) -> Iterator[tuple[dict[str, object], pd.DataFrame]]:
    """The rows of each combination of values of ``keys``, in order of appearance; without keys, all rows at once."""
    if not keys:
        yield {}, frame
        return
    for values, group in frame.groupby(list(keys), sort=False, dropna=False):
        yield dict(zip(keys, values, strict=True)), group


def default_reference(runs: pd.DataFrame) -> str:
    """The policy that the others are compared with unless another is named: the first one."""
    return str(runs["policy"].iloc[0])


def comparison(runs: pd.DataFrame, reference: str) -> pd.DataFrame:
    """comparison.csv: for each policy and combination of varied values, all figures of its finished runs.

    Columns: varied keys, policy, reference, runs, failed, ``test_accuracy_win_rate`` (share of shared seeds with
    a higher accuracy than the reference, ties half), then for each figure ``*_mean``, ``*_ci95`` (half-width),
    ``*_diff`` (mean of figure minus the reference's at the same seed) and ``*_diff_ci95``.
    """
    return pd.DataFrame(
        [row for varied, group in groups(runs, varied_keys(runs)) for row in _rows(varied, group, reference)]
    )


def _rows(varied: dict[str, object], group: pd.DataFrame, reference: str) -> Iterator[dict[str, object]]:
    done = group[group["status"] == "done"]
    baseline = done[done["policy"] == reference].set_index("seed")
    for policy in group["policy"].drop_duplicates():
        mine = done[done["policy"] == policy].set_index("seed")
        shared = mine.index.intersection(baseline.index)
        row: dict[str, object] = {
            **varied,
            "policy": policy,
            "reference": reference,
            "runs": len(mine),
            "failed": int((group["policy"] == policy).sum()) - len(mine),
            f"{SCORE}_win_rate": statistics.win_rate(mine.loc[shared, SCORE], baseline.loc[shared, SCORE]),
        }
        for figure in FIGURES:
            row[f"{figure}_mean"], row[f"{figure}_ci95"] = statistics.estimate(mine[figure])
            difference = statistics.paired(mine.loc[shared, figure], baseline.loc[shared, figure])
            row[f"{figure}_diff"], row[f"{figure}_diff_ci95"] = statistics.estimate(difference)
        yield row


def ranking(runs: pd.DataFrame) -> pd.DataFrame:
    """ranking.csv: how stable the ranking of policies is over seeds, and how well the bounds foretell it.

    One row per combination of varied values. ``accuracy_w``, ``grad_norm_w``: Kendall's W over seeds. ``*_tau_*``:
    Kendall's tau over the policies' means between a bound and what was realised, signed so that 1 means "the lower
    bound is always the better result".
    """
    return pd.DataFrame([{**varied, **_agreement(group)} for varied, group in groups(runs, varied_keys(runs))])


def _agreement(group: pd.DataFrame) -> dict[str, object]:
    done = group[group["status"] == "done"]
    means = done.groupby("policy", sort=False)[["bound", "bound_ft", REALISED, SCORE]].mean()
    row: dict[str, object] = {
        "policies": len(means),
        "seeds": done["seed"].nunique(),
        "accuracy_w": statistics.kendall_w(_by_seed(done, SCORE)),
        "grad_norm_w": statistics.kendall_w(_by_seed(done, REALISED)),
    }
    for bound in ("bound", "bound_ft"):
        row[f"{bound}_tau_grad_norm"] = statistics.kendall_tau(means[bound], means[REALISED])
        row[f"{bound}_tau_accuracy"] = statistics.kendall_tau(means[bound], -means[SCORE])
    return row


def _by_seed(done: pd.DataFrame, figure: str) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Shape (seeds, policies); NaN where a policy failed under a seed."""
    return done.pivot_table(index="seed", columns="policy", values=figure, dropna=False, sort=False).to_numpy(float)
