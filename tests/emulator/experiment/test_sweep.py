"""Sweeps: which scenarios, and that nothing short of a lost disk changes a byte of what they end in."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from prefine.emulator.errors import InputError
from prefine.emulator.experiment.executor import Serial
from prefine.emulator.experiment.sweep import combinations, parse_vary
from tests.emulator.experiment.sweeping import NAP_S, jobs, sweep

ROOT = Path(__file__).parents[3]
PATIENCE_S = 60.0


def start(folder: Path, *more: str, nap_s: float = NAP_S) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "tests.emulator.experiment.sweeping", str(folder), *more]
    return subprocess.Popen(command, cwd=ROOT, start_new_session=True, env={**os.environ, "NAP_S": str(nap_s)})


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def stored(folder: Path) -> int:
    return len(list((folder / "runs").glob("*.gz")))


def group_is_gone(leader: int) -> bool:
    try:
        os.killpg(leader, 0)
    except ProcessLookupError:
        return True
    return False


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("uninterrupted")
    sweep(folder, Serial(), nap_s=0.0)
    return contents(folder)


def test_a_sweep_killed_twice_and_resumed_ends_in_the_same_bytes(
    tmp_path: Path, uninterrupted: dict[str, bytes]
) -> None:
    finished = 0
    for enough in (8, 20):
        process = start(tmp_path)
        wait_until(lambda enough=enough: stored(tmp_path) >= enough)  # type: ignore[misc]  # the loop's value, bound now
        process.send_signal(signal.SIGKILL)
        process.wait()
        wait_until(lambda leader=process.pid: group_is_gone(leader))  # type: ignore[misc]  # workers end with the parent
        assert finished < stored(tmp_path) < len(jobs(0))
        finished = stored(tmp_path)
    assert start(tmp_path).wait(PATIENCE_S) == 0
    assert contents(tmp_path) == uninterrupted


def test_ctrl_c_leaves_finished_runs_and_no_processes(tmp_path: Path, uninterrupted: dict[str, bytes]) -> None:
    process = start(tmp_path, nap_s=1.0)  # on a busy machine, too, it is far from done when the signal comes
    wait_until(lambda: stored(tmp_path) >= 4)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the whole group
    assert process.wait(PATIENCE_S) != 0
    wait_until(lambda: group_is_gone(process.pid))
    assert 4 <= stored(tmp_path) < len(jobs(0))
    sweep(tmp_path, Serial(), nap_s=0.0)
    assert contents(tmp_path) == uninterrupted


def test_combinations_are_a_grid_in_the_order_given() -> None:
    assert combinations(["budget.delay_s=10,20", "channel.model=static,rayleigh"]) == [
        (("budget.delay_s", 10), ("channel.model", "static")),
        (("budget.delay_s", 10), ("channel.model", "rayleigh")),
        (("budget.delay_s", 20), ("channel.model", "static")),
        (("budget.delay_s", 20), ("channel.model", "rayleigh")),
    ]


def test_zip_pairs_values() -> None:
    assert combinations(["a.x=1,2", "a.y=3,4"], pairs=True) == [(("a.x", 1), ("a.y", 3)), (("a.x", 2), ("a.y", 4))]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("k=1,2.5,1e3", (1, 2.5, 1000.0)),
        ("k=true,false", (True, False)),
        ("k = a , b", ("a", "b")),
        ('k="a,b","c"', ("a,b", "c")),
        ("k=[1e9,2e9],[3e9]", ([1e9, 2e9], [3e9])),
    ],
)
def test_values_are_read_as_toml(text: str, values: tuple[object, ...]) -> None:
    assert parse_vary(text) == ("k", values)


@pytest.mark.parametrize(
    ("vary", "pairs", "complaint"),
    [
        (["budget.delay_s"], False, "must be KEY=V1,V2"),
        (["=1,2"], False, "must be KEY=V1,V2"),
        (["k="], False, "must be KEY=V1,V2"),
        (["k=1,,2"], False, "a value is missing"),
        (['k="a,b",c'], False, "quote every word"),
        (["k=[1,2"], False, "are no TOML"),
        (["k=1,2,1"], False, "1 is there twice"),
        (["k=1", "k=2"], False, "is varied twice"),
        (["a=1,2", "b=1"], True, "a has 2, b has 1"),
    ],
)
def test_a_wrong_grid_is_one_clear_line(vary: list[str], pairs: bool, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint) as raised:
        combinations(vary, pairs=pairs)
    assert "\n" not in str(raised.value)
