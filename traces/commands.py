"""``prefine trace inspect``, ``convert`` and ``synthesize``: the only file of this package that opens files."""

import shlex
import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console

from prefine.emulator.channel.mobility import Site
from prefine.emulator.channel.models import channel_model
from prefine.emulator.channel.trace import Trace
from prefine.emulator.channel.tracefile import format_trace, write_trace
from prefine.emulator.errors import InputError
from prefine.emulator.units import THERMAL_NOISE_DBM_HZ, dbm_to_watt
from prefine.traces.formats import Format, Reading, import_trace, joined
from prefine.traces.screen import plot, table
from prefine.traces.series import GapRule, Gaps, Link
from prefine.traces.synthesize import record
from prefine.traces.table import Unit

app = typer.Typer(
    help="Look at, import and make channel traces (CSV time_s,device,gain_db; docs/formats.md).", no_args_is_help=True
)

LEAST, MOST = 1e-40, 1e40
SHORTEST_BIN_S = 1e-6

FormatOption = Annotated[Format, typer.Option("--format", "-f", help="What the file is; auto looks at its first line.")]
Column = Annotated[
    list[str] | None,
    typer.Option(help="csv: column to read, repeatable, a device each. gnettrack: SNR, CQI or RSRP."),
]
UnitOption = Annotated[Unit | None, typer.Option(help="csv: what the columns measure.")]
TimeColumn = Annotated[str | None, typer.Option(help="csv: the column of times in seconds.")]
Step = Annotated[float | None, typer.Option(help="csv, npz: rows are this far apart, in place of a time column.")]
Bin = Annotated[float, typer.Option(help="mahimahi: packets are counted in bins of this length.")]
Bandwidth = Annotated[float, typer.Option(help="Band W of the link that the trace will drive.")]
Power = Annotated[float, typer.Option(help="Reference transmit power p_ref.")]
Noise = Annotated[float, typer.Option(help="Noise power spectral density N0.")]
Reference = Annotated[float, typer.Option(help="gnettrack RSRP: power the reference signal was sent with.")]
Scale = Annotated[
    float, typer.Option(help="Rates are multiplied by this, as to squeeze a wide band into a narrow one.")
]
GapsOption = Annotated[Gaps, typer.Option(help="Where nothing was measured for long: hold, no signal, or refuse.")]
LongestGap = Annotated[float, typer.Option(help="What is long.")]
Out = Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE", help=r"Canonical CSV \[default: the screen].")]


@app.command()
def inspect(
    file: Annotated[Path, typer.Argument(help="A trace in any known format.")],
    device: Annotated[int, typer.Option(min=0, help="The device to plot.")] = 0,
    format: FormatOption = "auto",  # the option's name
    column: Column = None,
    unit: UnitOption = None,
    time_column: TimeColumn = None,
    step_s: Step = None,
    bin_s: Bin = 0.1,
    bandwidth_hz: Bandwidth = 20e6,
    power_w: Power = 0.2,
    noise_dbm_hz: Noise = THERMAL_NOISE_DBM_HZ,
    reference_signal_dbm: Reference = 15.0,
    rate_scale: Scale = 1.0,
    max_gap_s: LongestGap = 5.0,
) -> None:
    """Show length, step, gaps and rate quantiles of a trace, and a small plot of its gain.

    Example: prefine trace inspect ATT-LTE-driving.up --bandwidth-hz 10e6
    """
    reading = _reading(format, column, unit, time_column, step_s, bin_s)
    link = _link(bandwidth_hz, power_w, noise_dbm_hz, reference_signal_dbm, rate_scale)
    found = import_trace(_read(file), str(file), reading, link, _gap_rule("hold", max_gap_s))
    if device >= len(found.trace):
        raise InputError(
            f"{file}: has {len(found.trace)} devices, --device {device} is not one of 0 to {len(found.trace) - 1}"
        )
    console = Console()
    console.print(
        f"{file}: {found.format}, {len(found.trace)} device(s)", highlight=False, markup=False, soft_wrap=True
    )
    for line in (*found.notes, *found.trace.provenance):
        console.print(f"  {line}", highlight=False, markup=False, soft_wrap=True)
    console.print(table(found, link, max_gap_s))
    console.print(f"Gain of device {device}:", highlight=False)
    for line in plot(found.trace, device):
        console.print(line, highlight=False, markup=False, no_wrap=True)


