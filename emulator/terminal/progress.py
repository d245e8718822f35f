"""Progress while runs go on."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from prefine.emulator.experiment.runs import Job
from prefine.emulator.records import RunResult


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
