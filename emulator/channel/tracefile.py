"""Canonical trace files: CSV with the header ``time_s,device,gain_db``, comments (``#``) above it."""

import csv
import hashlib
import io
import itertools
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from prefine.emulator.channel.trace import Trace, natural_end_s
from prefine.emulator.errors import InputError
from prefine.emulator.files import write_bytes
from prefine.emulator.text import decoded, first_bad, numbers, quoted, whole, wrong
from prefine.emulator.types import FloatArray, frozen_array

HEADER = "time_s,device,gain_db"
END_KEY = "end_s:"
MAX_GAIN_DB = 200.0
MAX_DEVICES = 1_000_000
MAX_TIME_S = 1e12
_CONTROLS = (b"\0", b"\x0b", b"\x0c", b"\x1c", b"\x1d", b"\x1e")
"""What ends a line, or a number, in some readers and not in others."""


def read_trace(path: Path) -> Trace:
    """The trace in the canonical file at ``path``, with the SHA-256 of the file.

    Raises InputError: the file is missing, is no text, or `parse_trace` refuses it.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); a trace is a CSV file with {HEADER}") from error
    return trace_of(data, str(path))


def trace_of(data: bytes, source: str) -> Trace:
    """The trace in the bytes of a canonical file, with their SHA-256; raises InputError as `read_trace` does."""
    trace = plain_trace(data, source)
    if trace is None:
        trace = parse_trace(decoded(data, source, f"a CSV file with {HEADER}"), source)
    return replace(trace, sha256=hashlib.sha256(data).hexdigest())


def plain_trace(data: bytes, source: str) -> Trace | None:
    """What `parse_trace` makes of a file in which nothing is wrong or unusual, a hundred times as fast; else None."""
    if not data.isascii() or any(control in data for control in _CONTROLS):
        return None
    begin, comments = 0, []
    for number in itertools.count(1):
        end = data.find(b"\n", begin)
        text, begin = data[begin : max(end, begin)].decode().strip(), end + 1
        if end < 0:
            return None
        if text.startswith("#"):
            comments.append((number, text.lstrip("# ")))
        elif text:
            break
    if text != HEADER or data.find(b"#", begin) >= 0:
        return None
    try:
        time_s, device, gain_db = _plain_columns(data, begin)
        unnumbered = np.broadcast_to(0.0, len(time_s))
        _check_rows(time_s, device, gain_db, unnumbered, source)
        return _assembled(time_s, device, gain_db, unnumbered, comments, source)
    except (ValueError, InputError):  # whoever reads line by line will say what it is, and where
        return None


def _plain_columns(data: bytes, begin: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Time, device and gain (n,) of the rows from byte ``begin`` on; raises ValueError where they are not numbers."""
    import pandas as pd  # the planner needs none of it

    rows = io.BytesIO(data)
    rows.seek(begin)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pd.errors.ParserWarning)  # too many fields: the commas are counted below
        table = pd.read_csv(
            rows,
            header=None,
            names=HEADER.split(","),
            index_col=False,
            dtype=np.float64,
            na_filter=False,
            quoting=csv.QUOTE_NONE,
        )
    if data.count(b",", begin) != 2 * len(table) or table.empty:
        raise ValueError("fields are missing, or there are too many")
    time_s, device, gain_db = (np.ascontiguousarray(table[name]) for name in table.columns)
    return time_s, device, gain_db


def parse_trace(lines: Iterable[str], source: str) -> Trace:
    """The trace in ``lines``; ``source`` names them in messages.

    Devices are numbered from 0; per device the times rise strictly from 0; a gain is a number of dB or ``-inf``. A
    comment ``# end_s: 12.5`` (or one value per device, by commas) says where the trace ends; without it the last row
    lasts as long as the one before. Raises InputError with ``source:line: what is wrong, what is allowed``.
    """
    numbered = [(number, text) for number, line in enumerate(lines, 1) if (text := line.strip())]
    comments = [(number, text.lstrip("# ")) for number, text in numbered if text.startswith("#")]
    rows = [(number, text) for number, text in numbered if not text.startswith("#")]
    if not rows:
        raise wrong(source, 1, f"is empty; a trace starts with the header {HEADER}")
    number, header = rows[0]
    if ",".join(name.strip() for name in header.split(",")) != HEADER:
        raise wrong(
            source, number, f"header is {quoted(header)}, must be {HEADER} (other formats: prefine trace convert)"
        )
    if len(rows) == 1:
        raise wrong(source, number, "has no rows; each device needs one at time 0")
    line = np.array([number for number, _ in rows[1:]], dtype=np.float64)
    time_s, device, gain_db = _table(rows[1:], line, source)
    _check_rows(time_s, device, gain_db, line, source)
    return _assembled(time_s, device, gain_db, line, comments, source)


