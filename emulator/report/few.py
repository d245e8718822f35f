"""What a report of many policies and many rows shows of them, so that it stays one that a person can open."""

from dataclasses import replace

from prefine.emulator.analysis.output import Tables
from prefine.emulator.analysis.tables import SCORE

MOST_POLICIES = 12
"""In a plot: more lines than that nobody can tell apart."""

MOST_ROWS = 500
"""In a table of the page; the CSV files have all."""


def few_policies(tables: Tables) -> Tables:
    """``tables`` of at most `MOST_POLICIES`: the reference and those with the highest mean test accuracy."""
    if len(tables.policies) <= MOST_POLICIES:
        return tables
    means = tables.done.groupby("policy", sort=False)[SCORE].mean().sort_values(ascending=False, kind="stable")
    ordered = dict.fromkeys([tables.reference, *means.index, *tables.policies])
    chosen = list(ordered)[:MOST_POLICIES]
    runs = tables.runs[tables.runs["policy"].isin(chosen)]
    return replace(
        tables,
        runs=runs,
        rounds=tables.rounds[tables.rounds["run_id"].isin(runs["run_id"])],
        devices=tables.devices[tables.devices["run_id"].isin(runs["run_id"])],
        comparison=tables.comparison[~tables.comparison["policy"].isin([*set(tables.policies) - set(chosen)])],
        rehearsals=tables.rehearsals
        if tables.rehearsals.empty
        else tables.rehearsals[tables.rehearsals["policy"].isin(chosen)],
    )
