"""CSV files with a header: reading the rows, and importing named columns of them."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import get_args

import numpy as np

from prefine.emulator.channel.trace import natural_end_s
from prefine.emulator.errors import InputError
from prefine.emulator.text import first_bad, numbers, quoted, wrong
from prefine.emulator.types import FloatArray, IntArray
from prefine.traces.columns import DEVICE_COLUMNS, TIME_COLUMNS, called, listed, unit_of, values_of
from prefine.traces.cooked import check_times
from prefine.traces.options import Unit
from prefine.traces.series import Quantity, Series

MISSING = frozenset({"", "-", "na", "n/a", "nan", "null", "none"})
MAX_VALUE = 1e15
FACTOR = {"bit/s": 1.0, "kbit/s": 1e3, "Mbit/s": 1e6}


@dataclass(frozen=True)
class Table:
    """Header and rows of a CSV file; ``line`` (n,) is where each row stands."""

    source: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    line: FloatArray

    def where(self, kept: IntArray) -> "Table":
        """The rows whose numbers are ``kept``."""
        return replace(self, rows=tuple(self.rows[at] for at in kept), line=self.line[kept])

    def texts(self, name: str) -> list[str]:
        """The column called ``name``. Raises InputError if there is none, or more than one."""
        if name not in self.header:
            raise wrong(self.source, 1, f"has no column {quoted(name)}; columns: {listed(self.header)}")
        if self.header.count(name) > 1:
            raise wrong(self.source, 1, f"has {self.header.count(name)} columns {quoted(name)}; rename all but one")
        at = self.header.index(name)
        return [row[at] for row in self.rows]

    def numbers(self, name: str) -> FloatArray:
        """The column called ``name``, NaN where missing."""
        return numbers(self.texts(name), name, self.line, self.source, MISSING)


def parse_csv(lines: Iterable[str], source: str) -> Table:
    """The table in ``lines``, fields separated by comma, semicolon or tab; ``#`` lines are comments.

    Raises InputError: nothing there, a row with another number of fields than the header, broken quotes.
    """
    kept = [(number, line) for number, line in enumerate(lines, 1) if line.strip() and not line.startswith("#")]
    if not kept:
        raise wrong(source, 1, "is empty; a CSV file starts with a header of column names")
    delimiter = max(",;\t", key=kept[0][1].count)
    reader = csv.reader((line for _, line in kept), delimiter=delimiter, strict=True)
    rows: list[tuple[int, tuple[str, ...]]] = []
    try:
        for fields in reader:
            rows.append((kept[reader.line_num - 1][0], tuple(field.strip() for field in fields)))
    except csv.Error as error:
        raise wrong(source, kept[min(reader.line_num, len(kept)) - 1][0], f"is no CSV ({error})") from error
    header = rows.pop(0)[1]
    if not rows:
        raise wrong(source, kept[0][0], "has a header and no rows")
    for number, row in rows:
        if len(row) != len(header):
            raise wrong(source, number, f"has {len(row)} fields, the header has {len(header)}")
    line = np.array([number for number, _ in rows], dtype=np.float64)
    return Table(source, header, tuple(row for _, row in rows), line)


@dataclass(frozen=True)
class Columns:
    """What the columns of a table are: those with values (patterns; by default all whose names end in a unit), their
    unit, the column of times or the distance of the rows, and the column that says whose row it is.

    Times and devices are also found by their usual names (`TIME_COLUMNS`, `DEVICE_COLUMNS`); empty, there is none.
    """

    values: tuple[str, ...] = ()
    unit: Unit | None = None
    time: str | None = None
    step_s: float | None = None
    device: str | None = None


def parse_table(lines: Iterable[str], source: str, columns: Columns = Columns()) -> tuple[Series, ...]:
    """A device for each column of values; with a column of devices, for each of those, in numerical order if numbers.

    Raises InputError where columns are not found or both would make devices, and at values that cannot be.
    """
    table = parse_csv(lines, source)
    time = called(table.header, TIME_COLUMNS) if columns.time is None else columns.time
    device = called(table.header, DEVICE_COLUMNS) if columns.device is None else columns.device
    chosen = values_of(table.header, columns.values, (time, device), source)
    units = [_known(columns.unit or unit_of(name), name, source) for name in chosen]
    notes = [_note([name for name, its in zip(chosen, units, strict=True) if its == unit], unit) for unit in units]
    split = [table]
    if device:
        rows = _rows_by_device(table, device)
        if len(chosen) > 1 and len(rows) > 1:
            raise wrong(
                source,
                1,
                f"column {quoted(device)} names {len(rows)} devices, and there are {len(chosen)} columns of values "
                f"({listed(chosen)}); choose one by --column, or --device-column '' for a device each",
            )
        split = [table.where(kept) for kept in rows.values()]
        notes.append(f"column {device} names {len(rows)} device(s): {listed(list(rows))}")
    times_s = [_times(each, time, columns.step_s) for each in split]
    return tuple(
        _series(each, name, time_s, unit, (*dict.fromkeys(notes),))
        for each, time_s in zip(split, times_s, strict=True)
        for name, unit in zip(chosen, units, strict=True)
    )


def _known(unit: Unit | None, name: str, source: str) -> Unit:
    if unit is None:
        raise InputError(f"{source}: what column {quoted(name)} measures is not clear; give --unit {get_args(Unit)}")
    return unit


def _note(names: Sequence[str], unit: Unit) -> str:
    return f"column {names[0]} in {unit}" if len(names) == 1 else f"{len(names)} columns in {unit}: {listed(names)}"


def _rows_by_device(table: Table, device: str) -> dict[str, IntArray]:
    """The numbers of each device's rows. Raises InputError where a row names none."""
    texts = table.texts(device)
    at = first_bad(np.array([text.lower() in MISSING for text in texts]))
    if at is not None:
        raise wrong(table.source, table.line[at], f"{device} is {quoted(texts[at])}, must name the row's device")
    names, first, of_row = np.unique(texts, return_index=True, return_inverse=True)
    rows = np.split(np.argsort(of_row, kind="stable"), np.cumsum(np.bincount(of_row))[:-1])
    try:
        order = np.argsort(names.astype(np.float64), kind="stable")
    except ValueError:  # words: as they come
        order = np.argsort(first)
    return {str(names[each]): rows[each] for each in order}


