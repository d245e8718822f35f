"""comparison.csv: the comparison of policies in long form, one row for each policy, combination and figure."""

from typing import Any

import numpy as np
import pandas as pd

PARTS = ("mean", "ci95", "diff", "diff_ci95", "win_rate")
"""What is said of each figure."""

_COUNTS = ("runs", "failed")
_OTHERS = ("target_reach_rate", "regret")
"""Figures that have no difference to the reference: in wide form their mean goes by the figure's name alone."""


def long(wide: pd.DataFrame) -> pd.DataFrame:
    """The rows of `prefine.emulator.analysis.comparison.comparison`, each as many as it has figures.

    Columns: varied keys, policy, reference, figure, mean, ci95, diff, diff_ci95, win_rate, runs, failed, member.
    """
    keys = _keys(wide)
    figures = [name.removesuffix("_mean") for name in wide.columns[len(keys) :] if name.endswith("_mean")]
    rows: list[dict[Any, Any]] = []
    for row in wide.to_dict("records"):
        who = {name: row[name] for name in (*keys, "policy", "reference")}
        counts = {name: row[name] for name in (*_COUNTS, "member")}
        rows += [
            {**who, "figure": figure, **{part: row[f"{figure}_{part}"] for part in PARTS}, **counts}
            for figure in figures
        ]
        for figure in _OTHERS:
            said = {"mean": row[figure], "ci95": row.get(f"{figure}_ci95", np.nan)}
            rows.append({**who, "figure": figure, **dict.fromkeys(PARTS, np.nan), **said, **counts})
    return pd.DataFrame(rows)


def wide(long: pd.DataFrame) -> pd.DataFrame:
    """The table of which `long` made ``long``: one row for each policy and combination."""
    keys = _keys(long)
    rows: list[dict[Any, Any]] = []
    for _, group in long.groupby([*keys, "policy"], sort=False, dropna=False):
        first, *_ = records = group.to_dict("records")
        figures = {record["figure"]: record for record in records}
        rate, regret = (figures.pop(name) for name in _OTHERS)
        rows.append(
            {
                **{name: first[name] for name in (*keys, "policy", "reference", *_COUNTS)},
                "target_reach_rate": rate["mean"],
                "regret": regret["mean"],
                "regret_ci95": regret["ci95"],
                "member": first["member"],
                **{f"{name}_{part}": record[part] for name, record in figures.items() for part in PARTS},
            }
        )
    return pd.DataFrame(rows)


def _keys(table: pd.DataFrame) -> list[str]:
    """The varied keys: what stands before the policy."""
    columns = list(table.columns)
    return columns[: columns.index("policy")]
