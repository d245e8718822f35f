"""What the commands do: ask `prefine.emulator.api` and show what it answers."""

import json
import shlex
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args

import typer
from rich.console import Console

from prefine.emulator import api
from prefine.emulator import cache as kept
from prefine.emulator.errors import InputError, InterruptionError, PrefineError, one_line
from prefine.emulator.options import FigureFormat, FigureWidth, TableFormat
from prefine.emulator.plugins import parameters_of
from prefine.emulator.scenario.source import Source, read_source
from prefine.emulator.terminal import plans
from prefine.emulator.terminal.lists import show_parts, show_scenarios
from prefine.emulator.terminal.progress import Progress
from prefine.emulator.watch import watching


def compare(
    scenario: str | None, overrides: Sequence[str], out: Path | None, quiet: bool, *, suffix: str = "", **options: Any
) -> None:
    """Run with progress, show the comparison, and end with status 1 where a run failed.

    Files go to ``out``, or to a folder named after the scenario, with ``suffix``.
    """
    source = read_source(scenario, overrides)
    folder = out or Path("out") / f"{source.scenario.name}{suffix}"
    if not quiet and not options.get("vary"):
        _show_doubts(source)
    console = Console()
    progress = Progress(console, quiet)
    before = _policies_in(folder)
    try:
        with watching(progress.stage):
            result = api.compare(source, out=folder, command=_command(), watch=progress, **options)
    except KeyboardInterrupt:
        kept = (
            f"{progress.kept} of {progress.total} runs are kept in {folder}" if progress.total else "no run was begun"
        )
        raise InterruptionError(f"interrupted; {kept}, the same command goes on from there") from None
    gone = [policy for policy in before if policy not in result.policies]
    if gone:
        typer.echo(
            one_line(
                f"prefine: {folder}: its tables had {', '.join(gone)} too and now have {', '.join(result.policies)} "
                "alone; no run is lost: name all policies to have them back"
            ),
            err=True,
        )
    if not quiet:
        from prefine.emulator.terminal.tables import show_comparison

        show_comparison(result, console)
        console.print(one_line(f"tables: {folder}/*.csv"), highlight=False, markup=False, soft_wrap=True)
        console.print(one_line(f"report: {folder / 'report.html'}"), highlight=False, markup=False, soft_wrap=True)
    failed = result.runs[result.runs["status"] == "failed"]
    if len(failed):
        reason = f"{failed.iloc[0]['run_id']}: {failed.iloc[0]['stop_reason']}"
        raise PrefineError(f"{len(failed)} of {len(result.runs)} runs failed; {reason}")


def plan(scenario: str | None, policy: str, overrides: Sequence[str], problem: Path | None, as_json: bool) -> None:
    """Print a plan for a person, or as JSON; a ``scenario`` that is a JSON file is a problem."""
    if scenario is not None and scenario.endswith(".json") and problem is None:
        problem, scenario = Path(scenario), None
    with watching(Progress(Console(stderr=True)).stage):
        solution = api.plan(scenario, policy, overrides=overrides, problem=problem)
    if as_json:
        typer.echo(json.dumps(solution.document(), allow_nan=False))
    else:
        plans.show_plan(solution, Console())


def report(folder: Path, figures: Sequence[Any], tables: TableFormat, width: FigureWidth) -> None:
    """Rebuild the report and say where it is."""
    api.report(folder, figures, tables, width)
    typer.echo(one_line(f"report: {folder / 'report.html'}"))


def cite(folder: Path) -> None:
    """Print BibTeX."""
    typer.echo(api.cite(folder), nl=False)


def calibrate(scenario: str | None, overrides: Sequence[str], as_json: bool) -> None:
    """Print the constants for a person, or as JSON."""
    with watching(Progress(Console(stderr=True)).stage):
        estimate = api.calibrate(scenario, overrides=overrides)
    if as_json:
        typer.echo(json.dumps(estimate, allow_nan=False))
    else:
        plans.show_constants(estimate, Console())


def validate(scenario: str, overrides: Sequence[str], measure: bool) -> None:
    """Print the world that a scenario makes; with ``measure``, its constants too."""
    source = read_source(scenario, overrides)
    with watching(Progress(Console(stderr=True)).stage):
        problem = api.validate(source, measure=measure)
    plans.show_problem(source.name, problem, Console())
    _show_doubts(source)


def cache(clear: bool) -> None:
    """Print what the cache holds, and empty it where told to."""
    plans.show_cache(kept.folder(), kept.entries(), Console())
    if clear:
        typer.echo(f"removed {kept.clear()} files")


def policies() -> None:
    """Print two tables: policies and selection rules."""
    console = Console()
    for noun, place, found in (
        ("policy", "[policies.NAME]", api.list_policies()),
        ("selection", "[policies.NAME.selection_parameters]", api.list_selections()),
    ):
        show_parts(noun, place, [(name, made, parameters_of(made)) for name, made in found.items()], console)


def check_policy(policy: str) -> None:
    """Print the faults of a policy, and end with status 1 where there is one."""
    found = api.check_policy(policy)
    for line in found:
        typer.echo(line)
    if found:
        raise typer.Exit(1)
    typer.echo(f"{policy}: plans and runs without a fault")


def new(file: Path, like: str) -> None:
    """Write a scenario and say what to do with it."""
    api.new_scenario(file, like)
    typer.echo(f"{file}: written; edit it, then: prefine validate {file}; prefine compare {file}")


def scenarios() -> None:
    """Print the bundled scenarios."""
    show_scenarios(list(api.list_scenarios().items()), Console())


def formats(figures: str, width: FigureWidth) -> list[Any]:
    """The formats in a list separated by commas; raises InputError where one is none, or a width is of no file."""
    wanted = [name.strip() for name in figures.split(",") if name.strip()]
    for name in wanted:
        if name not in get_args(FigureFormat):
            raise InputError(f"--figures {name}: allowed: {', '.join(get_args(FigureFormat))}")
    if width != "page" and not wanted:
        raise InputError(f"--width {width}: is of plots as files; name their formats too, such as --figures pdf")
    return wanted


def _policies_in(folder: Path) -> list[str]:
    """The policies in the tables of an output folder; none where there are no tables."""
    if not (folder / "runs.csv").exists():
        return []
    from prefine.emulator.analysis.reading import read_table

    with suppress(InputError):
        return list(read_table(folder, "runs")["policy"].drop_duplicates())
    return []


def _show_doubts(source: Source) -> None:
    for doubt in source.world().doubts:
        typer.echo(one_line(f"prefine: {source.scenario.channel.trace}: {doubt.line}"), err=True)


def _command() -> str:
    return shlex.join(["prefine", *sys.argv[1:]]).encode("utf-8", "backslashreplace").decode()
