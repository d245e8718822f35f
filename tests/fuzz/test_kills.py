"""Killed at random moments, again and again, and resumed: a sweep ends in the same bytes, on processes and on Dask.

Who is killed is drawn too: the whole command, or one of those who do its runs. A command that does not end in time is
made to say where each of its threads stands.
"""

import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import pytest

from prefine.emulator.experiment.executor import Serial
from tests.emulator.experiment.sweeping import sweep
from tests.emulator.experiment.test_dask import running
from tests.emulator.experiment.test_sweep import ROOT, contents, group_is_gone, wait_until
from tests.fuzz.effort import examples

KILLS = examples(0, 30)
ABOUT_S = 4.0
"""How long the sweep takes undisturbed, about: kills are spread over it, starting and writing included."""

LONGEST_S = 120.0

fuzzed_only = pytest.mark.skipif(not KILLS, reason="takes minutes: make fuzz")


def _start(folder: Path, said: Path, *more: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-X", "faulthandler", "-m", "tests.emulator.experiment.sweeping", str(folder), *more]
    with said.open("wb") as file:
        return subprocess.Popen(command, cwd=ROOT, start_new_session=True, stderr=file)


def _workers_of(leader: int) -> list[int]:
    """The processes that ``leader`` started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):  # gone by now
            continue
        if parent == leader:
            found.append(int(path.parent.name))
    return found


def _end(process: "subprocess.Popen[bytes]", said: Path) -> None:
    """Waits for the end of an undisturbed command."""
    try:
        status = process.wait(LONGEST_S)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)
        process.wait()
        pytest.fail(f"no end within {LONGEST_S} s:\n{said.read_text()}")
    assert status == 0, said.read_text()


def _disturb(process: "subprocess.Popen[bytes]", random: Random) -> str:
    """Kills the command or one of its workers at a random moment; who it was."""
    time.sleep(random.uniform(0.0, ABOUT_S))
    workers = _workers_of(process.pid)
    if workers and random.random() < 0.5:
        os.kill(random.choice(workers), signal.SIGKILL)
        return "worker"
    process.kill()
    process.wait()
    wait_until(lambda: group_is_gone(process.pid))
    return "command"


@fuzzed_only
@pytest.mark.parametrize("where", ["processes", "dask"])
def test_killed_at_any_moment_it_ends_in_the_same_bytes(where: str, tmp_path: Path) -> None:
    sweep(tmp_path / "expected", Serial(), nap_s=0.0)
    expected = contents(tmp_path / "expected")
    random, said = Random(where), tmp_path / "said"  # noqa: S311  # moments, not secrets
    killed = {"worker": 0, "command": 0}

    def rounds(*address: str) -> None:
        for number in range(math.ceil(KILLS / 3)):
            folder = tmp_path / f"killed{number}"
            for _ in range(3):
                process = _start(folder, said, *address)
                killed[_disturb(process, random)] += 1
                if process.poll() is None:
                    _end(process, said)
            _end(_start(folder, said, *address), said)
            assert contents(folder) == expected

    if where == "dask":
        pytest.importorskip("distributed")
        with running(tmp_path / "scheduler.json") as cluster:
            rounds(cluster.address)
    else:
        rounds()
    print(f"\n{where}: {sum(killed.values())} kills ({killed['worker']} of a worker), the same bytes each time")
