"""Records as pandas tables, and tables as files: column names are field names, floats keep every digit."""

import importlib.util
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_type_hints

import pandas as pd

from prefine.emulator.errors import InputError
from prefine.emulator.files import atomic_path
from prefine.emulator.records import DeviceRecord, RoundRecord, RunRecord, RunResult
from prefine.emulator.types import Rehearsed

Record = type[RunRecord] | type[RoundRecord] | type[DeviceRecord]
Varied = tuple[tuple[str, object], ...]
"""The scenario keys that a sweep varied, with one run's values."""

FILES: Mapping[str, Record] = {"runs": RunRecord, "rounds": RoundRecord, "devices": DeviceRecord}
_VARIED_AFTER = "seed"


def column_types(record: Record) -> dict[str, str]:
    """The pandas dtype of each column of ``record``'s table, in order."""
    hints = get_type_hints(record)
    return {name: {int: "int64", float: "float64"}.get(hints[name], "str") for name in record._fields}


def table(record: Record, rows: Iterable[tuple[object, ...]]) -> pd.DataFrame:
    """The ``rows``, all of class ``record``, as a table; without rows, one that has the columns nevertheless."""
    types = column_types(record)
    return pd.DataFrame(list(rows), columns=list(types)).astype(types)


def runs_table(rows: Sequence[tuple[Varied, RunRecord]]) -> pd.DataFrame:
    """One row per run; every varied scenario key is a column after ``seed``, in the order in which it was varied."""
    runs = table(RunRecord, [run for _, run in rows])
    keys = list(dict.fromkeys(key for varied, _ in rows for key, _ in varied))
    at = list(runs.columns).index(_VARIED_AFTER) + 1
    for offset, key in enumerate(keys):
        runs.insert(at + offset, key, [dict(varied).get(key) for varied, _ in rows])
    return runs


def varied_keys(runs: pd.DataFrame) -> list[str]:
    """The scenario keys that were varied: the columns of ``runs`` that no RunRecord has."""
    known = column_types(RunRecord)
    return [name for name in runs.columns if name not in known]


def write_csv(path: Path, frame: pd.DataFrame) -> None:
    """Write ``frame`` atomically; NaN is an empty field, floats are written so that they read back exactly."""
    with atomic_path(path) as temporary:
        frame.to_csv(temporary, index=False, lineterminator="\n")


def write_tables(folder: Path, results: Iterable[tuple[Varied, RunResult]]) -> pd.DataFrame:
    """Write runs.csv, rounds.csv and devices.csv into ``folder``, one result in memory at a time; return the runs.

    Where policies rehearsed, rehearsals.csv too.
    """
    rows: list[tuple[Varied, RunRecord]] = []
    rehearsals: dict[tuple[str, Varied], tuple[Rehearsed, ...]] = {}
    with (
        atomic_path(folder / "rounds.csv") as rounds_path,
        atomic_path(folder / "devices.csv") as devices_path,
        rounds_path.open("w", newline="") as rounds,
        devices_path.open("w", newline="") as devices,
    ):
        for varied, result in results:
            header = not rows
            table(RoundRecord, result.rounds).to_csv(rounds, index=False, header=header, lineterminator="\n")
            table(DeviceRecord, result.devices).to_csv(devices, index=False, header=header, lineterminator="\n")
            rows.append((varied, result.run))
            rehearsals.setdefault((result.run.policy, varied), result.rehearsal)
    runs = runs_table(rows)
    write_csv(folder / "runs.csv", runs)
    _write_rehearsals(folder / "rehearsals.csv", rehearsals)
    return runs


def _write_rehearsals(path: Path, rehearsals: Mapping[tuple[str, Varied], tuple[Rehearsed, ...]]) -> None:
    """One row per candidate of each policy that rehearsed, in each scenario; no file where none did."""
    rows = [
        {"policy": policy, **dict(varied), **row._asdict()}
        for (policy, varied), table in rehearsals.items()
        for row in table
    ]
    if rows:
        write_csv(path, pd.DataFrame(rows))
    else:
        path.unlink(missing_ok=True)


def read_table(folder: Path, name: str) -> pd.DataFrame:
    """The table ``name`` (``runs``, ``rounds`` or ``devices``) of an output folder.

    Raises InputError, one line, where the file is missing, lacks a column or holds something that is no number.
    """
    path = folder / f"{name}.csv"
    types = column_types(FILES[name])
    numbers = [column for column, kind in types.items() if kind != "str"]
    try:
        frame = pd.read_csv(
            path,
            dtype={column: kind for column, kind in types.items() if kind == "str"},
            keep_default_na=False,
            na_values={column: [""] for column in numbers},
        )
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; is {folder} an output folder of compare, run or sweep?") from None
    except (OSError, ValueError) as error:  # ParserError and UnicodeDecodeError are ValueErrors
        raise InputError(f"{path}: cannot be read as a table: {_one_line(error)}") from error
    missing = [column for column in types if column not in frame.columns]
    if missing:
        raise InputError(f"{path}: column {missing[0]!r} is missing; its columns are {', '.join(types)}")
    for column in numbers:
        _check_numbers(path, frame[column], may_be_missing=types[column] == "float64")
    return frame.astype({column: types[column] for column in numbers})


def _check_numbers(path: Path, column: "pd.Series[Any]", *, may_be_missing: bool) -> None:
    """Raises InputError with the line of the first value that is no number."""
    wrong = pd.to_numeric(column, errors="coerce").isna()
    if may_be_missing:
        wrong &= column.notna()
    if wrong.any():
        row = int(wrong.to_numpy().argmax())
        raise InputError(f"{path}, line {row + 2}: {column.name} = {str(column.iloc[row])!r} is not a number")


def require_parquet() -> None:
    """Raises InputError where Parquet tables are asked for but pyarrow is not installed."""
    if importlib.util.find_spec("pyarrow") is None:
        raise InputError("tables = 'parquet' needs pyarrow: pip install 'prefine[parquet]'")


def write_parquet(folder: Path) -> None:
    """Write each table of ``folder`` as Parquet beside its CSV file; raises InputError without pyarrow."""
    require_parquet()
    for name in FILES:
        with atomic_path(folder / f"{name}.parquet") as temporary:
            read_table(folder, name).to_parquet(temporary, index=False)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