def _assembled(
    time_s: FloatArray,
    device: FloatArray,
    gain_db: FloatArray,
    line: FloatArray,
    comments: list[tuple[int, str]],
    source: str,
) -> Trace:
    """The trace of rows (n,) in any order of devices; ``line`` says where each stands."""
    if np.any(device[1:] < device[:-1]):
        order = np.argsort(device, kind="stable")
        time_s, device, gain_db, line = (column[order] for column in (time_s, device, gain_db, line))
    bounds = np.searchsorted(device, np.arange(1.0, device[-1] + 1.0))
    times, gains, lines = (np.split(column, bounds) for column in (time_s, gain_db, line))
    for number, (rising, where) in enumerate(zip(times, lines, strict=True)):
        _check_times(number, rising, where, source)
    frozen = tuple(map(frozen_array, times))
    provenance = tuple(text for _, text in comments)
    ends = _ends(comments, frozen, source)
    return Trace(frozen, tuple(map(frozen_array, gains)), ends, source=source, provenance=provenance)


def write_trace(path: Path, trace: Trace) -> None:
    """Write ``trace`` to ``path`` in canonical form, atomically."""
    write_bytes(path, "".join(f"{line}\n" for line in format_trace(trace)).encode())


def format_trace(trace: Trace) -> Iterator[str]:
    """The lines of the canonical file: provenance, ends, header, then each device's rows; `parse_trace` undoes it."""
    yield from (f"# {text}" for text in trace.provenance if not text.startswith(END_KEY))
    natural = tuple(natural_end_s(time_s) for time_s in trace.time_s)
    if trace.end_s != natural:
        ends = trace.end_s if len(set(trace.end_s)) > 1 else trace.end_s[:1]
        yield f"# {END_KEY} " + ", ".join(repr(float(end_s)) for end_s in ends)
    yield HEADER
    for device, (time_s, gain_db) in enumerate(zip(trace.time_s, trace.gain_db, strict=True)):
        yield from (f"{t!r},{device},{g!r}" for t, g in zip(time_s.tolist(), gain_db.tolist(), strict=True))


def _check_rows(time_s: FloatArray, device: FloatArray, gain_db: FloatArray, line: FloatArray, source: str) -> None:
    """Each row on its own; where the least and the most of a column are allowed, no row is looked at."""
    if time_s.min() >= 0.0 and time_s.max() <= MAX_TIME_S and gain_db.max() <= MAX_GAIN_DB and _are_devices(device):
        return
    for bad, name, value, allowed in (
        (~((time_s >= 0.0) & (time_s <= MAX_TIME_S)), "time_s", time_s, f"from 0 to {MAX_TIME_S:g} seconds"),
        (
            ~(whole(device) & (device >= 0.0) & (device < MAX_DEVICES)),
            "device",
            device,
            "a whole number from 0",
        ),
        (~(gain_db <= MAX_GAIN_DB), "gain_db", gain_db, f"a number of dB up to {MAX_GAIN_DB:g}, or -inf for no signal"),
    ):
        at = first_bad(bad)
        if at is not None:
            raise wrong(source, line[at], f"{name} is {value[at]:g}, must be {allowed}")


def _are_devices(device: FloatArray) -> bool:
    return bool(device.min() >= 0.0 and device.max() < MAX_DEVICES and (np.floor(device) == device).all())


def _table(rows: list[tuple[int, str]], line: FloatArray, source: str) -> FloatArray:
    """The three columns, shape (3, n): all at once, or, where that fails, one by one to say where and why."""
    try:
        table = np.loadtxt([text for _, text in rows], delimiter=",", comments=None, ndmin=2)
        if table.shape[1] == 3:
            return table.T
    except ValueError:
        pass  # the slow way names the line
    fields = [text.split(",") for _, text in rows]
    for (number, text), row in zip(rows, fields, strict=True):
        if len(row) != 3:
            raise wrong(source, number, f"has {len(row)} fields ({quoted(text)}), must have 3: {HEADER}")
    columns = zip(zip(*fields, strict=True), HEADER.split(","), strict=True)
    return np.stack([numbers(column, name, line, source) for column, name in columns])


def _check_times(device: int, time_s: FloatArray, line: FloatArray, source: str) -> None:
    if len(time_s) == 0:
        raise InputError(f"{source}: device {device} has no rows; devices are numbered from 0 without holes")
    if time_s[0] != 0.0:
        raise wrong(source, line[0], f"device {device} starts at {time_s[0]:g} s, must start at 0")
    at = first_bad(np.diff(time_s) <= 0.0)
    if at is not None:
        earlier, later = time_s[at], time_s[at + 1]
        raise wrong(
            source, line[at + 1], f"time_s of device {device} is {later:.17g} after {earlier:.17g}, must rise strictly"
        )


def _ends(comments: list[tuple[int, str]], times: tuple[FloatArray, ...], source: str) -> tuple[float, ...]:
    said = [(number, text.removeprefix(END_KEY)) for number, text in comments if text.startswith(END_KEY)]
    if not said:
        return tuple(natural_end_s(time_s) for time_s in times)
    number, text = said[0]
    values = text.split(",")
    ends = numbers(values, END_KEY, [number] * len(values), source)
    if len(ends) not in (1, len(times)):
        raise wrong(source, number, f"{END_KEY} has {len(ends)} values, must have 1 or {len(times)}")
    ends = np.broadcast_to(ends, (len(times),))
    for end_s, time_s in zip(ends, times, strict=True):
        if not end_s > time_s[-1]:
            raise wrong(source, number, f"{END_KEY} {end_s:g} must be after the last row, {time_s[-1]:g} s")
    return tuple(ends.tolist())
