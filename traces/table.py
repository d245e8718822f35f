"""CSV files with a header: reading the rows, and importing named columns of them."""

import csv
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np

from prefine.emulator.channel.trace import natural_end_s
from prefine.emulator.errors import InputError
from prefine.emulator.text import first_bad, numbers, quoted, wrong
from prefine.emulator.types import FloatArray
from prefine.traces.cooked import check_times
from prefine.traces.options import Unit
from prefine.traces.series import Quantity, Series

MISSING = frozenset({"", "-", "na", "n/a", "nan", "null", "none"})
TIME_COLUMNS = ("time_s", "time", "t", "seconds", "timestamp_s", "timestamp", "seq_num")
MAX_VALUE = 1e15
FACTOR = {"bit/s": 1.0, "kbit/s": 1e3, "Mbit/s": 1e6}
SUFFIX: dict[str, Unit] = {
    "mbps": "Mbit/s",
    "mbit_s": "Mbit/s",
    "kbps": "kbit/s",
    "kbit_s": "kbit/s",
    "bps": "bit/s",
    "bit_s": "bit/s",
    "snr": "snr_db",
    "snr_db": "snr_db",
    "sinr": "snr_db",
    "sinr_db": "snr_db",
    "rsrp": "dbm",
    "dbm": "dbm",
    "gain_db": "gain_db",
    "gain": "gain",
}
"""What a column measures, by how its name ends; the longest ending that fits counts."""


@dataclass(frozen=True)
class Table:
    """Header and rows of a CSV file; ``line`` (n,) is where each row stands."""

    source: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    line: FloatArray

    def texts(self, name: str) -> list[str]:
        """The column called ``name``. Raises InputError if there is none."""
        if name not in self.header:
            raise wrong(self.source, 1, f"has no column {quoted(name)}; columns: {', '.join(self.header)}")
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


def parse_table(
    lines: Iterable[str],
    source: str,
    columns: Sequence[str] = (),
    unit: Unit | None = None,
    time_column: str | None = None,
    step_s: float | None = None,
) -> tuple[Series, ...]:
    """One device for each of ``columns``; by default every column whose name ends in a known unit (`SUFFIX`).

    Times come from ``time_column`` (default: the first of `TIME_COLUMNS` that is there), or are ``step_s`` apart.
    """
    table = parse_csv(lines, source)
    time_s = _times(table, time_column, step_s)
    chosen = tuple(columns) or tuple(name for name in table.header if _unit(name) is not None and name != time_column)
    if not chosen:
        raise wrong(
            source,
            1,
            f"no column ends in {', '.join(SUFFIX)}; name one by --column and --unit; "
            f"columns: {', '.join(table.header)}",
        )
    return tuple(_series(table, name, time_s, unit or _unit(name)) for name in chosen)


def _times(table: Table, time_column: str | None, step_s: float | None) -> FloatArray:
    if step_s is not None:
        return step_s * np.arange(len(table.rows), dtype=np.float64)
    by_name = {_plain(name): name for name in reversed(table.header)}
    name = time_column or next((by_name[known] for known in TIME_COLUMNS if known in by_name), None)
    if name is None:
        raise wrong(
            table.source,
            1,
            f"no column is called {', '.join(TIME_COLUMNS)}; name it by --time-column, or give --step-s",
        )
    time_s = table.numbers(name)
    check_times(time_s, table.line, table.source, "; or give --step-s for rows that are evenly spaced")
    first: FloatArray = time_s - time_s[0]
    return first


def _plain(name: str) -> str:
    """``Throughput (Mbps)`` as ``throughput_mbps``."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def _unit(name: str) -> Unit | None:
    plain = _plain(name)
    fitting = [ending for ending in SUFFIX if plain == ending or plain.endswith("_" + ending)]
    return SUFFIX[max(fitting, key=len)] if fitting else None


def _series(table: Table, name: str, time_s: FloatArray, unit: Unit | None) -> Series:
    if unit is None:
        raise InputError(
            f"{table.source}: what column {quoted(name)} measures is not clear; give --unit {get_args(Unit)}"
        )
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
    notes = (f"column {name} in {unit}", *((f"{missing} values missing",) if missing else ()))
    return Series(time_s, value, quantity, natural_end_s(time_s), notes)
