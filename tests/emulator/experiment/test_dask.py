"""Runs on a real Dask cluster of this machine: the same bytes, also when a worker is killed in mid-sweep."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest

from prefine.emulator.errors import InputError, PrefineError
from prefine.emulator.experiment.cluster import Dask, _DaskExecutor
from prefine.emulator.experiment.executor import Serial
from prefine.emulator.experiment.results import Job
from prefine.emulator.experiment.runs import Listener, run_many
from prefine.emulator.experiment.store import Store
from tests.emulator.experiment import synthetic
from tests.emulator.experiment.sweeping import jobs, sweep
from tests.emulator.experiment.synthetic import SyntheticJob
from tests.emulator.experiment.test_sweep import PATIENCE_S, ROOT, contents, start, stored, wait_until

pytest.importorskip("distributed")


class Cluster(NamedTuple):
    address: str
    scheduler: "subprocess.Popen[bytes]"
    workers: "list[subprocess.Popen[bytes]]"


def dask_process(*arguments: str) -> "subprocess.Popen[bytes]":
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "dask", *arguments, "--no-dashboard"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@contextmanager
def running(file: Path) -> Iterator[Cluster]:
    """A scheduler, which writes its address to ``file``, and two workers without nannies: who is killed stays dead."""
    from distributed import Client

    scheduler = dask_process("scheduler", "--port", "0", "--host", "127.0.0.1", "--scheduler-file", str(file))
    workers: list[subprocess.Popen[bytes]] = []
    try:
        wait_until(lambda: file.exists() and file.stat().st_size > 0)
        for _ in range(2):
            workers.append(dask_process("worker", "--scheduler-file", str(file), "--nthreads", "1", "--no-nanny"))
        with Client(scheduler_file=str(file), set_as_default=False) as client:  # type: ignore[no-untyped-call]  # untyped
            client.wait_for_workers(2, timeout=PATIENCE_S)
            address = str(client.scheduler.address)
        yield Cluster(address, scheduler, workers)
    finally:
        for process in (*workers, scheduler):
            process.kill()
            process.wait()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """For one test to break."""
    with running(tmp_path / "scheduler.json") as one:
        yield one


@pytest.fixture(scope="module")
def lasting_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """For tests that leave it whole."""
    with running(tmp_path_factory.mktemp("dask") / "scheduler.json") as one:
        yield one


def test_a_worker_killed_in_mid_sweep_changes_nothing(tmp_path: Path, cluster: Cluster) -> None:
    expected = tmp_path / "serial"
    sweep(expected, Serial(), nap_s=0.0)
    folder = tmp_path / "dask"
    process = start(folder, cluster.address)
    wait_until(lambda: stored(folder) >= 10)
    cluster.workers[0].send_signal(signal.SIGKILL)
    at_death = stored(folder)
    assert process.wait(PATIENCE_S) == 0
    assert at_death < stored(folder)
    assert contents(folder) == contents(expected)


def test_a_killed_client_resumes_on_the_cluster(tmp_path: Path, lasting_cluster: Cluster) -> None:
    expected = tmp_path / "serial"
    sweep(expected, Serial(), nap_s=0.0)
    folder = tmp_path / "dask"
    for enough in (8, 20):
        process = start(folder, lasting_cluster.address)
        wait_until(lambda enough=enough: stored(folder) >= enough)  # type: ignore[misc]  # the loop's value, bound now
        process.kill()
        process.wait()
    sweep(folder, Dask(lasting_cluster.address), nap_s=0.0)
    assert contents(folder) == contents(expected)


def test_failures_on_the_cluster_are_rows(tmp_path: Path, lasting_cluster: Cluster) -> None:
    work = [SyntheticJob("no-such", 0), SyntheticJob("uniform", 0), SyntheticJob("joint", 0)]
    results = run_many(work, synthetic.raise_bug, Dask(lasting_cluster.address), Store(tmp_path / "store"))
    rows = [result.run for _, _, result in results]
    assert [row.status for row in rows] == ["failed", "failed", "done"]
    assert rows[1].stop_reason.startswith("ZeroDivisionError: float division by zero (synthetic.py, line ")


def test_a_lost_scheduler_is_one_clear_line_and_finished_runs_are_kept(
    tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "prefine.emulator.experiment.cluster._CONNECT_TIMEOUT_S", 2.0
    )  # also how long it tries to reconnect
    store = Store(tmp_path / "runs")

    class EndsTheCluster(Listener):
        def done(self, job: Job, result: object) -> None:
            if stored(tmp_path) == 3:
                cluster.scheduler.kill()

    with pytest.raises(PrefineError, match="went away"):
        run_many(jobs(0.1), synthetic.execute, Dask(cluster.address), store, EndsTheCluster())
    assert 3 <= stored(tmp_path) < len(jobs(0))


def test_a_client_that_closed_before_the_watch_noticed_says_the_same() -> None:
    class ClosedClient:
        status = "closed"
        scheduler = SimpleNamespace(address="tcp://gone:1")

        def get_executor(self, pure: bool) -> "ClosedClient":
            return self

        def submit(self, *arguments: object) -> None:
            raise RuntimeError("Client is closed. Can't send update-graph message.")

    with pytest.raises(PrefineError, match="tcp://gone:1: the Dask scheduler went away"):
        _DaskExecutor(ClosedClient()).submit(print)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nonsense", "tcp://", ""])
def test_no_scheduler_is_one_clear_line(tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prefine.emulator.experiment.cluster._CONNECT_TIMEOUT_S", 1.0)
    began = time.monotonic()
    with pytest.raises(InputError, match="--scheduler") as raised:
        run_many([SyntheticJob("joint", 0)], synthetic.execute, Dask(address), Store(tmp_path / "store"))
    assert "\n" not in str(raised.value)
    assert time.monotonic() - began < 8
