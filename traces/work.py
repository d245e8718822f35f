"""What ``prefine trace`` does: the only file of this package that opens files."""

import sys
import tomllib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
from rich.console import Console

from prefine.emulator.channel.doubts import doubts, link_text
from prefine.emulator.channel.mobility import Site
from prefine.emulator.channel.models import channel_model
from prefine.emulator.channel.trace import Trace
from prefine.emulator.channel.tracefile import format_trace, write_trace
from prefine.emulator.errors import InputError, one_line
from prefine.emulator.files import write_bytes
from prefine.emulator.options import FigureFormat
from prefine.emulator.units import dbm_to_watt, to_db
from prefine.traces.formats import Reading, import_trace, joined
from prefine.traces.options import Format, Gaps, Unit
from prefine.traces.screen import plot, table
from prefine.traces.series import GapRule, Link
from prefine.traces.synthesize import record
from prefine.traces.table import Columns

LEAST, MOST = 1e-40, 1e40
SHORTEST_BIN_S = 1e-6


def inspect(file: Path, device: int, reading: Reading, link: Link, max_gap_s: float, figure: Path | None) -> None:
    """Print length, step, gaps and rate quantiles of a trace, and a plot of the gain of ``device``.

    ``figure`` is where a picture of all devices goes.
    """
    kind = figure_format(figure) if figure is not None else None
    found = import_trace(read_bytes(file), str(file), reading, link, _gap_rule("hold", max_gap_s))
    if device >= len(found.trace):
        raise InputError(
            f"{file}: has {len(found.trace)} devices, --device {device} is not one of 0 to {len(found.trace) - 1}"
        )
    console = Console()
    _say(console, f"{file}: {found.format}, {len(found.trace)} device(s)")
    for line in (*found.notes, *found.trace.provenance):
        _say(console, f"  {line}")
    _warn(file, found.trace, link)
    console.print(table(found, link, max_gap_s))
    console.print(f"Gain of device {device}:", highlight=False)
    for line in plot(found.trace, device):
        console.print(line, highlight=False, markup=False, no_wrap=True)
    if figure is not None and kind is not None:
        from prefine.traces.picture import picture  # loads matplotlib

        write_bytes(figure, picture(found.trace, file.name).render(kind))
        _say(console, f"{figure}: {len(found.trace)} device(s)")


def figure_format(path: Path) -> FigureFormat:
    """The format by the name's ending; raises InputError where it is none."""
    for kind in get_args(FigureFormat):
        if path.suffix.lower() == f".{kind}":
            return kind  # type: ignore[no-any-return]  # one of the literal's own words
    raise InputError(f"--figure {path}: must end in {', '.join(f'.{kind}' for kind in get_args(FigureFormat))}")


def convert(
    files: Sequence[Path], out: Path | None, reading: Reading, link: Link, gaps: Gaps, max_gap_s: float, command: str
) -> None:
    """Write the traces in ``files`` as one canonical trace, which says that ``command`` made it."""
    rule = _gap_rule(gaps, max_gap_s)
    found = [import_trace(read_bytes(file), str(file), reading, link, rule) for file in files]
    provenance = [f"command: {command}"]
    for file, one in zip(files, found, strict=True):
        source = f"source: {file.name} ({one.format}, {len(one.trace)} device(s))"
        provenance += [source, *one.notes, *one.trace.provenance]
    if any(one.format != "canonical" for one in found):
        provenance.append(f"gaps over {max_gap_s:g} s: {gaps}")
    if any(one.linked for one in found):
        noise_dbm_hz = to_db(link.noise_psd_w_hz / dbm_to_watt(0.0))
        provenance.append(link_text(link.bandwidth_hz, link.power_w, round(noise_dbm_hz, 9)))
    _deliver(replace(joined([one.trace for one in found]), provenance=tuple(provenance)), out)
    for file, one in zip(files, found, strict=True):
        for note in one.notes[1:]:  # the first is the checksum
            _say(Console(stderr=True), f"{file}: {note}")
        _warn(file, one.trace, link)


