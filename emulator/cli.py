"""The command line: ``prefine compare``, ``run``, ``plan``, ``sweep``, ``report`` and their helpers."""

import json
import shlex
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from prefine.emulator import api
from prefine.emulator.analysis.reading import read_table
from prefine.emulator.errors import InputError, InterruptionError, PrefineError, one_line
from prefine.emulator.plugins import parameters_of
from prefine.emulator.scenario.source import DEFAULT, Source, read_source
from prefine.emulator.terminal import plans
from prefine.emulator.terminal.ending import status_of
from prefine.emulator.terminal.progress import Progress
from prefine.emulator.terminal.tables import show_comparison, show_parts, show_scenarios
from prefine.traces.commands import app as trace_app

app = typer.Typer(
    name="prefine",
    help="Emulate two-stage edge learning: pre-train on a server, fine-tune on devices, on one virtual clock.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
app.add_typer(trace_app, name="trace")

ScenarioArgument = Annotated[
    str | None, typer.Argument(metavar="[SCENARIO]", help="A TOML file, or the name of a bundled scenario.")
]
NeededScenario = Annotated[str, typer.Argument(metavar="SCENARIO", help="A TOML file, or a bundled scenario's name.")]
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
Reference = Annotated[str | None, typer.Option(help="The policy that the others are compared with.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar and no table.")]
TablesOption = Annotated[
    api.TableFormat, typer.Option(help="Also write Parquet beside CSV, or the comparison for a paper.")
]
Figures = Annotated[str, typer.Option(metavar="svg,pdf", help="Also write the plots as files of these formats.")]
Hindsight = Annotated[
    bool, typer.Option("--hindsight", help="Also run the best share of pre-training in hindsight, and show the regret.")
]
Scheduler = Annotated[str | None, typer.Option(metavar="ADDRESS", help="Run on the Dask cluster of this scheduler.")]


def main() -> None:
    """Run the command line; however it ends, that is a status and at most one line."""
    sys.exit(status_of(command))


def command() -> int:
    """Do what `sys.argv` says; the exit status. Raises InputError where it is no command."""
    try:
        status = app(prog_name="prefine", standalone_mode=False)
    except typer.TyperException as error:
        said = error.format_message()
        if "\n" in said:  # nothing was asked for: the help page
            typer.echo(said)
            return 2
        where = getattr(getattr(error, "ctx", None), "command_path", "prefine").partition(" ")[2]
        raise InputError(f"{where}: {said}" if where else said) from error
    return status if isinstance(status, int) else 0


@app.callback(invoke_without_command=True)
def _options(
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    """Emulate two-stage edge learning: pre-train on a server, fine-tune on devices, on one virtual clock.

    Start with: prefine compare
    """
    if version:
        from importlib.metadata import version as installed

        typer.echo(f"prefine {installed('prefine')}")
        raise typer.Exit


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
    tables: TablesOption = "csv",
    figures: Figures = "",
    hindsight: Hindsight = False,
    quiet: Quiet = False,
) -> None:
    """Compare policies on identical channels, batches and faults; write tables and report.html."""
    source = read_source(scenario, overrides or ())
    _compare(
        source,
        out or Path("out") / source.scenario.name,
        quiet,
        policies=_names(policies),
        seeds=seeds,
        reference=reference,
        jobs=jobs,
        scheduler=scheduler,
        tables=tables,
        figures=_formats(figures),
        hindsight=hindsight,
    )


@app.command(epilog="Example: prefine run default --policy joint-ft --seed 3 --out out/one")
def run(
    scenario: NeededScenario,
    policy: Annotated[str, typer.Option(help="A policy's name, or file.py:ClassName.")],
    seed: Annotated[int, typer.Option(min=0, help="The run's seed.")] = 0,
    out: Out = None,
    overrides: Set = None,
    quiet: Quiet = False,
) -> None:
    """Emulate one policy with one seed."""
    source = read_source(scenario, overrides or ())
    folder = out or Path("out") / f"{source.scenario.name}-run"
    _compare(source, folder, quiet, policies=[policy], seeds=[seed])


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
    out: Out = None,
    overrides: Set = None,
    tables: TablesOption = "csv",
    figures: Figures = "",
    hindsight: Hindsight = False,
    quiet: Quiet = False,
) -> None:
    """Compare policies over a grid of scenarios; the same command resumes after an interruption."""
    source = read_source(scenario, overrides or ())
    _compare(
        source,
        out or Path("out") / f"{source.scenario.name}-sweep",
        quiet,
        vary=vary,
        pairs=pairs,
        policies=_names(policies),
        seeds=seeds,
        reference=reference,
        jobs=jobs,
        scheduler=scheduler,
        tables=tables,
        figures=_formats(figures),
        hindsight=hindsight,
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
    if scenario is not None and scenario.endswith(".json") and problem is None:
        problem, scenario = Path(scenario), None
    solution = api.plan(scenario, policy, overrides=overrides or (), problem=problem)
    if as_json:
        typer.echo(json.dumps(solution.document(), allow_nan=False))
    else:
        plans.show_plan(solution, Console())


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="An output folder.")],
    figures: Figures = "",
    tables: TablesOption = "csv",
) -> None:
    """Rebuild plots and report.html from the CSV files of an output folder."""
    api.report(folder, _formats(figures), tables)
    typer.echo(one_line(f"report: {folder / 'report.html'}"))


