"""Records as pandas tables, and tables as files: column names are field names, floats keep every digit."""

import importlib.util
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

import pandas as pd

from prefine.emulator.analysis.targets import Best, Targets, climb, columns, is_target, reached
from prefine.emulator.errors import InputError
from prefine.emulator.files import atomic_path
from prefine.emulator.records import DeviceRecord, RoundRecord, RunRecord, RunResult
from prefine.emulator.types import Rehearsed

Record = type[RunRecord] | type[RoundRecord] | type[DeviceRecord] | type[Rehearsed]
Varied = tuple[tuple[str, object], ...]
"""The scenario keys that a sweep varied, with one run's values."""

FILES: Mapping[str, Record] = {"runs": RunRecord, "rounds": RoundRecord, "devices": DeviceRecord}
HINDSIGHT = "hindsight"
"""The table of the runs that are only a yardstick: the same columns as ``runs``, and there only where asked for."""

SCORE = "test_accuracy"
"""The column of runs.csv that policies are compared by."""

REALISED = "mean_grad_norm_sq"
"""The column of runs.csv that Phi bounds."""

_VARIED_AFTER = "seed"

FORMULA = re.compile(r"'*(?:[=@\t\r]|[+-][^\d.])")
"""What a spreadsheet would take for a formula, behind apostrophes or not."""


class _Row(NamedTuple):
    """What is kept of a result until the tables of runs can be written."""

    varied: Varied
    run: RunRecord
    bests: tuple[Best, ...]

    @property
    def case(self) -> str:
        return repr(self.varied)


def column_types(record: Record) -> dict[str, str]:
    """The pandas dtype of each column of ``record``'s table, in order."""
    hints = get_type_hints(record)
    return {name: {int: "int64", float: "float64"}.get(hints[name], "str") for name in record._fields}


def table(record: Record, rows: Iterable[tuple[object, ...]]) -> pd.DataFrame:
    """The ``rows``, all of class ``record``, as a table; without rows, one that has the columns nevertheless."""
    types = column_types(record)
    return pd.DataFrame(list(rows), columns=list(types)).astype(types)


def runs_table(rows: Sequence[tuple[Varied, RunRecord]]) -> pd.DataFrame:
    """One row per run; every varied scenario key is a column after ``seed``, in the order in which it was varied.

    The scenario's own ``seed`` is the column ``scenario.seed``: ``seed`` is the run's.
    """
    runs = table(RunRecord, [run for _, run in rows])
    keys = list(dict.fromkeys(key for varied, _ in rows for key, _ in varied))
    at = list(runs.columns).index(_VARIED_AFTER) + 1
    for offset, key in enumerate(keys):
        column = f"scenario.{key}" if key in RunRecord._fields else key
        runs.insert(at + offset, column, [dict(varied).get(key) for varied, _ in rows])
    return runs


def varied_keys(runs: pd.DataFrame) -> list[str]:
    """The scenario keys that were varied: the columns of ``runs`` that no RunRecord has, nor any target."""
    known = column_types(RunRecord)
    return [name for name in runs.columns if name not in known and not is_target(name)]


def write_csv(path: Path, frame: pd.DataFrame) -> None:
    """Write ``frame`` atomically; NaN is an empty field, floats are written so that they read back exactly."""
    with atomic_path(path) as temporary:
        _texts_mapped(frame, harmless).to_csv(temporary, index=False, lineterminator="\n")


def _texts_mapped(frame: pd.DataFrame, change: Callable[[Any], Any]) -> pd.DataFrame:
    """A copy of ``frame`` in which ``change`` was applied to every cell of the columns that hold more than numbers."""
    changed = frame.copy()
    for name, column in frame.items():
        if column.dtype.kind not in "biufc":
            changed[name] = column.map(change)
    return changed


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