def synthesize(
    model: str,
    distance_m: str,
    duration_s: float,
    seed: int,
    layout_seed: int,
    assignments: list[str],
    out: Path | None,
    command: str,
) -> None:
    """Write what a channel model does in ``duration_s`` as a canonical trace."""
    if model == "trace":
        raise InputError("--model is trace, must be static, rayleigh, rician, block or your own file.py:Class")
    section = channel_model({"model": model, **_assigned(assignments)})
    distances = _distances(distance_m)
    positive("--duration-s", duration_s)
    channel = section.build(Site(distances, layout_seed), seed)
    trace = record(channel, len(distances), duration_s)
    _deliver(replace(trace, provenance=(f"command: {command}", "synthetic")), out)


def reading(
    format: Format,  # as above
    column: list[str] | None,
    unit: Unit | None,
    time_column: str | None,
    step_s: float | None,
    bin_s: float | None,
    device_column: str | None,
) -> Reading:
    """How to read a file; raises InputError."""
    if step_s is not None:
        positive("--step-s", step_s)
    if bin_s is not None:
        positive("--bin-s", bin_s, SHORTEST_BIN_S)
    return Reading(format, Columns(tuple(column or ()), unit, time_column, step_s, device_column), bin_s)


def link(
    bandwidth_hz: float, power_w: float, noise_dbm_hz: float, reference_signal_dbm: float, rate_scale: float
) -> Link:
    """What turns measurements into gains; raises InputError."""
    for name, value in (("--bandwidth-hz", bandwidth_hz), ("--power-w", power_w), ("--rate-scale", rate_scale)):
        positive(name, value)
    for name, value in (("--noise-dbm-hz", noise_dbm_hz), ("--reference-signal-dbm", reference_signal_dbm)):
        if not abs(value) < 300.0:
            raise InputError(f"{name} is {value:g}, must be between -300 and 300")
    return Link(bandwidth_hz, power_w, dbm_to_watt(noise_dbm_hz), reference_signal_dbm, rate_scale)


def read_bytes(file: Path) -> bytes:
    """What ``file`` holds; raises InputError where it cannot be read."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror})") from error


def _deliver(trace: Trace, out: Path | None) -> None:
    if out is None:
        sys.stdout.writelines(f"{line}\n" for line in format_trace(trace))
        return
    write_trace(out, trace)
    rows = sum(len(time_s) for time_s in trace.time_s)
    _say(Console(stderr=True), f"{out}: {len(trace)} device(s), {rows} rows")


def _warn(file: Path, trace: Trace, link: Link) -> None:
    for doubt in doubts(trace, np.array([link.bandwidth_hz])):
        _say(Console(stderr=True), f"{file}: warning: {doubt.line}")


def _say(console: Console, text: str) -> None:
    console.print(one_line(text), highlight=False, markup=False, soft_wrap=True)


def _gap_rule(gaps: Gaps, max_gap_s: float) -> GapRule:
    positive("--max-gap-s", max_gap_s)
    return GapRule(gaps, max_gap_s)


def positive(name: str, value: float, least: float = LEAST) -> None:
    """Raises InputError, naming the option ``name``, where ``value`` is no positive number."""
    if not least <= value <= MOST:
        raise InputError(f"{name} is {value:g}, must be above 0, from {least:g} to {MOST:g}")


def _distances(text: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    try:
        values = np.array([float(part) for part in text.split(",")], dtype=np.float64)
    except ValueError:
        raise InputError(f"--distance-m is {text!r}, must be metres separated by commas, such as 50,120") from None
    for value in values:
        positive("--distance-m", float(value))
    return values


def _assigned(assignments: list[str]) -> dict[str, object]:
    """KEY=VALUE pairs, values as in TOML; a value that is none is a string."""
    keys: dict[str, object] = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals:
            raise InputError(f"--set {assignment!r} must be KEY=VALUE")
        try:
            keys[key.strip()] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            keys[key.strip()] = value.strip()
    return keys
