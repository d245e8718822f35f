"""Where runs are executed: here, in processes of this machine, or on a Dask cluster; all through one interface."""

import multiprocessing
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, InvalidStateError, ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.context import ForkServerContext, ForkServerProcess, SpawnContext, SpawnProcess
from typing import Any, Protocol, TypeVar

from prefine.emulator.errors import InputError, PrefineError

_HAS_SERVER = sys.platform == "linux"
_CONNECT_TIMEOUT_S = 10.0
_WATCH_S = 0.5
_ADDRESS = re.compile(r"([a-z]+://)?[^\s/:]+:\d+|[a-z]+://\[[0-9a-fA-F:]+\]:\d+")


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


@dataclass(frozen=True)
class Processes:
    """``count`` worker processes on this machine; one more run waits, so that none is idle while a result is stored.

    They are forks of a server that has done nothing but import ``modules`` (where the system has such servers; spawned
    elsewhere), never of this process: a fork would copy threads' locks. Each ends when its parent is gone, however that
    ended, and on Ctrl-C. They do not run the user's script again, so it needs no ``__main__`` guard: what they need of
    it comes by value.
    """

    count: int
    modules: tuple[str, ...] = ()
    far: bool = False

    @property
    def width(self) -> int:
        """One more than there are processes."""
        return self.count + 1

    def open(self) -> Executor:
        """A pool of fresh processes; raises InputError where the machine allows none."""
        context = _FromServer() if _HAS_SERVER else _Spawned()
        context.set_forkserver_preload(list(self.modules))
        try:
            return ProcessPoolExecutor(
                self.count, mp_context=context, initializer=_begin_worker, initargs=(dict(os.environ),)
            )
        except (OSError, ImportError) as error:  # no shared memory for its locks
            raise InputError(f"jobs = {self.count}: no worker processes can be made here ({error}); use 1") from error


@contextmanager
def _starting_a_worker() -> Iterator[None]:
    """A process begun inside the block is told of no main module, and not to mind Ctrl-C, be it ever so early."""
    main = vars(sys.modules["__main__"])
    hidden: dict[str, Any] = {name: main.pop(name) for name in ("__file__", "__spec__") if name in main}
    main["__spec__"] = None
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if _HAS_SERVER else None
    try:
        yield
    finally:
        if before is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        main.update(hidden)


class _SpawnedProcess(SpawnProcess):
    _Popen = staticmethod(_starting_a_worker()(SpawnProcess._Popen))


class _Spawned(SpawnContext):
    Process = _SpawnedProcess


class _ServersProcess(ForkServerProcess):
    _Popen = staticmethod(_starting_a_worker()(ForkServerProcess._Popen))


class _FromServer(ForkServerContext):
    Process = _ServersProcess


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


@dataclass(frozen=True)
class Dask:
    """The workers of a Dask cluster, found by its scheduler's address (``tcp://host:port``, ``tls://host:port``)."""

    address: str
    far: bool = True

    @property
    def width(self) -> int:
        """Twice the cluster's threads now: the next run waits at a worker while the last one's result travels.

        Raises InputError where ``distributed`` is not installed, nothing answers, or the cluster has no workers.
        """
        with _client(self.address) as client:
            threads = sum(int(count) for count in client.nthreads().values())
        if threads == 0:
            raise InputError(f"--scheduler {self.address}: it has no workers; start one: dask worker {self.address}")
        return 2 * threads

    def open(self) -> Executor:
        """An executor on the cluster; shutting it down leaves the cluster as it was."""
        return _DaskExecutor(_client(self.address))


class _DaskExecutor(Executor):
    """The client's own executor; it closes the connection with it, and says so when the scheduler is lost.

    Dask leaves the futures of a lost scheduler pending for ever; here they end with a PrefineError.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._executor = client.get_executor(pure=False)
        self._pending: set[Future[Any]] = set()
        self._over = threading.Event()
        self._address = client.scheduler.address
        threading.Thread(target=self._watch, daemon=True).start()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        try:
            future: Future[Any] = self._executor.submit(fn, *args, **kwargs)
        except Exception as error:
            if self._client.status == "running":
                raise
            raise self._lost() from error  # the client noticed before the watch did
        self._pending.add(future)
        future.add_done_callback(self._pending.discard)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._over.set()
        if self._client.status != "closed":
            self._executor.shutdown(wait=wait)
            self._client.close()

    def _watch(self) -> None:
        while self._client.status != "closed":
            if self._over.wait(_WATCH_S):
                return
        for future in tuple(self._pending):
            with suppress(InvalidStateError):  # done at this very moment
                future.set_exception(self._lost())

    def _lost(self) -> PrefineError:
        return PrefineError(f"{self._address}: the Dask scheduler went away; finished runs are kept")


def _client(address: str) -> Any:
    try:
        from distributed import Client
    except ImportError:
        raise InputError("--scheduler needs distributed: pip install 'prefine[cluster]'") from None
    if not _ADDRESS.fullmatch(address):
        raise InputError(f"--scheduler {address!r}: is no address; allowed: tcp://HOST:PORT")
    try:
        return Client(address, timeout=_CONNECT_TIMEOUT_S, set_as_default=False)  # type: ignore[no-untyped-call]  # untyped
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"--scheduler {address}: no Dask scheduler answers ({reason})") from None


def abandon(executor: Executor, others: set[Any]) -> None:
    """Leave at once, without waiting for the runs under way: all processes but ``others`` are ended."""
    executor.shutdown(wait=False, cancel_futures=True)
    for process in set(multiprocessing.active_children()) - others:
        process.terminate()


def _begin_worker(environment: dict[str, str]) -> None:
    """Leave Ctrl-C to the parent, and end with it: a killed parent must not leave workers behind.

    The server may have begun when the parent's ``environment`` was another.
    """
    if environment != dict(os.environ):
        os.environ.clear()
        os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)
