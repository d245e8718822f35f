"""The command line: ``prefine compare``, ``run``, ``plan``, ``sweep``, ``report`` and their helpers.

What a command does is in `prefine.emulator.terminal.work`, which is imported when the command is run: help and version
need none of the libraries.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from prefine.emulator.errors import InputError
from prefine.emulator.options import DEFAULT, DeviceRows, FigureWidth, TableFormat, TrackFormat
from prefine.emulator.terminal.ending import status_of
from prefine.traces.commands import app as trace_app
from prefine.traces.commands import devices as device_tables

app = typer.Typer(
    name="prefine",
    help="Emulate two-stage edge learning: pre-train on a server, fine-tune on devices, on one virtual clock.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
app.add_typer(trace_app, name="trace")


def _scenarios(incomplete: str) -> list[str]:
    """The bundled scenarios and the TOML files here that begin with ``incomplete``, for the shell's Tab."""
    from importlib import resources

    bundled = (path.name.removesuffix(".toml") for path in resources.files("prefine.scenarios").iterdir())
    own = (str(path) for path in Path().glob("*.toml"))
    return sorted(name for name in (*bundled, *own) if name.startswith(incomplete) and not name.startswith("__"))


ScenarioArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[SCENARIO]", help="A TOML file, or the name of a bundled scenario.", autocompletion=_scenarios
    ),
]
NeededScenario = Annotated[
    str,
    typer.Argument(metavar="SCENARIO", help="A TOML file, or a bundled scenario's name.", autocompletion=_scenarios),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override any scenario key, such as budget.delay_s=20."),
]
Policies = Annotated[
    str | None, typer.Option(metavar="A,B", help="Policies, by comma; names, or file.py:ClassName for your own.")
]
Seeds = Annotated[int | None, typer.Option(min=1, help="How many seeds: 0, 1, ...")]
Jobs = Annotated[int, typer.Option(min=1, help="Worker processes.")]
Out = Annotated[Path | None, typer.Option(metavar="DIR", help=r"Output folder \[default: out/NAME].")]
OutOfRun = Annotated[Path | None, typer.Option(metavar="DIR", help=r"Output folder \[default: out/NAME-run].")]
OutOfSweep = Annotated[Path | None, typer.Option(metavar="DIR", help=r"Output folder \[default: out/NAME-sweep].")]
Reference = Annotated[str | None, typer.Option(help="The policy that the others are compared with.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar and no table.")]
TablesOption = Annotated[
    TableFormat, typer.Option(help="Also write Parquet beside CSV, or the comparison for a paper.")
]
Figures = Annotated[str, typer.Option(metavar="svg,pdf", help="Also write the plots as files of these formats.")]
Width = Annotated[
    FigureWidth, typer.Option(help="Draw those files 3.5 in (column) or 7.16 in (page) wide, as a paper prints them.")
]
Hindsight = Annotated[
    bool, typer.Option("--hindsight", help="Also run the best share of pre-training in hindsight, and show the regret.")
]
DevicesOption = Annotated[
    DeviceRows | None,
    typer.Option("--devices", help="Whose rounds devices.csv has: all, of a sample of 100 devices, or none."),
]
Scheduler = Annotated[str | None, typer.Option(metavar="ADDRESS", help="Run on the Dask cluster of this scheduler.")]

Track = Annotated[
    TrackFormat | None, typer.Option(help="Also tell each finished run to a tracker, below the output folder.")
]


def main() -> None:
    """Run the command line; however it ends, that is a status and at most one line."""
    sys.exit(status_of(command))


