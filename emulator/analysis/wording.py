"""Numbers and names as a reader wants them: short, with their intervals, and a dash for what is not known."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import pandas as pd


def shown(value: object) -> str:
    """A varied value as short as it can be written."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def label(varied: Mapping[str, object]) -> str:
    """``delay_s = 10, energy_j = 20``: the last part of each key is enough for a reader."""
    return ", ".join(f"{key.rpartition('.')[2]} = {shown(value)}" for key, value in varied.items())


def number(value: float, digits: int = 4) -> str:
    """``value`` for a table; what is not known is a dash.

    >>> number(0.123456), number(123456.0), number(float("nan"))
    ('0.1235', '1.235e+05', '-')
    """
    return "-" if pd.isna(value) else f"{value:.{digits}g}"


def percent(share: float) -> str:
    """A share of runs in per cent."""
    return "-" if pd.isna(share) else f"{100 * share:.0f} %"


def plus_minus(mean: float, half_width: float, digits: int = 4) -> str:
    """``mean ± half_width``, the interval to two digits; without an interval, the mean alone."""
    if pd.isna(half_width):
        return number(mean, digits)
    rounding = abs(mean) * 1e-12
    return f"{number(mean, digits)} ± {number(half_width if half_width > rounding else 0.0, 2)}"


def signed(mean: float, half_width: float) -> str:
    """A difference in accuracy with its sign, to the third decimal.

    >>> signed(0.0123, 0.004), signed(-1e-5, float("nan"))
    ('+0.012 ± 0.004', '0.000')
    """
    if pd.isna(mean):
        return "-"
    size = f"{mean:+.3f}" if abs(mean) >= 0.0005 else "0.000"
    return size if pd.isna(half_width) else f"{size} ± {half_width:.3f}"


def difference(row: Mapping[Hashable, Any]) -> str:
    """A row of the comparison: by how much its accuracy differs from the reference's; a dash for the reference."""
    if row["policy"] == row["reference"]:
        return "-"
    return signed(row["test_accuracy_diff"], row["test_accuracy_diff_ci95"])


def regret(row: Mapping[Hashable, Any]) -> str:
    """A row of the comparison: the accuracy lost against the best share in hindsight; a dash where nobody asked."""
    if pd.isna(row["regret"]):
        return "-"
    half_width = row["regret_ci95"]
    return f"{row['regret']:.3f}" + ("" if pd.isna(half_width) else f" ± {half_width:.3f}")


def listed(items: Sequence[str]) -> str:
    """The items in a sentence.

    >>> listed(["a"]), listed(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    return " and ".join(filter(None, [", ".join(items[:-1]), *items[-1:]]))
