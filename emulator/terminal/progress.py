"""Progress while runs go on."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar

from prefine.emulator.experiment.runs import Job, Listener
from prefine.emulator.records import RunResult


class Progress(Listener):
    """Counts the runs of one command, and shows on a terminal a bar with the remaining time; nothing if ``quiet``.

    ``kept`` of the ``total`` runs are in the store, where the same command finds them again.
    """

    def __init__(self, console: Console, quiet: bool = False) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        self._bar = Bar(
            *columns,
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=quiet or not console.is_terminal,
        )
        self._console, self._quiet = console, quiet
        self._task = TaskID(0)
        self._failed = 0
        self.total = 0
        self.kept = 0

    @contextmanager
    def __call__(self, total: int) -> Iterator[Listener]:
        """While this is open, ``total`` runs are told of."""
        self.total = total
        self._task = self._bar.add_task("runs", total=total)
        with self._bar:
            yield self

    def done(self, job: Job, result: RunResult) -> None:
        """One more."""
        is_done = result.run.status == "done"
        self._failed += not is_done
        self.kept += is_done and job.lasting
        note = f"{self._failed} failed, " if self._failed else ""
        self._bar.update(self._task, advance=1, description=f"{note}{escape(job.run_id)}")

    def found(self, count: int) -> None:
        """A command that goes on where it was says so."""
        if count and not self._quiet:
            self._console.print(f"{count} of {self.total} runs are there already", highlight=False)
