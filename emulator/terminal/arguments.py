"""What the arguments and options of commands are, for those that more than one command takes."""

from pathlib import Path
from typing import Annotated

import typer

from prefine.emulator.options import DeviceRows, FigureWidth, TableFormat, TrackFormat


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