def command() -> int:
    """Do what `sys.argv` says; the exit status. Raises InputError where it is no command."""
    try:
        status = app(prog_name="prefine", standalone_mode=False)
    except typer.TyperException as error:
        said = error.format_message()
        if not said:  # nothing was asked for: the help page is on the screen
            return 2
        where = getattr(getattr(error, "ctx", None), "command_path", "prefine").partition(" ")[2]
        raise InputError(f"{where}: {said}" if where else said) from error
    return status if isinstance(status, int) else 0


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version as installed

        typer.echo(f"prefine {installed('prefine')}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Emulate two-stage edge learning: pre-train on a server, fine-tune on devices, on one virtual clock.

    Start with: prefine compare
    """


@app.command(epilog="Example: prefine compare both-stages --policies joint,joint-ft,uniform --seeds 5 --jobs 2")
def compare(
    scenario: ScenarioArgument = None,
    policies: Policies = None,
    seeds: Seeds = None,
    reference: Reference = None,
    jobs: Jobs = 1,
    scheduler: Scheduler = None,
    out: Out = None,
    overrides: Set = None,
    devices: DevicesOption = None,
    tables: TablesOption = "csv",
    figures: Figures = "",
    width: Width = "page",
    hindsight: Hindsight = False,
    track: Track = None,
    quiet: Quiet = False,
) -> None:
    """Compare policies on identical channels, batches and faults; write tables and report.html."""
    from prefine.emulator.terminal import work

    work.compare(
        scenario,
        _overrides(overrides, devices),
        out,
        quiet,
        policies=_names(policies),
        seeds=seeds,
        reference=reference,
        jobs=jobs,
        scheduler=scheduler,
        tables=tables,
        figures=work.formats(figures, width),
        width=width,
        hindsight=hindsight,
        track=track,
    )


@app.command(epilog="Example: prefine run default --policy joint-ft --seed 3 --out out/one")
def run(
    scenario: NeededScenario,
    policy: Annotated[str, typer.Option(help="A policy's name, or file.py:ClassName.")],
    seed: Annotated[int, typer.Option(min=0, help="The run's seed.")] = 0,
    out: OutOfRun = None,
    overrides: Set = None,
    devices: DevicesOption = None,
    quiet: Quiet = False,
) -> None:
    """Emulate one policy with one seed."""
    from prefine.emulator.terminal import work

    work.compare(scenario, _overrides(overrides, devices), out, quiet, suffix="-run", policies=[policy], seeds=[seed])


@app.command(
    epilog="Example: prefine sweep default --vary budget.delay_s=16,32,64 --policies joint-ft,uniform --jobs 2"
)
def sweep(
    scenario: NeededScenario,
    vary: Annotated[list[str], typer.Option(metavar="KEY=V1,V2,...", help="A scenario key and its values.")],
    pairs: Annotated[bool, typer.Option("--zip", help="Vary all keys together instead of as a grid.")] = False,
    policies: Policies = None,
    seeds: Seeds = None,
    reference: Reference = None,
    jobs: Jobs = 1,
    scheduler: Scheduler = None,
    out: OutOfSweep = None,
    overrides: Set = None,
    devices: DevicesOption = None,
    tables: TablesOption = "csv",
    figures: Figures = "",
    width: Width = "page",
    hindsight: Hindsight = False,
    track: Track = None,
    quiet: Quiet = False,
) -> None:
    """Compare policies over a grid of scenarios; the same command resumes after an interruption."""
    from prefine.emulator.terminal import work

    work.compare(
        scenario,
        _overrides(overrides, devices),
        out,
        quiet,
        suffix="-sweep",
        vary=vary,
        pairs=pairs,
        policies=_names(policies),
        seeds=seeds,
        reference=reference,
        jobs=jobs,
        scheduler=scheduler,
        tables=tables,
        figures=work.formats(figures, width),
        width=width,
        hindsight=hindsight,
        track=track,
    )


@app.command(epilog="Example: prefine plan default --policy joint-ft; prefine plan --problem problem.json --json")
def plan(
    scenario: ScenarioArgument = None,
    problem: Annotated[Path | None, typer.Option(metavar="FILE", help="A problem file instead of a scenario.")] = None,
    policy: Annotated[str, typer.Option(help="A policy's name, or file.py:ClassName.")] = "joint",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
    overrides: Set = None,
) -> None:
    """Solve only: the plan, what it promises, which budget binds, and the certificate."""
    from prefine.emulator.terminal import work

    work.plan(scenario, policy, overrides or (), problem, as_json)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="An output folder.")],
    figures: Figures = "",
    width: Width = "page",
    tables: TablesOption = "csv",
) -> None:
    """Rebuild plots and report.html from the CSV files of an output folder."""
    from prefine.emulator.terminal import work

    work.report(folder, work.formats(figures, width), tables, width)


@app.command()
def cite(folder: Annotated[Path, typer.Argument(metavar="DIR", help="An output folder.")]) -> None:
    """Print BibTeX of what the runs in an output folder used."""
    from prefine.emulator.terminal import work

    work.cite(folder)


@app.command()
def calibrate(
    scenario: ScenarioArgument = None,
    overrides: Set = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Measure the bound's constants on the actual data and model, print and cache them."""
    from prefine.emulator.terminal import work

    work.calibrate(scenario, overrides or (), as_json)


@app.command()
def validate(
    scenario: NeededScenario,
    overrides: Set = None,
    measure: Annotated[bool, typer.Option("--measure", help="Measure the constants of the bound too.")] = False,
) -> None:
    """Check a scenario and everything it refers to; say what world it makes."""
    from prefine.emulator.terminal import work

    work.validate(scenario, overrides or (), measure)


@app.command()
def cache(clear: Annotated[bool, typer.Option("--clear", help="Remove it all.")] = False) -> None:
    """Show what is kept between commands: measured constants, rehearsals, prepared data."""
    from prefine.emulator.terminal import work

    work.cache(clear)


@app.command()
def policies() -> None:
    """List the policies, and the selection rules that combine with them, with their parameters."""
    from prefine.emulator.terminal import work

    work.policies()


@app.command("check-policy", epilog="Example: prefine check-policy mine.py:Mine")
def check_policy(
    policy: Annotated[str, typer.Argument(metavar="FILE.py:CLASS", help="A policy of yours, or a policy's name.")],
) -> None:
    """Try a policy in a few small worlds, checked as every run is: one line a fault, and then status 1."""
    from prefine.emulator.terminal import work

    work.check_policy(policy)


@app.command()
def new(
    file: Annotated[Path, typer.Argument(help="Where to write the scenario; must not exist.")],
    like: Annotated[str, typer.Option(help="The bundled scenario to start from.")] = DEFAULT,
) -> None:
    """Write a commented scenario to start from."""
    from prefine.emulator.terminal import work

    work.new(file, like)


@app.command()
def scenarios() -> None:
    """List the bundled scenarios."""
    from prefine.emulator.terminal import work

    work.scenarios()


app.command("devices")(device_tables)


def _overrides(overrides: list[str] | None, devices: DeviceRows | None) -> list[str]:
    return [*(overrides or ()), *([] if devices is None else [f'compare.devices="{devices}"'])]


def _names(policies: str | None) -> list[str] | None:
    return None if policies is None else [name.strip() for name in policies.split(",") if name.strip()]


if __name__ == "__main__":
    main()
