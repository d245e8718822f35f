"""Numbers and findings in words: what a reader may conclude, and no more."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from emulator.compare import SCORE
from emulator.report.data import Tables, label


def number(value: float, digits: int = 4) -> str:
    """``value`` for a table; what is not known is a dash.

    >>> number(0.123456), number(123456.0), number(float("nan"))
    ('0.1235', '1.235e+05', '-')
    """
    return "-" if pd.isna(value) else f"{value:.{digits}g}"


def plus_minus(mean: float, half_width: float, digits: int = 4) -> str:
    """``mean ± half_width``, the interval to two digits; without an interval, the mean alone."""
    return number(mean, digits) if pd.isna(half_width) else f"{number(mean, digits)} ± {number(half_width, 2)}"


def signed(mean: float, half_width: float) -> str:
    """A difference in accuracy with its sign, to the third decimal."""
    if pd.isna(mean):
        return "-"
    return f"{mean:+.3f}" if pd.isna(half_width) else f"{mean:+.3f} ± {half_width:.3f}"


def difference(row: Mapping[Hashable, Any]) -> str:
    """A row of comparison.csv: by how much its accuracy differs from the reference's; nothing for the reference."""
    if row["policy"] == row["reference"]:
        return "-"
    return signed(row[f"{SCORE}_diff"], row[f"{SCORE}_diff_ci95"])


def verdict(row: Mapping[Hashable, Any]) -> str:
    """One sentence on a row of comparison.csv: accuracy against the reference; no winner if the interval holds zero."""
    policy, reference = row["policy"], row["reference"]
    gain, half_width = row[f"{SCORE}_diff"], row[f"{SCORE}_diff_ci95"]
    if pd.isna(gain):
        return f"{policy}: no shared finished seeds with {reference}, so no difference can be given."
    size = f"{signed(gain, half_width)} test accuracy against {reference}"
    if pd.isna(half_width):
        return f"{policy}: {size}; one seed alone gives no interval."
    if abs(gain) <= half_width:
        return f"{policy}: {size}; the interval holds zero: no winner."
    return f"{policy}: {size}; {policy if gain > 0 else reference} is ahead."


def findings(tables: Tables) -> Iterator[tuple[str, Sequence[str]]]:
    """For each combination of varied values, its label and one sentence per policy beside the reference."""
    keys = tables.keys
    for values, group in (
        tables.comparison.groupby(keys, sort=False, dropna=False) if keys else [((), tables.comparison)]
    ):
        rows = group.to_dict("records")
        title = label(dict(zip(keys, values, strict=True)))
        yield (
            title,
            [verdict(row) for row in rows if row["policy"] != row["reference"]],
        )
