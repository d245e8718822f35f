"""The workers of a Dask cluster, through the interface of `prefine.emulator.experiment.executor`."""

import re
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from prefine.emulator.errors import InputError, PrefineError

_CONNECT_TIMEOUT_S = 10.0
_WATCH_S = 0.5
_ADDRESS = re.compile(r"([a-z]+://)?[^\s/:]+:\d+|[a-z]+://\[[0-9a-fA-F:]+\]:\d+")


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
