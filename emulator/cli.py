"""The command line: ``prefine compare``, ``run``, ``plan``, ``sweep``, ``report`` and their helpers.

What a command does is in `prefine.emulator.terminal.work`, which is imported when the command is run: help and version
need none of the libraries. What the commands that run take is in `prefine.emulator.terminal.running`.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from prefine.emulator.errors import InputError
from prefine.emulator.options import DEFAULT
from prefine.emulator.terminal import running
from prefine.emulator.terminal.arguments import Figures, NeededScenario, ScenarioArgument, Set, TablesOption, Width
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


app.command(epilog=running.COMPARE)(running.compare)
app.command(epilog=running.RUN)(running.run)
app.command(epilog=running.SWEEP)(running.sweep)


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


if __name__ == "__main__":
    main()
