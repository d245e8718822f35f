"""Progress while constants are measured, policies rehearse and runs go on."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar

from prefine.emulator.experiment.results import Job
from prefine.emulator.experiment.runs import Listener
from prefine.emulator.records import RunResult
from prefine.emulator.watch import Advance


class Progress(Listener):
    """Counts the runs of one command, and shows on a terminal a bar with the remaining time; nothing if ``quiet``.

    ``kept`` of the ``total`` runs are in the store, where the same command finds them again. Other long work has a bar
    of its own while it lasts (`stage`).
    """

    def __init__(self, console: Console, quiet: bool = False) -> None:
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[done]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=quiet or not console.is_terminal,
        )
        self._console, self._quiet = console, quiet
        self._task = TaskID(0)
        self._failed = self._done = 0
        self.total = 0
        self.kept = 0

    @contextmanager
    def __call__(self, total: int) -> Iterator[Listener]:
        """While this is open, ``total`` runs are told of."""
        self.total = total
        self._task = self._bar.add_task("runs", total=total, done=f"0/{total}")
        with self._bar:
            yield self

    @contextmanager
    def stage(self, what: str, total: float | None) -> Iterator[Advance]:
        """Work called ``what`` goes on while this is open; what it yields is called with how much more is done."""
        outer = not self._bar.live.is_started
        task, done = self._bar.add_task(escape(what), total=total, done=""), 0.0
        self._bar.start()

        def advance(amount: float) -> None:
            nonlocal done
            done += amount
            text = f"{done:.0f}" if total is None else f"{min(99.0, 100.0 * done / total):.0f} %"
            self._bar.update(task, completed=done if total is None else min(done, 0.99 * total), done=text)

        try:
            yield advance
        finally:
            self._bar.remove_task(task)
            if outer:
                self._bar.stop()

    def done(self, job: Job, result: RunResult) -> None:
        """One more."""
        is_done = result.run.status == "done"
        self._failed += not is_done
        self.kept += is_done and job.lasting
        note = f"{self._failed} failed, " if self._failed else ""
        self._done += 1
        description = f"{note}{escape(job.run_id)}"
        self._bar.update(self._task, advance=1, description=description, done=f"{self._done}/{self.total}")

    def found(self, count: int) -> None:
        """A command that goes on where it was says so."""
        if count and not self._quiet:
            self._console.print(f"{count} of {self.total} runs are there already", highlight=False)
