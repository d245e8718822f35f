"""Many runs: resumed, retried, failed, in any order, with the same tables."""

import errno
import os
from concurrent.futures import BrokenExecutor
from pathlib import Path

import pytest

from prefine.emulator.analysis.writing import write_tables
from prefine.emulator.errors import InputError, PrefineError
from prefine.emulator.experiment import results as results_module
from prefine.emulator.experiment.executor import Serial, Standing
from prefine.emulator.experiment.processes import Processes
from prefine.emulator.experiment.results import Job, Results
from prefine.emulator.experiment.runs import Listener, run_many
from prefine.emulator.experiment.store import Store
from prefine.emulator.identity import address
from tests.emulator.experiment import synthetic
from tests.emulator.experiment.synthetic import SyntheticJob

TABLES = ("runs.csv", "rounds.csv", "devices.csv")


def jobs(mischief: str = "", nap_s: float = 0.0) -> list[SyntheticJob]:
    return [SyntheticJob(policy, seed, (), nap_s, mischief) for policy in ("joint", "uniform") for seed in range(3)]


def tables(results: Results[SyntheticJob], folder: Path) -> dict[str, bytes]:
    write_tables(folder, results)
    return {name: (folder / name).read_bytes() for name in TABLES}


@pytest.fixture
def expected(tmp_path: Path) -> dict[str, bytes]:
    return tables(run_many(jobs(), synthetic.execute, Serial(), Store(tmp_path / "serial")), tmp_path / "serial")


def test_two_processes_write_the_same_bytes_as_none(tmp_path: Path, expected: dict[str, bytes]) -> None:
    results = run_many(jobs(), synthetic.execute, Processes(2), Store(tmp_path / "store"))
    assert tables(results, tmp_path) == expected


@pytest.mark.parametrize("rows", [0, 60])
def test_tables_are_the_same_from_memory_and_from_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expected: dict[str, bytes], rows: int
) -> None:
    """Without room for a single result in memory, and with room for one or two of six."""
    monkeypatch.setattr(results_module, "HELD_ROWS", rows)
    results = run_many(jobs(), synthetic.execute, Serial(), Store(tmp_path / "store"))
    assert 0 < len(results.held) < 3 if rows else results.held == {}
    assert tables(results, tmp_path) == expected


def test_what_is_stored_is_not_run_again(tmp_path: Path, expected: dict[str, bytes]) -> None:
    log = tmp_path / "log"
    store = Store(tmp_path / "store")
    run_many(jobs(str(log))[:4], synthetic.count, Serial(), store)
    heard: list[str] = []
    found: list[int] = []

    class Hears(Listener):
        def done(self, job: Job, result: object) -> None:
            heard.append(job.run_id)

        def found(self, count: int) -> None:
            found.append(count)

    results = run_many(jobs(str(log)), synthetic.count, Serial(), store, Hears())
    assert found == [4]
    assert sorted(log.read_text().split()) == sorted(job.run_id for job in jobs())
    assert sorted(heard) == sorted(job.run_id for job in jobs())
    assert tables(results, tmp_path) == expected


@pytest.mark.parametrize("damage", ["torn", "flipped", "empty", "not gzip", "no JSON"])
def test_a_damaged_result_is_redone(tmp_path: Path, expected: dict[str, bytes], damage: str) -> None:
    import gzip

    store = Store(tmp_path / "store")
    run_many(jobs(), synthetic.execute, Serial(), store)
    victim = store.folder / f"{address(jobs()[2].content())}.json.gz"
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 0xFF
    victim.write_bytes(
        {
            "torn": victim.read_bytes()[:-9],
            "flipped": bytes(data),
            "empty": b"",
            "not gzip": b"{}",
            "no JSON": gzip.compress(b"{"),
        }[damage]
    )
    log = tmp_path / "log"
    results = run_many(jobs(str(log)), synthetic.count, Serial(), store)
    assert log.read_text().split() == [jobs()[2].run_id]
    assert tables(results, tmp_path) == expected


