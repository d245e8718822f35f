"""G-NetTrack logs as in the UCC 5G data set: one row a second, more or less, with what the phone measured.

Raca et al. (2020), "Beyond Throughput, the Next Generation: a 5G Dataset with Channel and Context Metrics", ACM MMSys.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Literal

import numpy as np

from prefine.emulator.errors import InputError
from prefine.emulator.text import quoted, whole, wrong
from prefine.emulator.types import FloatArray
from prefine.traces.series import Quantity, Series
from prefine.traces.table import Table, parse_csv

Column = Literal["SNR", "CQI", "RSRP"]
COLUMNS: tuple[Column, ...] = ("SNR", "CQI", "RSRP")
TIMESTAMPS = ("%Y.%m.%d_%H.%M.%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S")
PLAUSIBLE = {"SNR": (-50.0, 60.0), "CQI": (0.0, 15.0), "RSRP": (-156.0, -20.0)}
"""Phones mark what they do not know by numbers outside these (RSRP -200, 2147483647); such values count as missing."""
LARGEST_STEP_BACK_S = 60.0

CQI_EFFICIENCY = (
    0.0, 0.1523, 0.2344, 0.3770, 0.6016, 0.8770, 1.1758, 1.4766,
    1.9141, 2.4063, 2.7305, 3.3223, 3.9023, 4.5234, 5.1152, 5.5547,
)  # fmt: skip
"""Bit/s/Hz of CQI 0 (out of range) to 15: 3GPP TS 36.213 table 7.2.3-1, the same as TS 38.214 table 5.2.2.1-2."""


def parse_gnettrack(lines: Iterable[str], source: str, column: Column | None = None) -> Series:
    """The series of ``column``, by default the first of SNR, CQI, RSRP that most rows have (else that has any).

    Seconds that repeat are shared evenly among their rows; a clock that steps back a little counts as standing still.
    """
    table = parse_csv(lines, source)
    if "Timestamp" not in table.header:
        raise wrong(source, 1, "has no column 'Timestamp'; is it a G-NetTrack log?")
    second, stood_still = _seconds(table)
    values = {name: _plausible(table, name) for name in COLUMNS if name in table.header}
    chosen = column or _best(values, source)
    if chosen not in values:
        raise wrong(source, 1, f"has no column '{chosen}'; columns: {', '.join(table.header)}")
    value = values[chosen]
    missing = int(np.isnan(value).sum())
    if missing == len(value):
        raise InputError(
            f"{source}: column {chosen} has no values; others: {', '.join(_with_values(values)) or 'none'}"
        )
    notes = [f"column {chosen}", f"{missing} of {len(value)} values missing"]
    if stood_still:
        notes.append(f"the clock stepped back {stood_still} times")
    quantity: Quantity = "snr_db" if chosen == "SNR" else "received_dbm"
    if chosen == "CQI":
        quantity = "efficiency_bit_s_hz"
        known = np.where(np.isnan(value), 0.0, value).astype(np.int64)
        value = np.where(np.isnan(value), np.nan, np.array(CQI_EFFICIENCY)[known])
    return Series(_spread(second), value, quantity, float(second[-1]) + 1.0, tuple(notes))


def _seconds(table: Table) -> tuple[FloatArray, int]:
    """Whole seconds since the first row, never falling, and how often the clock was held for that."""
    texts = table.texts("Timestamp")
    pattern = next((p for p in TIMESTAMPS if _time(texts[0], p) is not None), TIMESTAMPS[0])
    stamps: list[float] = []
    for line, text in zip(table.line, texts, strict=True):
        stamp = _time(text, pattern)
        if stamp is None:
            raise wrong(table.source, line, f"Timestamp is {quoted(text)}, must be as 2020.01.16_12.10.03")
        stamps.append(stamp)
    second = np.array(stamps) - stamps[0]
    highest = np.maximum.accumulate(second)
    back = np.flatnonzero(highest - second > LARGEST_STEP_BACK_S)
    if len(back) > 0:
        by_s = float((highest - second)[back[0]])
        raise wrong(table.source, table.line[back[0]], f"Timestamp is {by_s:g} s before an earlier row's")
    return highest, int(np.sum(np.diff(second) < 0.0))


def _time(text: str, pattern: str) -> float | None:
    try:
        return (datetime.strptime(text, pattern) - datetime(1970, 1, 1)).total_seconds()  # logs say no zone
    except ValueError:
        return None


def _spread(second: FloatArray) -> FloatArray:
    """Rows of one second at even distances within it: strictly rising times."""
    _, first, count = np.unique(second, return_index=True, return_counts=True)
    place = np.arange(len(second)) - np.repeat(first, count)
    time_s: FloatArray = second + place / np.repeat(count, count)
    return time_s


def _plausible(table: Table, name: Column) -> FloatArray:
    value = table.numbers(name)
    lowest, highest = PLAUSIBLE[name]
    plausible = (value >= lowest) & (value <= highest) & (whole(value) | (name != "CQI"))
    return np.where(plausible, value, np.nan)


def _best(values: dict[Column, FloatArray], source: str) -> Column:
    with_values = _with_values(values)
    if not with_values:
        raise InputError(f"{source}: none of the columns {', '.join(COLUMNS)} has values")
    mostly = [name for name in with_values if np.isnan(values[name]).mean() <= 0.5]
    return (mostly or with_values)[0]


def _with_values(values: dict[Column, FloatArray]) -> list[Column]:
    return [name for name, value in values.items() if not np.isnan(value).all()]
