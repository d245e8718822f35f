"""The comparison of policies: one row per policy (and varied scenario), every figure with its interval.

Policies met the same channels, faults, initial model and order of samples under each seed, so differences are taken
seed by seed. Intervals are Student's t at 95 %, without correction for the number of policies compared.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from prefine.emulator.analysis import hindsight, statistics
from prefine.emulator.analysis.entries import column_types
from prefine.emulator.analysis.scores import NOWHERE, Scores, by_seed, mean, places
from prefine.emulator.analysis.tables import REALISED, SCORE, VALIDATED, varied_keys
from prefine.emulator.analysis.targets import is_target
from prefine.emulator.records import RunRecord

_NEITHER_BETTER = (
    *("pretrain_rounds", "finetune_rounds", "planned_pretrain_rounds", "planned_finetune_rounds"),
    "target_accuracy",
)
"""Figures of which neither more nor less is better."""

_MORE_IS_BETTER = (
    SCORE,
    "validation_accuracy",
    "client_accuracy_mean",
    "client_accuracy_worst",
    "client_accuracy_jain",
)
"""Of all others less is."""

FIGURES = tuple(name for name, kind in column_types(RunRecord).items() if kind != "str" and name != "seed")


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


def figures_of(runs: pd.DataFrame) -> list[str]:
    """The numeric columns of ``runs`` that have a mean: all but the seed and the varied keys."""
    absent = set(VALIDATED) - set(runs.columns)
    return [*(name for name in FIGURES if name not in absent), *(name for name in runs.columns if is_target(name))]


def comparison(runs: pd.DataFrame, reference: str, family: pd.DataFrame | None = None) -> pd.DataFrame:
    """One row for each policy and combination of varied values, with all figures of its finished runs.

    Columns: varied keys, policy, reference, runs, failed, ``target_reach_rate`` (share of runs that reached the first
    target), ``regret`` and ``regret_ci95``, ``member``, then for each figure ``*_mean``, ``*_ci95`` (half-width),
    ``*_diff`` (mean of figure minus the reference's at the same seed), ``*_diff_ci95`` and ``*_win_rate`` (share of
    shared seeds that are better than the reference: of the accuracy higher, of other figures lower; ties half).
    comparison.csv holds the same in long form (`prefine.emulator.analysis.longform`).

    ``family`` are the runs of hindsight.csv: with them, each combination has a row ``hindsight`` too, and each policy
    its regret (`prefine.emulator.analysis.hindsight`).
    """
    keys, figures = varied_keys(runs), figures_of(runs)
    yardsticks = _yardsticks(None if family is None else family.reindex(columns=runs.columns), keys)
    return pd.DataFrame(
        [
            row
            for varied, group in groups(runs, keys)
            for row in _rows(varied, group, reference, figures, yardsticks.get(repr(varied), _NO_FAMILY))
        ]
    )


class _Yardstick(NamedTuple):
    """The cross-fitted runs of the family in one combination, and its best member."""

    runs: pd.DataFrame
    member: str


_UNKNOWN = statistics.Estimate(np.nan, np.nan)
_NO_FAMILY = _Yardstick(pd.DataFrame({name: [] for name in RunRecord._fields}), "")


def _yardsticks(family: pd.DataFrame | None, keys: Sequence[str]) -> dict[str, _Yardstick]:
    """By combination of varied values; those where no member of the family is left have none."""
    if family is None:
        return {}
    found = {
        repr(varied): _Yardstick(hindsight.cross_fitted(group), hindsight.best_member(group))
        for varied, group in groups(family, keys)
    }
    return {case: yardstick for case, yardstick in found.items() if len(yardstick.runs)}


def _rows(
    varied: dict[str, object], group: pd.DataFrame, reference: str, figures: list[str], yardstick: _Yardstick
) -> Iterator[dict[str, object]]:
    done = group[group["status"] == "done"]
    every = Scores.of(done, figures)
    mine_of = places(done["policy"])
    baseline = every.taken(mine_of.get(reference, NOWHERE))
    counts = group["policy"].value_counts()
    for policy in group["policy"].drop_duplicates():
        at = mine_of.get(policy, NOWHERE)
        regret = hindsight.regret(yardstick.runs, done.iloc[at]) if len(yardstick.runs) else _UNKNOWN
        yield {
            **varied,
            "policy": policy,
            "reference": reference,
            "runs": len(at),
            "failed": int(counts[policy]) - len(at),
            "target_reach_rate": every.taken(at).reach_rate,
            "regret": regret.mean,
            "regret_ci95": regret.half_width,
            "member": "",
            **_estimates(every.taken(at), baseline, figures),
        }
    if len(yardstick.runs):
        best = Scores.of(yardstick.runs, figures)
        yield {
            **varied,
            "policy": hindsight.NAME,
            "reference": reference,
            "runs": len(yardstick.runs),
            "failed": 0,
            "target_reach_rate": best.reach_rate,
            "regret": np.nan,
            "regret_ci95": np.nan,
            "member": yardstick.member,
            **_estimates(best, baseline, figures),
            f"{SCORE}_mean": hindsight.accuracy(yardstick.runs),
        }


def _estimates(mine: Scores, baseline: Scores, figures: list[str]) -> dict[str, float]:
    """Mean and difference to the reference of each figure, with their intervals, and how often it is better."""
    mean, half_width = statistics.estimates(mine.figures)
    _, at_mine, at_baseline = np.intersect1d(mine.seeds, baseline.seeds, return_indices=True)
    order = np.argsort(at_mine)
    values = mine.figures[:, at_mine[order]]
    against = baseline.figures[:, at_baseline[order]]
    difference, difference_half_width = statistics.estimates(statistics.paired(values, against))
    better = np.array(
        [np.nan if figure in _NEITHER_BETTER else 1.0 if figure in _MORE_IS_BETTER else -1.0 for figure in figures]
    )[:, None]
    win_rate = statistics.win_rates(better * values, better * against)
    columns = {
        "mean": mean,
        "ci95": half_width,
        "diff": difference,
        "diff_ci95": difference_half_width,
        "win_rate": win_rate,
    }
    names = [f"{figure}_{part}" for figure in figures for part in columns]
    return dict(zip(names, np.stack([*columns.values()], axis=1).ravel().tolist(), strict=True))


def ranking(runs: pd.DataFrame) -> pd.DataFrame:
    """ranking.csv: how stable the ranking of policies is over seeds, and how well the bounds foretell it.

    One row per combination of varied values. ``accuracy_w``, ``grad_norm_w``: Kendall's W over seeds. ``*_tau_*``:
    Kendall's tau over the policies' means between a bound and what was realised, signed so that 1 means "the lower
    bound is always the better result".
    """
    return pd.DataFrame([{**varied, **_agreement(group)} for varied, group in groups(runs, varied_keys(runs))])


def _agreement(group: pd.DataFrame) -> dict[str, object]:
    done = group[group["status"] == "done"]
    of_policy = places(done["policy"]).values()
    means = {
        name: [mean(column[at]) for at in of_policy]
        for name in ("bound", "bound_ft", REALISED, SCORE)
        for column in [done[name].to_numpy(float)]
    }
    row: dict[str, object] = {
        "policies": len(of_policy),
        "seeds": done["seed"].nunique(),
        "accuracy_w": statistics.kendall_w(by_seed(done)),
        "grad_norm_w": statistics.kendall_w(by_seed(done, REALISED)),
    }
    for bound in ("bound", "bound_ft"):
        row[f"{bound}_tau_grad_norm"] = statistics.kendall_tau(means[bound], means[REALISED])
        row[f"{bound}_tau_accuracy"] = statistics.kendall_tau(means[bound], np.negative(means[SCORE]))
    return row
