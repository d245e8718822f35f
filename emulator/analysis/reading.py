"""Tables of an output folder, read from files that anybody may have edited, and their Parquet copies."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from prefine.emulator.analysis.cells import meant, texts_mapped
from prefine.emulator.analysis.entries import FILES, HINDSIGHT, REHEARSALS, Record, column_types
from prefine.emulator.analysis.longform import PARTS, wide
from prefine.emulator.analysis.tables import NAME, VALIDATED
from prefine.emulator.analysis.targets import is_target
from prefine.emulator.errors import InputError
from prefine.emulator.files import atomic_path
from prefine.emulator.records import RunRecord
from prefine.emulator.types import Rehearsed

READ: Mapping[str, Record] = {**FILES, HINDSIGHT: RunRecord, REHEARSALS: Rehearsed}
"""What can be read, with the record that has its columns."""

_EMPTY_NUMBERS = {part: [""] for part in PARTS}


def read_table(folder: Path, name: str) -> pd.DataFrame:
    """The table ``name`` (``runs``, ``rounds``, ``devices``, ``clients``, ``hindsight``, ...) of an output folder.

    Raises InputError, one line, where the file is missing, lacks a column or holds something that is no number.
    """
    path = folder / f"{name}.csv"
    record = READ[name]
    types: dict[str, str] = {"policy" if name == REHEARSALS else NAME: "str", **column_types(record)}
    texts = ["policy", *(column for column, kind in types.items() if kind == "str")]
    numbers = [column for column, kind in types.items() if kind != "str"]
    try:
        frame = pd.read_csv(
            path,
            dtype=dict.fromkeys(texts, "str"),
            keep_default_na=False,
            na_values={column: [""] for column in numbers},
        )
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; is {folder} an output folder of compare, run or sweep?") from None
    except (OSError, ValueError) as error:  # ParserError and UnicodeDecodeError are ValueErrors
        raise InputError(f"{path}: cannot be read as a table: {_one_line(error)}") from error
    frame = texts_mapped(frame, meant)
    types = {column: kind for column, kind in types.items() if column in frame.columns or column not in VALIDATED}
    numbers = [column for column in numbers if column in types]
    missing = [column for column in types if column not in frame.columns and column not in record._field_defaults]
    if missing:
        raise InputError(f"{path}: column {missing[0]!r} is missing; its columns are {', '.join(types)}")
    defaults = {name: value for name, value in record._field_defaults.items() if name in types}
    frame = frame.assign(**{name: value for name, value in defaults.items() if name not in frame.columns})
    targets = [column for column in frame.columns if is_target(column)]
    frame = frame.assign(**{column: frame[column].replace("", math.nan) for column in targets})
    for column in targets:
        _check_numbers(path, frame[column], "float64")
    for column in numbers:
        _check_numbers(path, frame[column], types[column])
    return frame.astype({column: types.get(column, "float64") for column in (*numbers, *targets)})


def read_comparison(folder: Path) -> pd.DataFrame:
    """comparison.csv of an output folder in wide form, as `Tables.comparison` is.

    Raises InputError, one line, where the file is missing or is no such table.
    """
    path = folder / "comparison.csv"
    texts = ("policy", "reference", "figure", "member")
    try:
        frame = pd.read_csv(path, dtype=dict.fromkeys(texts, "str"), keep_default_na=False, na_values=_EMPTY_NUMBERS)
        return wide(texts_mapped(frame, meant))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; prefine report {folder} writes it") from None
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"{path}: is no table of policies and figures; prefine report {folder} makes it anew"
        ) from error


def _check_numbers(path: Path, column: "pd.Series[Any]", kind: str) -> None:
    """Raises InputError with the line of the first value that is no number of ``kind``, a missing float excepted."""
    is_numeric = column.dtype.kind in "if"
    wrong = column.isna() if is_numeric else column.map(lambda value: not _is_number(value, kind))
    if kind == "float64":
        wrong &= column.notna()
    elif is_numeric:
        wrong |= column.abs() >= 2.0**63  # infinity too
    if wrong.any():
        row = int(wrong.to_numpy().argmax())
        raise InputError(f"{path}, line {row + 2}: {column.name} = {str(column.iloc[row])!r} is not a number")


def _is_number(value: object, kind: str) -> bool:
    """Whether ``value``, which pandas took for no number it can hold, is one nevertheless."""
    try:
        number = float(str(value))
    except (OverflowError, ValueError):
        return False
    return not math.isnan(number) and (kind == "float64" or abs(number) < 2**63)


def require_parquet() -> None:
    """Raises InputError where Parquet tables are asked for but pyarrow cannot be imported."""
    try:
        import pyarrow  # noqa: F401  # optional
    except ImportError:
        raise InputError("tables = 'parquet' needs pyarrow: pip install 'prefine[parquet]'") from None


def write_parquet(folder: Path) -> None:
    """Write each table of ``folder`` as Parquet beside its CSV file; raises InputError without pyarrow."""
    require_parquet()
    for name in (name for name in (*FILES, HINDSIGHT) if (folder / f"{name}.csv").exists()):
        with atomic_path(folder / f"{name}.parquet") as temporary:
            read_table(folder, name).to_parquet(temporary, index=False)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
