"""The results of many jobs, from memory or from the store."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Generic, Protocol, TypeVar

from prefine.emulator.analysis.entries import Entry
from prefine.emulator.errors import PrefineError
from prefine.emulator.experiment.store import Store
from prefine.emulator.records import RunResult

HELD_ROWS = 50_000
"""Rows of rounds, devices and clients of stored results that are kept in memory too, some 50 MB at most."""


class Job(Protocol):
    """One run to be: a scenario, a policy and a seed, and a name that is unique among the jobs of a command."""

    @property
    def run_id(self) -> str:
        """Names the run in all tables."""
        ...

    @property
    def policy(self) -> str:
        """How the policy was asked for: its name, or a file and class."""
        ...

    @property
    def label(self) -> str:
        """The policy's name in tables."""
        ...

    @property
    def seed(self) -> int:
        """The run's seed."""
        ...

    @property
    def varied(self) -> tuple[tuple[str, object], ...]:
        """The scenario keys that a sweep varied, with this run's values."""
        ...

    @property
    def lasting(self) -> bool:
        """Whether `content` tells this run from every other one, so that its result can be stored and found again."""
        ...

    def content(self) -> Mapping[str, object]:
        """Everything that determines the result, fit for JSON."""
        ...


J = TypeVar("J", bound=Job)


@dataclass(frozen=True)
class Results(Generic[J]):
    """The results of ``jobs`` in their order, those in the store read one at a time.

    ``held`` are those in memory, by index: all that are not in the store (failed runs, and jobs that are not lasting),
    and as many of the others as `Held` has room for.
    """

    jobs: tuple[J, ...]
    keys: tuple[str, ...]
    store: Store
    held: Mapping[int, RunResult]

    def __iter__(self) -> Iterator[Entry]:
        for index, (job, key) in enumerate(zip(self.jobs, self.keys, strict=True)):
            result = self.held.get(index) or self.store.load(key)
            if result is None:
                raise PrefineError(f"{self.store.folder}: the result of {job.run_id} has gone; run the same again")
            yield Entry(job.run_id, job.varied, _labelled(result, job))

    def where(self, wanted: Callable[[J], bool]) -> "Results[J]":
        """The results of the ``wanted`` jobs, in the same order."""
        chosen = [index for index, job in enumerate(self.jobs) if wanted(job)]
        jobs, keys = tuple(self.jobs[index] for index in chosen), tuple(self.keys[index] for index in chosen)
        held = {place: self.held[index] for place, index in enumerate(chosen) if index in self.held}
        return Results(jobs, keys, self.store, held)


class Held:
    """The results that need not be read from the store, by index; no more than `HELD_ROWS` rows of what is in it."""

    def __init__(self) -> None:
        self.results: dict[int, RunResult] = {}
        self._rows = 0

    def add(self, index: int, result: RunResult, *, in_store: bool) -> None:
        """Keep ``result``, or leave it to the store where it is in it and there is no room."""
        rows = len(result.rounds) + len(result.devices) + len(result.clients) if in_store else 0
        if self._rows + rows <= HELD_ROWS:
            self._rows += rows
            self.results[index] = result


def stored(store: Store, key: str, job: Job) -> RunResult | None:
    """The result of ``job`` in the store."""
    result = store.load(key)
    return None if result is None else _labelled(result, job)


def _labelled(result: RunResult, job: Job) -> RunResult:
    """Under the label of ``job``: jobs that differ in that alone share one result in the store."""
    return replace(result, run=result.run._replace(policy=job.label))
