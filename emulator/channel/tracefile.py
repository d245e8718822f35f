"""Canonical trace files: CSV with the header ``time_s,device,gain_db``, comments (``#``) above it."""

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from emulator.channel.trace import Trace, natural_end_s
from emulator.errors import InputError
from emulator.types import FloatArray, frozen_array

HEADER = "time_s,device,gain_db"
END_KEY = "end_s:"
MAX_GAIN_DB = 200.0


def read_trace(path: Path) -> Trace:
    """The trace in the canonical file at ``path``, with the SHA-256 of the file.

    Raises InputError: the file is missing, is no text, or `parse_trace` refuses it.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); a trace is a CSV file with {HEADER}") from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}:{line}: is no UTF-8 text; a trace is a CSV file with {HEADER}") from error
    return replace(parse_trace(text.splitlines(), str(path)), sha256=hashlib.sha256(data).hexdigest())


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
        raise InputError(f"{source}:1: is empty; a trace starts with the header {HEADER}")
    number, header = rows[0]
    if ",".join(name.strip() for name in header.split(",")) != HEADER:
        raise InputError(
            f"{source}:{number}: header is {_quoted(header)}, must be {HEADER} (other formats: prefine trace convert)"
        )
    if len(rows) == 1:
        raise InputError(f"{source}:{number}: has no rows; each device needs one at time 0")
    line, time_s, device, gain_db = _columns(rows[1:], source)
    devices = range(int(device.max()) + 1)
    picks = [np.flatnonzero(device == d) for d in devices]
    for d, pick in zip(devices, picks, strict=True):
        _check_times(d, time_s[pick], line[pick], source)
    times = tuple(frozen_array(time_s[pick]) for pick in picks)
    gains = tuple(frozen_array(gain_db[pick]) for pick in picks)
    provenance = tuple(text for _, text in comments)
    return Trace(times, gains, _ends(comments, times, source), source=source, provenance=provenance)


def _columns(rows: list[tuple[int, str]], source: str) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Line number, time, device and gain of every row, each checked on its own."""
    fields = [text.split(",") for _, text in rows]
    for (number, text), row in zip(rows, fields, strict=True):
        if len(row) != 3:
            raise InputError(f"{source}:{number}: has {len(row)} fields ({_quoted(text)}), must have 3: {HEADER}")
    line = np.array([number for number, _ in rows], dtype=np.float64)
    time_s, device, gain_db = (
        _numbers(column, name, line, source)
        for column, name in zip(zip(*fields, strict=True), HEADER.split(","), strict=True)
    )
    for bad, name, value, allowed in (
        (~np.isfinite(time_s) | (time_s < 0.0), "time_s", time_s, "a finite number of seconds, at least 0"),
        (~(device >= 0.0) | (device != np.floor(device)) | (device > 1e6), "device", device, "a whole number from 0"),
        (~(gain_db <= MAX_GAIN_DB), "gain_db", gain_db, f"a number of dB up to {MAX_GAIN_DB:g}, or -inf for no signal"),
    ):
        if bad.any():
            first = int(np.argmax(bad))
            raise InputError(f"{source}:{int(line[first])}: {name} is {value[first]:g}, must be {allowed}")
    return line, time_s, device, gain_db


def _numbers(column: Iterable[str], name: str, line: FloatArray, source: str) -> FloatArray:
    column = tuple(column)
    try:
        return np.array([float(text) for text in column])
    except ValueError:
        for number, text in zip(line, column, strict=True):
            try:
                float(text)
            except ValueError:
                raise InputError(f"{source}:{int(number)}: {name} is {_quoted(text)}, must be a number") from None
        raise


def _check_times(device: int, time_s: FloatArray, line: FloatArray, source: str) -> None:
    if len(time_s) == 0:
        raise InputError(f"{source}: device {device} has no rows; devices are numbered from 0 without holes")
    if time_s[0] != 0.0:
        raise InputError(f"{source}:{int(line[0])}: device {device} starts at {time_s[0]:g} s, must start at 0")
    late = np.flatnonzero(np.diff(time_s) <= 0.0)
    if len(late) > 0:
        at = int(late[0]) + 1
        raise InputError(
            f"{source}:{int(line[at])}: time_s of device {device} is {time_s[at]:.17g} after {time_s[at - 1]:.17g}, "
            "must rise strictly"
        )


def _ends(comments: list[tuple[int, str]], times: tuple[FloatArray, ...], source: str) -> tuple[float, ...]:
    for number, text in comments:
        if not text.startswith(END_KEY):
            continue
        values = text.removeprefix(END_KEY).split(",")
        try:
            ends = [float(value) for value in values]
        except ValueError:
            raise InputError(f"{source}:{number}: {END_KEY} is {_quoted(text)}, must be seconds") from None
        ends = ends * len(times) if len(ends) == 1 else ends
        if len(ends) != len(times):
            raise InputError(f"{source}:{number}: {END_KEY} has {len(ends)} values, must have 1 or {len(times)}")
        for end_s, time_s in zip(ends, times, strict=True):
            if not end_s > time_s[-1]:
                raise InputError(f"{source}:{number}: {END_KEY} {end_s:g} must be after the last row, {time_s[-1]:g} s")
        return tuple(ends)
    return tuple(natural_end_s(time_s) for time_s in times)


def _quoted(text: str) -> str:
    """``text`` in quotes, cut to what fits a message."""
    return repr(text if len(text) <= 60 else text[:57] + "...")
