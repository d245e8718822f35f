"""``prefine compare``, ``run`` and ``sweep``: what they take."""

from typing import Annotated

import typer

from prefine.emulator.options import DeviceRows
from prefine.emulator.terminal.arguments import (
    DevicesOption,
    Figures,
    Hindsight,
    Jobs,
    NeededScenario,
    Out,
    OutOfRun,
    OutOfSweep,
    Policies,
    Quiet,
    Reference,
    ScenarioArgument,
    Scheduler,
    Seeds,
    Set,
    TablesOption,
    Track,
    Width,
)

COMPARE = "Example: prefine compare both-stages --policies joint,joint-ft,uniform --seeds 5 --jobs 2"
RUN = "Example: prefine run default --policy joint-ft --seed 3 --out out/one"
SWEEP = "Example: prefine sweep default --vary budget.delay_s=16,32,64 --policies joint-ft,uniform --jobs 2"


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


def _overrides(overrides: list[str] | None, devices: DeviceRows | None) -> list[str]:
    return [*(overrides or ()), *([] if devices is None else [f'compare.devices="{devices}"'])]


def _names(policies: str | None) -> list[str] | None:
    return None if policies is None else [name.strip() for name in policies.split(",") if name.strip()]
