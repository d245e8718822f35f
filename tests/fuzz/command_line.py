"""The command line called in this process: what it said, and how it ended."""

import io
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from prefine.emulator import cli
from prefine.emulator.errors import one_line
from prefine.emulator.terminal.ending import status_of

LONGEST_S = 180.0
"""Measured constants may take a minute where others share the machine."""


class Ended(NamedTuple):
    """The exit status and what stood on standard error."""

    status: int
    said: str


def prefine(arguments: Sequence[str]) -> Ended:
    """Run the command line with ``arguments``."""
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()), redirect_stderr(said):
        patch.setattr("sys.argv", ["prefine", *arguments])
        status = status_of(cli.command)
    return Ended(status, said.getvalue())


@dataclass
class Tally:
    """How many inputs came through ``door``, how they ended, and what was not as promised."""

    door: str
    statuses: "Counter[int]" = field(default_factory=Counter)
    unexpected: list[object] = field(default_factory=list)

    def command(self, arguments: Sequence[str], given: object = None) -> Ended:
        """Run the command line and count it: it is done, or refused in one printable line, within `LONGEST_S`."""
        with within(LONGEST_S):
            ended = prefine(arguments)
        line = ended.said.removesuffix("\n").removeprefix("prefine: ")
        as_promised = (
            ended.status in (0, 1, 2)
            and "unforeseen" not in line
            and line == one_line(line)
            and (ended.status == 0 or line != "")
        )
        self.statuses[ended.status] += 1
        self.require(as_promised, ended, list(arguments), given)
        return ended

    def require(self, as_promised: bool, *what: object) -> None:
        """Remembers ``what``, cut, where it was not ``as_promised``."""
        if not as_promised:
            self.unexpected.append(repr(what)[:1500])
            print(f"\n{self.door}: unexpected {self.unexpected[-1]}")

    def close(self) -> None:
        """Print the counts; fail where something was unexpected."""
        tried = self.statuses.total()
        print(f"\n{self.door}: {tried} inputs, {tried - self.statuses[0]} refused, {len(self.unexpected)} unexpected")
        assert not self.unexpected, "\n".join(map(str, self.unexpected[:20]))


class NoAnswerError(BaseException):
    """A command took too long; derived from BaseException, as Ctrl-C is."""


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raises NoAnswerError in the block where it takes more processor time, or ten times that on the clock."""

    def ring(*_: Any) -> None:
        raise NoAnswerError

    clocks = ((signal.ITIMER_PROF, signal.SIGPROF, seconds), (signal.ITIMER_REAL, signal.SIGALRM, 10.0 * seconds))
    before = [signal.signal(rings, ring) for _, rings, _ in clocks]
    for clock, _, limit in clocks:
        signal.setitimer(clock, limit)
    try:
        yield
    finally:
        for (clock, rings, _), handler in zip(clocks, before, strict=True):
            signal.setitimer(clock, 0.0)
            signal.signal(rings, handler)


def written(path: Path, text: str) -> Path:
    """``path``, which holds ``text`` now."""
    path.write_text(text, encoding="utf-8", errors="surrogateescape")
    return path
