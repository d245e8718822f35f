"""Numbers, labels and findings in words: what a reader may conclude, and no more."""

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from prefine.emulator.analysis.comparison import groups
from prefine.emulator.analysis.output import Tables
from prefine.emulator.analysis.tables import SCORE
from prefine.emulator.analysis.wording import label, signed

MAX_CASES = 6
_NOTHING: dict[Hashable, Any] = {f"{SCORE}_diff": math.nan, f"{SCORE}_diff_ci95": math.nan}


def cases(frame: pd.DataFrame, keys: Sequence[str]) -> Iterator[tuple[str, pd.DataFrame]]:
    """``frame`` split by the values of ``keys``, each part with its label; one part without label if there are none.

    Of more than six parts, six at even distances, first and last among them, stand for all.
    """
    parts = list(groups(frame, keys))
    last = len(parts) - 1
    chosen = range(len(parts)) if last < MAX_CASES else [round(i * last / (MAX_CASES - 1)) for i in range(MAX_CASES)]
    for index in chosen:
        varied, part = parts[index]
        yield label(varied), part


def finding(row: Mapping[Hashable, Any]) -> str:
    """One sentence on a row of the comparison: accuracy against the reference; no winner if the interval holds zero."""
    policy, reference = row["policy"], row["reference"]
    gain, half_width = row[f"{SCORE}_diff"], row[f"{SCORE}_diff_ci95"]
    if pd.isna(gain):
        return f"{policy}: no shared finished seeds with {reference}, so no difference can be given."
    size = f"{signed(gain, half_width)} test accuracy against {reference}"
    if pd.isna(half_width):
        return f"{policy}: {size}; one seed alone gives no interval."
    if gain == half_width == 0.0:
        return f"{policy}: the same test accuracy as {reference} under every seed."
    if abs(gain) <= half_width:
        return f"{policy}: {size}; the interval holds zero: no winner."
    return f"{policy}: {size}; {policy if gain > 0 else reference} is ahead."


def findings(tables: Tables) -> list[str]:
    """One sentence for each policy beside the reference, where nothing was varied."""
    rows = [] if tables.keys else tables.competitors.to_dict("records")
    return [finding(row) for row in rows if row["policy"] != row["reference"]]


def gains(tables: Tables) -> list[tuple[str, list[str]]]:
    """Where something was varied: for each combination, its label and every other policy's gain over the reference.

    A gain whose interval does not hold zero is marked by an arrow.
    """
    if not tables.keys:
        return []
    rows, shown = [], tables.competitors[[*tables.keys, "policy", f"{SCORE}_diff", f"{SCORE}_diff_ci95"]]
    for varied, group in groups(shown, tables.keys):
        by_policy = {row["policy"]: row for row in group.to_dict("records")}
        rows.append((label(varied), [_gain(by_policy.get(policy, _NOTHING)) for policy in others(tables)]))
    return rows


def others(tables: Tables) -> list[str]:
    """All policies but the reference."""
    return [policy for policy in tables.policies if policy != tables.reference]


def _gain(row: Mapping[Hashable, Any]) -> str:
    gain, half_width = row[f"{SCORE}_diff"], row[f"{SCORE}_diff_ci95"]
    arrow = "" if pd.isna(half_width) or abs(gain) <= half_width else " \u25b2" if gain > 0 else " \u25bc"
    return signed(gain, half_width) + arrow


def calibration(cost: Mapping[str, Any]) -> str:
    """What measuring the bound's constants took and saw, in two sentences; nothing where they were given."""
    if not cost:
        return ""
    rounds = " and ".join(
        f"{sum(cost[key].values())} rounds of {stage}"
        for key, stage in (("pretrain_rounds", "pre-training"), ("finetune_rounds", "fine-tuning"))
    )
    delay_s, energy_j = cost["delay_s"], cost["energy_j"]
    took = (
        "more than any budget (a device cannot be reached)"
        if None in (delay_s, energy_j)
        else (f"{delay_s:.4g} s and {energy_j:.4g} J of this world")
    )
    charged = "taken from the budgets of the policies that use them" if cost["charged"] else "not on the clock"
    return (
        f"Measured by calibration runs: {rounds}, {took}, {charged}. They see {cost['sees']}; so does a policy that "
        "rehearses on task data."
    )
