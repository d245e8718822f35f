"""What a person at a terminal sees: progress while runs go on, and the comparison when they are done."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from prefine.emulator.analysis.comparison import REALISED, SCORE
from prefine.emulator.experiment.runs import Job
from prefine.emulator.records import RunResult
from prefine.emulator.report.data import Tables, shown
from prefine.emulator.report.words import difference, number, plus_minus


class Ticker:
    """Hears of each finished run; the null object, for ``--quiet`` and where there is no terminal."""

    def __call__(self, job: Job, result: RunResult) -> None:
        """``job`` has this ``result``."""


class _Bar(Ticker):
    def __init__(self, bar: Progress, total: int) -> None:
        self._bar = bar
        self._task = bar.add_task("runs", total=total)
        self._failed = 0

    def __call__(self, job: Job, result: RunResult) -> None:
        self._failed += result.run.status == "failed"
        note = f"{self._failed} failed, " if self._failed else ""
        self._bar.update(self._task, advance=1, description=f"{note}{escape(job.run_id)}")


@contextmanager
def progress(total: int, console: Console, quiet: bool = False) -> Iterator[Ticker]:
    """What to tell of each of ``total`` runs: a bar with the remaining time on a terminal, otherwise nothing."""
    if quiet or not console.is_terminal:
        yield Ticker()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console, transient=True) as bar:
        yield _Bar(bar, total)


def show_comparison(tables: Tables, console: Console) -> None:
    """Print the comparison, predicted beside realised, then failed runs with their reasons."""
    reference = tables.reference
    caption = (
        "Means over seeds, ± half-width of the 95 % interval. Gain: test accuracy against "
        f"{reference}, same seeds. Rounds: pre-training+fine-tuning; in brackets what the plan promised."
    )
    table = Table(box=box.SIMPLE_HEAD, caption=caption, caption_justify="left", pad_edge=False, padding=(0, 1, 0, 0))
    for key in tables.keys:
        table.add_column(key.replace(".", ".\n"), justify="right")
    table.add_column("policy", no_wrap=True)
    for heading in _HEADINGS:
        table.add_column(heading, justify="right", no_wrap=heading != _HEADINGS[-1])
    reasons = _reasons(tables)
    for row in tables.comparison.to_dict("records"):
        case = tuple(row[key] for key in tables.keys)
        table.add_row(
            *map(shown, case), escape(row["policy"]), *_cells(row), reasons.get((*case, row["policy"]), "failed")
        )
    console.print(table)
    for run in tables.runs[tables.runs["status"] == "failed"].to_dict("records"):
        console.print(f"[red]failed[/red] {escape(str(run['run_id']))}: {escape(str(run['stop_reason']))}")


_HEADINGS = (
    "rounds",
    "accuracy",
    "gain",
    "grad²\n(bound)",
    "delay s\n(plan)",
    "energy J\n(plan)",
    "stopped by",
)


def _cells(row: dict[Any, Any]) -> list[str]:
    def beside(realised: str, predicted: str) -> str:
        return f"{number(row[f'{realised}_mean'])}\n({number(row[f'{predicted}_mean'])})"

    return [
        f"{number(row['pretrain_rounds_mean'])}+{number(row['finetune_rounds_mean'])}",
        plus_minus(row[f"{SCORE}_mean"], row[f"{SCORE}_ci95"], 3).replace(" ± ", "\n±"),
        difference(row).replace(" ± ", "\n±"),
        beside(REALISED, "bound"),
        beside("delay_s", "predicted_delay_s"),
        beside("energy_j", "predicted_energy_j"),
    ]


def _reasons(tables: Tables) -> dict[tuple[object, ...], str]:
    """Why each policy's finished runs stopped: the commonest reason first, with counts where there are several."""
    reasons: dict[tuple[object, ...], str] = {}
    for case, group in tables.done.groupby([*tables.keys, "policy"], sort=False, dropna=False):
        counts = group["stop_reason"].value_counts().to_dict()
        reasons[tuple(case)] = (
            str(next(iter(counts))) if len(counts) == 1 else ", ".join(f"{name} ({n})" for name, n in counts.items())
        )
    return reasons