def test_a_killed_worker_is_replaced_and_its_run_redone(tmp_path: Path, expected: dict[str, bytes]) -> None:
    mark = tmp_path / "mark"
    results = run_many(jobs(str(mark)), synthetic.die_once, Processes(2), Store(tmp_path / "store"))
    assert mark.exists()
    assert tables(results, tmp_path) == expected


def test_a_run_that_kills_every_worker_is_a_failed_row(tmp_path: Path) -> None:
    results = run_many(jobs(), synthetic.die_always, Processes(2), Store(tmp_path / "store"))
    rows = [result.run for _, _, result in results]
    assert [row.status for row in rows] == ["done", "failed", "done", "done", "done", "done"]
    assert rows[1].stop_reason == "its worker process died 3 times"


def test_failed_runs_are_rows_with_their_reason_and_are_tried_again(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    strange = [SyntheticJob("no-such", 0), *jobs()]
    rows = [result.run for _, _, result in run_many(strange, synthetic.raise_bug, Serial(), store)]
    assert [row.status for row in rows] == ["failed", "done", "done", "done", "failed", "failed", "failed"]
    assert rows[0].stop_reason == "budget.delay_s = 0.1: one round needs at least 2 s"
    assert rows[4].stop_reason.startswith("ZeroDivisionError: float division by zero (synthetic.py, line ")
    again = [result.run.status for _, _, result in run_many(strange, synthetic.execute, Serial(), store)]
    assert again == ["failed"] + ["done"] * 6


def test_a_full_disk_is_one_line_and_keeps_what_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path / "store")
    sync = os.fsync
    calls = iter(range(100))

    def fill_up(descriptor: int) -> None:
        if next(calls) >= 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fill_up)
    with pytest.raises(PrefineError, match="disk is full") as raised:
        run_many(jobs(), synthetic.execute, Serial(), store)
    assert "\n" not in str(raised.value)
    monkeypatch.undo()
    assert sorted(path.suffix for path in store.folder.iterdir()) == [".gz", ".gz"]
    log = tmp_path / "log"
    run_many(jobs(str(log)), synthetic.count, Serial(), store)
    assert len(log.read_text().split()) == 4


def test_temporary_files_of_dead_writers_are_removed_and_those_of_living_ones_kept(tmp_path: Path) -> None:
    dead, alive = tmp_path / f".a.json.gz.{2**22 + 1}.tmp", tmp_path / f".a.json.gz.{os.getpid()}.tmp"
    dead.touch()
    alive.touch()
    Store(tmp_path)
    assert (dead.exists(), alive.exists()) == (False, True)


def test_two_runs_of_the_same_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="both be named joint__s0"):
        run_many([SyntheticJob("joint", 0)] * 2, synthetic.execute, Serial(), Store(tmp_path))


def test_one_stored_result_serves_every_label(tmp_path: Path) -> None:
    """Found again, it goes by the label that was asked for."""

    class Twin(SyntheticJob):
        label = "twin"
        run_id = "twin__s0"

    for asked in ([SyntheticJob("joint", 0), Twin("joint", 0)], [Twin("joint", 0)], [SyntheticJob("joint", 0)]):
        entries = list(run_many(asked, synthetic.execute, Serial(), Store(tmp_path)))
        assert [(entry.run_id, entry.result.run.policy) for entry in entries] == [(j.run_id, j.label) for j in asked]


def test_addresses_differ_in_every_part_and_not_in_the_order_of_keys() -> None:
    assert address({"a": 1, "b": 2.0}) == address({"b": 2.0, "a": 1})
    assert len({address({"a": value}) for value in (1, 1.5, "1", None, [1], {"x": 1}, 0.1 + 0.2, 0.3)}) == 8


def test_standing_workers_serve_from_one_use_to_the_next() -> None:
    standing = Standing(Processes(1))
    assert standing.call(os.getpid) == os.getpid()
    with standing.open() as executor:
        worker = executor.submit(os.getpid).result()
    assert standing.call(os.getpid) == worker != os.getpid()
    with pytest.raises(BrokenExecutor):
        executor.submit(os._exit, 1).result()
    assert standing.call(os.getpid) == os.getpid()
    assert standing.open().submit(os.getpid).result() not in (worker, os.getpid())
    standing.close()
    assert standing.call(os.getpid) == os.getpid()
