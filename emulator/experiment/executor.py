"""Where runs are executed, through one interface: here, in processes of this machine, or on a Dask cluster.

The processes are in `prefine.emulator.experiment.processes`, the cluster in `prefine.emulator.experiment.cluster`.
"""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Workers(Protocol):
    """Makes executors. A new one is opened whenever the last one broke."""

    @property
    def width(self) -> int:
        """How many runs are under way at once."""
        ...

    @property
    def far(self) -> bool:
        """Whether jobs and results travel over a network."""
        ...

    def open(self) -> Executor:
        """A fresh executor."""
        ...


class _Here(Executor):
    """Runs each call at once, in this process."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


@dataclass(frozen=True)
class Serial:
    """One run after the other in this process."""

    width: int = 1
    far: bool = False

    def open(self) -> Executor:
        """An executor that has no processes of its own."""
        return _Here()


class Standing:
    """``workers`` whose executor stays open from one use to the next, and can be given other work between them."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._open: list[Executor] = []
        self._others: set[Any] = set()

    @property
    def width(self) -> int:
        """As of the workers."""
        return self._workers.width

    @property
    def far(self) -> bool:
        """As of the workers."""
        return self._workers.far

    def open(self) -> Executor:
        """The executor that is open, or a fresh one; shutting it down ends it only where it has to end at once."""
        if not self._open:
            self._others = set(multiprocessing.active_children())
            self._open.append(self._workers.open())
        return _Lent(self._open, self._others)

    def call(self, work: Callable[[], T]) -> T:
        """What ``work`` (picklable) answers, made by a worker where one is there, in this process otherwise."""
        if self._open:
            try:
                return self._open[0].submit(work).result()
            except BrokenExecutor:
                self._abandon()
            except KeyboardInterrupt:  # closing would wait for the work's end
                self._abandon()
                raise
        return work()

    def _abandon(self) -> None:
        _Lent(self._open, self._others).shutdown(cancel_futures=True)

    def close(self) -> None:
        """End the workers."""
        while self._open:
            self._open.pop().shutdown()


class _Lent(Executor):
    """The one executor in ``held``; it is taken out and shut down when what is under way has to be abandoned."""

    def __init__(self, held: list[Executor], others: set[Any]) -> None:
        self._held, self._others = held, others

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        return self._held[0].submit(fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        if cancel_futures and self._held:
            abandon(self._held.pop(), self._others)


def abandon(executor: Executor, others: set[Any]) -> None:
    """Leave at once, without waiting for the runs under way: all processes but ``others`` are ended."""
    executor.shutdown(wait=False, cancel_futures=True)
    for process in set(multiprocessing.active_children()) - others:
        process.terminate()
