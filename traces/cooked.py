"""Cooked bandwidth traces: ``time_s Mbit/s`` a line, no header; common in video streaming research."""

from collections.abc import Iterable

import numpy as np

from prefine.emulator.channel.trace import natural_end_s
from prefine.emulator.text import first_bad, numbers, quoted, wrong
from prefine.emulator.types import FloatArray
from prefine.traces.series import Series

BIT_PER_MBIT = 1e6
MAX_RATE_MBIT_S = 1e9
MAX_TIME_S = 1e12


def parse_cooked(lines: Iterable[str], source: str) -> Series:
    """The rate from each line's time on, until the next line's.

    Raises InputError at a line without two numbers, a time that does not rise, or a rate below 0.
    """
    rows = [
        (number, text.replace(",", " ").split())
        for number, line in enumerate(lines, 1)
        if (text := line.strip()) and not text.startswith("#")
    ]
    if not rows:
        raise wrong(source, 1, "is empty; a cooked trace has a time in s and a rate in Mbit/s on each line")
    for number, fields in rows:
        if len(fields) != 2:
            raise wrong(source, number, f"has {len(fields)} fields ({quoted(' '.join(fields))}), must have 2: s Mbit/s")
    line = np.array([number for number, _ in rows], dtype=np.float64)
    time_s = numbers((fields[0] for _, fields in rows), "time", line, source)
    rate = numbers((fields[1] for _, fields in rows), "rate", line, source)
    check_times(time_s, line, source)
    at = first_bad(~((rate >= 0.0) & (rate <= MAX_RATE_MBIT_S)))
    if at is not None:
        raise wrong(source, line[at], f"rate is {rate[at]:g} Mbit/s, must be from 0 to {MAX_RATE_MBIT_S:g}")
    time_s = time_s - time_s[0]
    return Series(time_s, rate * BIT_PER_MBIT, "rate_bit_s", natural_end_s(time_s))


def check_times(time_s: FloatArray, line: FloatArray, source: str, advice: str = "") -> None:
    """Raise InputError, with ``advice``, at the first time that is not finite or does not rise."""
    at = first_bad(~(np.abs(time_s) <= MAX_TIME_S))
    if at is not None:
        raise wrong(
            source, line[at], f"time is {time_s[at]:g}, must be a number of seconds up to {MAX_TIME_S:g}{advice}"
        )
    at = first_bad(np.diff(time_s) <= 0.0)
    if at is not None:
        earlier, later = time_s[at], time_s[at + 1]
        raise wrong(source, line[at + 1], f"time {later:.17g} follows {earlier:.17g}, times must rise strictly{advice}")