@app.command()
def convert(
    context: typer.Context,
    files: Annotated[list[Path], typer.Argument(help="Files to import; each adds its devices after those before.")],
    out: Out = None,
    format: FormatOption = "auto",  # the option's name
    column: Column = None,
    unit: UnitOption = None,
    time_column: TimeColumn = None,
    step_s: Step = None,
    bin_s: Bin = 0.1,
    bandwidth_hz: Bandwidth = 20e6,
    power_w: Power = 0.2,
    noise_dbm_hz: Noise = THERMAL_NOISE_DBM_HZ,
    reference_signal_dbm: Reference = 15.0,
    rate_scale: Scale = 1.0,
    gaps: GapsOption = "hold",
    max_gap_s: LongestGap = 5.0,
) -> None:
    """Import Mahimahi, G-NetTrack, cooked, CSV or NumPy traces as one canonical channel trace.

    A rate r becomes the gain (2^(r/W) - 1) N0 W / p_ref; replaying it at that bandwidth and power gives r back.

    Example: prefine trace convert bus.up tram.up --bandwidth-hz 10e6 --out city.csv
    """
    reading = _reading(format, column, unit, time_column, step_s, bin_s)
    link = _link(bandwidth_hz, power_w, noise_dbm_hz, reference_signal_dbm, rate_scale)
    rule = _gap_rule(gaps, max_gap_s)
    found = [import_trace(_read(file), str(file), reading, link, rule) for file in files]
    provenance = [f"command: {_command(context)}"]
    for file, one in zip(files, found, strict=True):
        provenance += [
            f"source: {file.name} ({one.format}, {len(one.trace)} device(s))",
            *one.notes,
            *one.trace.provenance,
        ]
    if any(one.format != "canonical" for one in found):
        provenance.append(
            f"link: {bandwidth_hz:g} Hz, {power_w:g} W, {noise_dbm_hz:g} dBm/Hz; gaps over {max_gap_s:g} s: {gaps}"
        )
    _deliver(replace(joined([one.trace for one in found]), provenance=tuple(provenance)), out)


@app.command()
def synthesize(
    context: typer.Context,
    out: Out = None,
    model: Annotated[
        str, typer.Option(help="static, rayleigh, rician, block, or your own file.py:Class.")
    ] = "rayleigh",
    distance_m: Annotated[str, typer.Option(metavar="M,M,...", help="Distance of each device.")] = "100",
    duration_s: Annotated[float, typer.Option(help="How much to record.")] = 60.0,
    seed: Annotated[int, typer.Option(min=0, help="Of the fading.")] = 0,
    layout_seed: Annotated[int, typer.Option(min=0, help="Of shadowing, directions and routes.")] = 0,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any key of [channel], such as speed_m_s=20."),
    ] = None,
) -> None:
    """Record a channel model as a trace.

    Example: prefine trace synthesize --model rician --distance-m 50,120 --set speed_m_s=8 --out ride.csv
    """
    if model == "trace":
        raise InputError("--model is trace, must be static, rayleigh, rician, block or your own file.py:Class")
    section = channel_model({"model": model, **_assigned(assignments or [])})
    distances = _distances(distance_m)
    _positive("--duration-s", duration_s)
    channel = section.build(Site(distances, layout_seed), seed)
    trace = record(channel, len(distances), duration_s)
    _deliver(replace(trace, provenance=(f"command: {_command(context)}", "synthetic")), out)


def _read(file: Path) -> bytes:
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
    text = f"{out}: {len(trace)} device(s), {rows} rows"
    Console(stderr=True).print(text, highlight=False, markup=False, soft_wrap=True)


def _reading(
    format: Format,  # as above
    column: list[str] | None,
    unit: Unit | None,
    time_column: str | None,
    step_s: float | None,
    bin_s: float,
) -> Reading:
    if step_s is not None:
        _positive("--step-s", step_s)
    _positive("--bin-s", bin_s, SHORTEST_BIN_S)
    return Reading(format, tuple(column or ()), unit, time_column, step_s, bin_s)


def _link(
    bandwidth_hz: float, power_w: float, noise_dbm_hz: float, reference_signal_dbm: float, rate_scale: float
) -> Link:
    for name, value in (("--bandwidth-hz", bandwidth_hz), ("--power-w", power_w), ("--rate-scale", rate_scale)):
        _positive(name, value)
    for name, value in (("--noise-dbm-hz", noise_dbm_hz), ("--reference-signal-dbm", reference_signal_dbm)):
        if not abs(value) < 300.0:
            raise InputError(f"{name} is {value:g}, must be between -300 and 300")
    return Link(bandwidth_hz, power_w, dbm_to_watt(noise_dbm_hz), reference_signal_dbm, rate_scale)


def _gap_rule(gaps: Gaps, max_gap_s: float) -> GapRule:
    _positive("--max-gap-s", max_gap_s)
    return GapRule(gaps, max_gap_s)


def _positive(name: str, value: float, least: float = LEAST) -> None:
    if not least <= value <= MOST:
        raise InputError(f"{name} is {value:g}, must be above 0, from {least:g} to {MOST:g}")


def _distances(text: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    try:
        values = np.array([float(part) for part in text.split(",")], dtype=np.float64)
    except ValueError:
        raise InputError(f"--distance-m is {text!r}, must be metres separated by commas, such as 50,120") from None
    for value in values:
        _positive("--distance-m", float(value))
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


def _command(context: typer.Context) -> str:
    """The command with what was given on it, the output file aside."""
    words = ["prefine", "trace", str(context.info_name)]
    for parameter in context.command.params:
        name = str(parameter.name)
        source = context.get_parameter_source(name)
        if name == "out" or source is None or source.name != "COMMANDLINE":
            continue
        value = context.params[name]
        values = value if isinstance(value, list | tuple) else [value]
        if parameter.param_type_name == "argument":
            words += [Path(str(one)).name for one in values]
        else:
            words += [word for one in values for word in (parameter.opts[0], str(one))]
    return shlex.join(words)
