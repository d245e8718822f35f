"""Canonical trace files: CSV with the header ``time_s,device,gain_db``, comments (``#``) above it."""

import hashlib
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
    lines = decoded(data, source, f"a CSV file with {HEADER}")
    return replace(parse_trace(lines, source), sha256=hashlib.sha256(data).hexdigest())


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
    line, time_s, device, gain_db = _columns(rows[1:], source)
    order = np.argsort(device, kind="stable")
    picks = np.split(order, np.searchsorted(device[order], np.arange(1.0, device.max() + 1.0)))
    for d, pick in enumerate(picks):
        _check_times(d, time_s[pick], line[pick], source)
    times = tuple(frozen_array(time_s[pick]) for pick in picks)
    gains = tuple(frozen_array(gain_db[pick]) for pick in picks)
    provenance = tuple(text for _, text in comments)
    return Trace(times, gains, _ends(comments, times, source), source=source, provenance=provenance)


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


def _columns(rows: list[tuple[int, str]], source: str) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Line number, time, device and gain of every row, each checked on its own."""
    line = np.array([number for number, _ in rows], dtype=np.float64)
    time_s, device, gain_db = _table(rows, line, source)
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
    return line, time_s, device, gain_db


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