@app.command()
def cite(folder: Annotated[Path, typer.Argument(metavar="DIR", help="An output folder.")]) -> None:
    """Print BibTeX of what the runs in an output folder used."""
    typer.echo(api.cite(folder), nl=False)


@app.command()
def calibrate(
    scenario: ScenarioArgument = None,
    overrides: Set = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Measure the bound's constants on the actual data and model, print and cache them."""
    estimate = api.calibrate(scenario, overrides=overrides or ())
    if as_json:
        typer.echo(json.dumps(estimate, allow_nan=False))
    else:
        plans.show_constants(estimate, Console())


@app.command()
def validate(scenario: NeededScenario, overrides: Set = None) -> None:
    """Check a scenario and everything it refers to; say what world it makes."""
    source = read_source(scenario, overrides or ())
    plans.show_problem(source.name, api.validate(source), Console())


@app.command()
def policies() -> None:
    """List the policies, and the selection rules that combine with them, with their parameters."""
    console = Console()
    for noun, place, found in (
        ("policy", "[policies.NAME]", api.list_policies()),
        ("selection", "[policies.NAME.selection_parameters]", api.list_selections()),
    ):
        show_parts(noun, place, [(name, made, parameters_of(made)) for name, made in found.items()], console)


@app.command("check-policy", epilog="Example: prefine check-policy mine.py:Mine")
def check_policy(
    policy: Annotated[str, typer.Argument(metavar="FILE.py:CLASS", help="A policy of yours, or a policy's name.")],
) -> None:
    """Try a policy in a few small worlds, checked as every run is: one line a fault, and then status 1."""
    found = api.check_policy(policy)
    for line in found:
        typer.echo(line)
    if found:
        raise typer.Exit(1)
    typer.echo(f"{policy}: plans and runs without a fault")


@app.command()
def new(
    file: Annotated[Path, typer.Argument(help="Where to write the scenario; must not exist.")],
    like: Annotated[str, typer.Option(help="The bundled scenario to start from.")] = DEFAULT,
) -> None:
    """Write a commented scenario to start from."""
    api.new_scenario(file, like)
    typer.echo(f"{file}: written; edit it, then: prefine validate {file}; prefine compare {file}")


@app.command()
def scenarios() -> None:
    """List the bundled scenarios."""
    show_scenarios(list(api.list_scenarios().items()), Console())


def _compare(source: Source, folder: Path, quiet: bool, **options: Any) -> None:
    """Run with progress, show the comparison, and end with status 1 where a run failed."""
    console = Console()
    progress = Progress(console, quiet)
    before = _policies_in(folder)
    try:
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
        show_comparison(result, console)
        console.print(one_line(f"tables: {folder}/*.csv"), highlight=False, markup=False, soft_wrap=True)
        console.print(one_line(f"report: {folder / 'report.html'}"), highlight=False, markup=False, soft_wrap=True)
    failed = result.runs[result.runs["status"] == "failed"]
    if len(failed):
        reason = f"{failed.iloc[0]['run_id']}: {failed.iloc[0]['stop_reason']}"
        raise PrefineError(f"{len(failed)} of {len(result.runs)} runs failed; {reason}")


def _policies_in(folder: Path) -> list[str]:
    """The policies in the tables of an output folder; none where there are no tables."""
    with suppress(InputError):
        return list(read_table(folder, "runs")["policy"].drop_duplicates())
    return []


def _names(policies: str | None) -> list[str] | None:
    return None if policies is None else [name.strip() for name in policies.split(",") if name.strip()]


def _formats(figures: str) -> list[Any]:
    wanted = [name.strip() for name in figures.split(",") if name.strip()]
    for name in wanted:
        if name not in ("svg", "pdf", "png"):
            raise InputError(f"--figures {name}: allowed: svg, pdf, png")
    return wanted


def _command() -> str:
    return shlex.join(["prefine", *sys.argv[1:]]).encode("utf-8", "backslashreplace").decode()


if __name__ == "__main__":
    main()