def write_tables(
    folder: Path,
    results: Iterable[tuple[Varied, RunResult]],
    targets: Targets = Targets(),  # noqa: B008  # frozen
    hindsight: Iterable[tuple[Varied, RunResult]] = (),
) -> pd.DataFrame:
    """Write runs.csv, rounds.csv and devices.csv into ``folder``, one result in memory at a time; return the runs.

    Where policies rehearsed, rehearsals.csv too. The results of ``hindsight`` go to hindsight.csv alone, under the same
    targets. What there is no result for is removed.
    """
    rows: list[_Row] = []
    rehearsals: dict[tuple[str, str], tuple[Varied, tuple[Rehearsed, ...]]] = {}
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
            rows.append(_Row(varied, result.run, climb(result.rounds)))
            rehearsals.setdefault((result.run.policy, rows[-1].case), (varied, result.rehearsal))
    first = targets.first((row.case, row.run) for row in rows)
    runs = _reaching(rows, targets, first)
    write_csv(folder / "runs.csv", runs)
    _write_rehearsals(folder / "rehearsals.csv", rehearsals)
    family = [_Row(varied, result.run, climb(result.rounds)) for varied, result in hindsight]
    if family:
        write_csv(folder / f"{HINDSIGHT}.csv", _reaching(family, targets, first))
    else:
        (folder / f"{HINDSIGHT}.csv").unlink(missing_ok=True)
    return runs


def _reaching(rows: Sequence[_Row], targets: Targets, first: Mapping[str, float]) -> pd.DataFrame:
    """The table of ``rows`` with the columns of all targets; ``first`` is the first target of each case."""
    filled = []
    for row in rows:
        time_s, energy_j = reached(row.bests, first[row.case])
        run = row.run._replace(
            target_accuracy=first[row.case], time_to_accuracy_s=time_s, energy_to_accuracy_j=energy_j
        )
        filled.append((row.varied, run))
    runs = runs_table(filled)
    for target in targets.named[1:]:
        found = [reached(row.bests, target) for row in rows]
        for index, name in enumerate(columns(target)):
            runs[name] = [spent[index] for spent in found]
    return runs


def _write_rehearsals(path: Path, rehearsals: Mapping[tuple[str, str], tuple[Varied, tuple[Rehearsed, ...]]]) -> None:
    """One row per candidate of each policy that rehearsed, in each scenario; no file where none did."""
    rows = [
        {"policy": policy, **dict(varied), **row._asdict()}
        for (policy, _), (varied, table) in rehearsals.items()
        for row in table
    ]
    if rows:
        write_csv(path, pd.DataFrame(rows))
    else:
        path.unlink(missing_ok=True)


def read_table(folder: Path, name: str) -> pd.DataFrame:
    """The table ``name`` (``runs``, ``rounds``, ``devices`` or ``hindsight``) of an output folder.

    Raises InputError, one line, where the file is missing, lacks a column or holds something that is no number.
    """
    path = folder / f"{name}.csv"
    record = FILES["runs" if name == HINDSIGHT else name]
    types = column_types(record)
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
    frame = _texts_mapped(frame, meant)
    missing = [column for column in types if column not in frame.columns and column not in record._field_defaults]
    if missing:
        raise InputError(f"{path}: column {missing[0]!r} is missing; its columns are {', '.join(types)}")
    frame = frame.assign(**{name: value for name, value in record._field_defaults.items() if name not in frame.columns})
    targets = [column for column in frame.columns if is_target(column)]
    frame = frame.assign(**{column: frame[column].replace("", math.nan) for column in targets})
    for column in targets:
        _check_numbers(path, frame[column], "float64")
    for column in numbers:
        _check_numbers(path, frame[column], types[column])
    return frame.astype({column: types.get(column, "float64") for column in (*numbers, *targets)})


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
    """Raises InputError where Parquet tables are asked for but pyarrow is not installed."""
    if importlib.util.find_spec("pyarrow") is None:
        raise InputError("tables = 'parquet' needs pyarrow: pip install 'prefine[parquet]'")


def write_parquet(folder: Path) -> None:
    """Write each table of ``folder`` as Parquet beside its CSV file; raises InputError without pyarrow."""
    require_parquet()
    for name in (*FILES, *([HINDSIGHT] if (folder / f"{HINDSIGHT}.csv").exists() else [])):
        with atomic_path(folder / f"{name}.parquet") as temporary:
            read_table(folder, name).to_parquet(temporary, index=False)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
