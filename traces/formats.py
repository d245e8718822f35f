"""From the bytes of a file in any known format to a channel trace."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from prefine.emulator.channel.trace import Trace
from prefine.emulator.channel.tracefile import HEADER, parse_trace, plain_trace
from prefine.emulator.text import decoded, quoted, wrong
from prefine.traces.cooked import parse_cooked
from prefine.traces.gnettrack import COLUMNS, Column, parse_gnettrack
from prefine.traces.mahimahi import parse_mahimahi
from prefine.traces.npz import parse_npz
from prefine.traces.options import Format
from prefine.traces.series import LINKED, GapRule, Link, Series, aligned, gaps_of, to_trace
from prefine.traces.table import Columns, parse_table

FORMATS = "canonical, mahimahi, gnettrack, cooked, csv or npz"


@dataclass(frozen=True)
class Reading:
    """How to read a file: what the importers take as arguments, each for itself."""

    format: Format = "auto"
    columns: Columns = Columns()  # noqa: RUF009  # frozen
    bin_s: float | None = None


@dataclass(frozen=True)
class Imported:
    """A trace and where it came from: format, notes of the importer, and gaps as (device, start, length).

    ``linked`` says whether its gains follow from the link's band.
    """

    trace: Trace
    format: Format
    notes: tuple[str, ...]
    gaps: tuple[tuple[int, float, float], ...] = ()
    linked: bool = False


def import_trace(data: bytes, source: str, reading: Reading, link: Link, gaps: GapRule) -> Imported:
    """The trace in ``data``. Raises InputError: ``source:line: what is wrong, what is allowed``."""
    checksum = hashlib.sha256(data).hexdigest()
    plain = plain_trace(data, source) if reading.format in ("auto", "canonical") else None
    if plain is not None:
        return Imported(plain, "canonical", (f"sha256 {checksum}",))
    lines = [] if data.startswith(b"PK") else decoded(data, source, f"a trace file: {FORMATS}")
    kind = _detected(data, lines, source) if reading.format == "auto" else reading.format
    if kind == "canonical":
        trace = parse_trace(lines, source)
        return Imported(trace, kind, (f"sha256 {checksum}",))
    series = aligned(_series(kind, data, lines, source, reading), source)
    notes = (f"sha256 {checksum}", *dict.fromkeys(note for one in series for note in one.notes))
    found = tuple((k, *gap) for k, one in enumerate(series) for gap in gaps_of(one, gaps.longest_s))
    linked = any(one.quantity in LINKED for one in series)
    return Imported(to_trace(series, link, gaps, source), kind, notes, found, linked)


def joined(traces: Sequence[Trace]) -> Trace:
    """One trace with the devices of all, in order."""
    return Trace(
        tuple(time_s for trace in traces for time_s in trace.time_s),
        tuple(gain_db for trace in traces for gain_db in trace.gain_db),
        tuple(end_s for trace in traces for end_s in trace.end_s),
    )


def _series(kind: Format, data: bytes, lines: list[str], source: str, reading: Reading) -> tuple[Series, ...]:
    if kind == "npz":
        return parse_npz(data, source, reading.columns.step_s)
    if kind == "mahimahi":
        return (parse_mahimahi(lines, source, reading.bin_s),)
    if kind == "cooked":
        return (parse_cooked(lines, source),)
    if kind == "gnettrack":
        return tuple(parse_gnettrack(lines, source, column) for column in _gnettrack_columns(reading, source))
    return parse_table(lines, source, reading.columns)


def _gnettrack_columns(reading: Reading, source: str) -> tuple[Column | None, ...]:
    known: dict[str, Column] = {name: name for name in COLUMNS}
    for name in reading.columns.values:
        if name not in known:
            raise wrong(
                source, 1, f"column {quoted(name)} is not read from G-NetTrack logs; allowed: {', '.join(COLUMNS)}"
            )
    return tuple(known[name] for name in reading.columns.values) or (None,)


def _detected(data: bytes, lines: list[str], source: str) -> Format:
    """The format by what the first line looks like."""
    if data.startswith(b"PK"):
        return "npz"
    number, first = next(
        ((n, text) for n, line in enumerate(lines, 1) if (text := line.strip()) and not text.startswith("#")), (1, "")
    )
    names = [name.strip() for name in first.split(",")]
    if ",".join(names) == HEADER:
        return "canonical"
    if "Timestamp" in names and any(name in names for name in COLUMNS):
        return "gnettrack"
    fields = first.replace(",", " ").split()
    numeric = [_numeric(field) for field in fields]
    if numeric == [True]:
        return "mahimahi"
    if numeric == [True, True]:
        return "cooked"
    if len(names) > 1 or ";" in first or "\t" in first:
        return "csv"
    raise wrong(source, number, f"starts with {quoted(first)}: no known format; give --format {FORMATS}")


def _numeric(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
