"""Cells of CSV files that a spreadsheet must not run: what looks like a formula is written as a text."""

import re
from collections.abc import Callable, Iterable
from typing import Any

import pandas as pd

FORMULA = re.compile(r"'*(?:[=@\t\r]|[+-][^\d.])")


def texts_mapped(frame: pd.DataFrame, change: Callable[[Any], Any]) -> pd.DataFrame:
    """``frame``, but ``change`` was applied to every cell of the columns that hold more than numbers.

    A long column has few different texts, and mostly none to change.
    """
    changed = frame.copy(deep=False)
    for name, column in frame.items():
        if column.dtype.kind not in "biufc" and any(change(value) is not value for value in _different(column)):
            changed[name] = column.map(change)
    return changed


def _different(column: pd.Series) -> Iterable[Any]:
    try:
        return column.unique()
    except TypeError:  # a key was varied whose values are lists or tables
        return column


def harmless(cell: Any) -> Any:
    """``cell``, with an apostrophe before a text that a spreadsheet would take for a formula; `meant` takes it away.

    >>> harmless("=1+1"), harmless("-x"), harmless("-1.5"), harmless("joint-ft")
    ("'=1+1", "'-x", '-1.5', 'joint-ft')
    """
    return f"'{cell}" if isinstance(cell, str) and FORMULA.match(cell) else cell


def meant(cell: Any) -> Any:
    """The text that `harmless` wrote as ``cell``.

    >>> meant(harmless("=1+1")), meant(harmless("'=1+1")), meant("'tis")
    ('=1+1', "'=1+1", "'tis")
    """
    return cell[1:] if isinstance(cell, str) and cell.startswith("'") and FORMULA.match(cell) else cell
