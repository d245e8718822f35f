"""What ``prefine devices`` does."""

import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

from prefine.emulator.errors import InputError
from prefine.emulator.files import write_bytes
from prefine.traces.profiles import (
    MOST_DEVICES,
    drawn,
    pace,
    parse_aliases,
    parse_profiles,
    parse_users,
    tables,
)
from prefine.traces.work import positive, read_bytes


def devices(
    file: Path,
    score: str,
    seconds: Sequence[str],
    frequency_hz: float,
    users: Path | None,
    aliases: Path | None,
    count: int | None,
    seed: int,
    out: Path | None,
    command: str,
) -> None:
    """Write a ``[[device]]`` table for each profile in ``file``, or for ``count`` drawn from it or from ``users``."""
    positive("--max-frequency-hz", frequency_hz)
    if aliases is not None and users is None:
        raise InputError("--aliases says what users' phones are called, and needs --users")
    if count is not None and not 1 <= count <= MOST_DEVICES:
        raise InputError(f"--count is {count}, must be from 1 to {MOST_DEVICES}")
    known = parse_profiles(read_bytes(file), str(file), score)
    called = {} if aliases is None else parse_aliases(read_bytes(aliases), str(aliases))
    there = list(known.values()) if users is None else parse_users(read_bytes(users), str(users), called, known)
    of = pace(_times_s(seconds), known)
    chosen = there if count is None else drawn(there, count, seed)
    lines = [
        f"# command: {command}",
        *(f"# {each.name}: sha256 {_checksum(each)}" for each in (file, users, aliases) if each is not None),
        f"# {len(chosen)} devices; seconds a sample: {of.factor_s:.6g} score^{of.exponent:.6g}",
        *tables(chosen, of, frequency_hz),
    ]
    text = "".join(f"{line}\n" for line in lines)
    if out is None:
        sys.stdout.write(text)
    else:
        write_bytes(out, text.encode("utf-8", "backslashreplace"))


def _times_s(given: Sequence[str]) -> dict[str, float]:
    """NAME=SECONDS texts; a name may hold an equals sign."""
    times_s: dict[str, float] = {}
    for text in given:
        name, equals, value = text.rpartition("=")
        if name in times_s:
            raise InputError(f"--seconds {text!r}: {name!r} is there twice")
        try:
            times_s[name] = float(value)
        except ValueError:
            equals = ""
        if not equals or not name:
            raise InputError(f"--seconds {text!r} must be NAME=SECONDS, such as 'Google Pixel 4=0.02'")
        positive("--seconds", times_s[name])
    return times_s


def _checksum(file: Path) -> str:
    return hashlib.sha256(read_bytes(file)).hexdigest()
