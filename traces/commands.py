"""``prefine trace inspect``, ``convert`` and ``synthesize``, and ``prefine devices``: what they take.

What they do is in `prefine.traces.work` and `.profiling`, which are imported when one is run: help needs no library.
"""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from prefine.emulator.units import THERMAL_NOISE_DBM_HZ
from prefine.traces.options import Format, Gaps, Unit

app = typer.Typer(
    help="Look at, import and make channel traces (CSV time_s,device,gain_db; docs/formats.md).", no_args_is_help=True
)

FormatOption = Annotated[Format, typer.Option("--format", "-f", help="What the file is; auto looks at its first line.")]
Column = Annotated[
    list[str] | None,
    typer.Option(
        help="csv: column to read, a device each; repeatable, * and ? stand for any text. gnettrack: SNR, CQI or RSRP."
    ),
]
UnitOption = Annotated[Unit | None, typer.Option(help="csv: what the columns measure.")]
TimeColumn = Annotated[str | None, typer.Option(help="csv: the column of times in seconds.")]
DeviceColumn = Annotated[
    str | None,
    typer.Option(
        help="csv: the column that says whose row it is (by default one called device, ue, ...; '' for none)."
    ),
]
Step = Annotated[float | None, typer.Option(help="csv, npz: rows are this far apart, in place of a time column.")]
Bin = Annotated[
    float | None,
    typer.Option(
        help="mahimahi: packets are counted in bins of this length \\[default: so that uploads are within 20 ms]."
    ),
]
Bandwidth = Annotated[float, typer.Option(help="Band W of the link that the trace will drive.")]
Power = Annotated[float, typer.Option(help="Reference transmit power p_ref.")]
Noise = Annotated[float, typer.Option(help="Noise power spectral density N0.")]
Reference = Annotated[float, typer.Option(help="gnettrack RSRP: power the reference signal was sent with.")]
Scale = Annotated[
    float, typer.Option(help="Rates are multiplied by this, as to squeeze a wide band into a narrow one.")
]
GapsOption = Annotated[Gaps, typer.Option(help="Where nothing was measured for long: hold, no signal, or refuse.")]
LongestGap = Annotated[float, typer.Option(help="What is long.")]
FigureFile = Annotated[
    Path | None, typer.Option("--figure", metavar="FILE", help="Also draw all devices: a .svg, .pdf or .png.")
]
Out = Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE", help=r"Canonical CSV \[default: the screen].")]


@app.command()
def inspect(
    file: Annotated[Path, typer.Argument(help="A trace in any known format.")],
    device: Annotated[int, typer.Option(min=0, help="The device to plot.")] = 0,
    format: FormatOption = "auto",  # the option's name
    column: Column = None,
    unit: UnitOption = None,
    time_column: TimeColumn = None,
    device_column: DeviceColumn = None,
    step_s: Step = None,
    bin_s: Bin = None,
    bandwidth_hz: Bandwidth = 20e6,
    power_w: Power = 0.2,
    noise_dbm_hz: Noise = THERMAL_NOISE_DBM_HZ,
    reference_signal_dbm: Reference = 15.0,
    rate_scale: Scale = 1.0,
    max_gap_s: LongestGap = 5.0,
    figure: FigureFile = None,
) -> None:
    """Show length, step, gaps and rate quantiles of a trace, and a small plot of its gain.

    Example: prefine trace inspect ATT-LTE-driving.up --bandwidth-hz 10e6
    """
    from prefine.traces import work

    reading = work.reading(format, column, unit, time_column, step_s, bin_s, device_column)
    link = work.link(bandwidth_hz, power_w, noise_dbm_hz, reference_signal_dbm, rate_scale)
    work.inspect(file, device, reading, link, max_gap_s, figure)


@app.command()
def convert(
    context: typer.Context,
    files: Annotated[list[Path], typer.Argument(help="Files to import; each adds its devices after those before.")],
    out: Out = None,
    format: FormatOption = "auto",  # the option's name
    column: Column = None,
    unit: UnitOption = None,
    time_column: TimeColumn = None,
    device_column: DeviceColumn = None,
    step_s: Step = None,
    bin_s: Bin = None,
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
    from prefine.traces import work

    reading = work.reading(format, column, unit, time_column, step_s, bin_s, device_column)
    link = work.link(bandwidth_hz, power_w, noise_dbm_hz, reference_signal_dbm, rate_scale)
    work.convert(files, out, reading, link, gaps, max_gap_s, _command(context))


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
        typer.Option("--set", metavar="KEY=VALUE", help=r"Any key of \[channel], such as speed_m_s=20."),
    ] = None,
) -> None:
    """Record a channel model as a trace.

    Example: prefine trace synthesize --model rician --distance-m 50,120 --set speed_m_s=8 --out ride.csv
    """
    from prefine.traces import work

    work.synthesize(model, distance_m, duration_s, seed, layout_seed, assignments or [], out, _command(context))


def devices(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="JSON: scores by name, or a list of objects with Model and scores.")],
    seconds: Annotated[
        list[str], typer.Option(metavar="NAME=S", help="Time of one sample on one of the devices; repeatable.")
    ],
    score: Annotated[str, typer.Option(help="Of a list: the column with the scores.")] = "AI_Score",
    max_frequency_hz: Annotated[float, typer.Option(help="The clock at which devices take so long.")] = 2e9,
    users: Annotated[
        Path | None, typer.Option(help="JSON: names of phones, or users with model, to draw from.")
    ] = None,
    aliases: Annotated[Path | None, typer.Option(help="JSON: what users' phones are called in FILE.")] = None,
    count: Annotated[int | None, typer.Option(min=1, help="Draw so many devices instead of all.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the draw.")] = 0,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help=r"TOML \[default: the screen].")
    ] = None,
) -> None:
    """Make device tables of a scenario from benchmark scores (FLASH, AI-Benchmark).

    Example: prefine devices benchmark2score.json --seconds 'Google Pixel 4=0.018' --count 20 >> mine.toml
    """
    from prefine.traces import profiling

    command = _command(context, ("devices",))
    profiling.devices(file, score, seconds, max_frequency_hz, users, aliases, count, seed, out, command)


def _command(context: typer.Context, called: tuple[str, ...] = ()) -> str:
    """The command with what was given on it, the output file aside."""
    words = ["prefine", *(called or ("trace", str(context.info_name)))]
    for parameter in context.command.params:
        name = str(parameter.name)
        source = context.get_parameter_source(name)
        if name == "out" or source is None or source.name != "COMMANDLINE":
            continue
        value = context.params[name]
        values = value if isinstance(value, list | tuple) else [value]
        if parameter.param_type_name == "argument":
            words += [_bare(one) for one in values]
        else:
            words += [word for one in values for word in (parameter.opts[0], _bare(one))]
    return shlex.join(words)


def _bare(value: object) -> str:
    """A file without its folder, which is the author's."""
    return value.name if isinstance(value, Path) else str(value)