def _times(table: Table, name: str | None, step_s: float | None) -> FloatArray:
    if step_s is not None:
        return step_s * np.arange(len(table.rows), dtype=np.float64)
    if not name:
        raise wrong(
            table.source,
            1,
            f"no column is called {', '.join(TIME_COLUMNS)}; name it by --time-column, or give --step-s",
        )
    time_s = table.numbers(name)
    advice = "; or give --step-s for rows that are evenly spaced, --device-column for rows of several devices"
    check_times(time_s, table.line, table.source, advice)
    return time_s


def _series(table: Table, name: str, time_s: FloatArray, unit: Unit, notes: tuple[str, ...]) -> Series:
    value = table.numbers(name)
    quantity: Quantity
    if unit in FACTOR or unit == "gain":
        at = first_bad((value < 0.0) | (value > MAX_VALUE))
        if at is not None:
            raise wrong(table.source, table.line[at], f"{name} is {value[at]:g}, must be from 0 to {MAX_VALUE:g}")
    if unit == "gain":
        with np.errstate(divide="ignore"):
            quantity, value = "gain_db", 10.0 * np.log10(value)
    elif unit in FACTOR:
        quantity, value = "rate_bit_s", value * FACTOR[unit]
    else:
        quantity = {"snr_db": "snr_db", "dbm": "received_dbm", "gain_db": "gain_db"}[unit]  # type: ignore[assignment]  # a literal of literals
    missing = int(np.isnan(value).sum())
    said = (f"column {name}: {missing} values missing",) if missing else ()
    return Series(time_s, value, quantity, natural_end_s(time_s), (*notes, *said))
