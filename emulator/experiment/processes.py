"""Worker processes of this machine: forks of a server that has imported the libraries once, or spawned ones."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import connection, forkserver
from multiprocessing.context import ForkServerContext, ForkServerProcess, SpawnContext, SpawnProcess
from typing import Any

from prefine.emulator.errors import InputError

_HAS_SERVER = sys.platform == "linux"


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
        """A pool of fresh processes; raises InputError where the machine allows none.

        It answers before the server has imported its modules: only the first call of the pool waits for that.
        """
        context = _FromServer() if _HAS_SERVER else _Spawned()
        context.set_forkserver_preload(list(self.modules))
        if _HAS_SERVER:
            with _starting_a_worker():
                forkserver.ensure_running()
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
