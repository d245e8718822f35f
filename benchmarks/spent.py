"""What a piece of Python takes in a process of its own: processor time, time on the clock, and memory."""

import compileall
import json
import os
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PACKAGES = ("prefine", "emulator", "models", "policies", "traces", "tests", "benchmarks")

_WATCHED = """
import contextlib, ctypes, json, os, resource, subprocess, sys, time
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: count workers' servers too
began = time.perf_counter()
done = subprocess.run([sys.executable, '-W', 'ignore', '-c', sys.argv[1]], stdout=subprocess.PIPE, text=True)
wall_s = time.perf_counter() - began
with contextlib.suppress(ChildProcessError):
    while True:
        os.wait()
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([done.returncode, used.ru_utime + used.ru_stime, wall_s, used.ru_maxrss / 1024**2, done.stdout]))
"""


class Spent(NamedTuple):
    """Of a process and its children; ``said`` is what it printed."""

    cpu_s: float
    wall_s: float
    memory_gb: float
    said: str


@cache
def spent(code: str, setting_up: str = "") -> Spent:
    """What ``code`` takes, after ``setting_up`` in the same new folder; the same is measured once."""
    with tempfile.TemporaryDirectory() as folder:
        if setting_up:
            _run(setting_up, folder)
        return _run(code, folder)


def _run(code: str, folder: str) -> Spent:
    found = subprocess.run(
        [sys.executable, "-c", _WATCHED, code],
        cwd=folder,
        env=_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    status, *figures = json.loads(found.stdout)
    if status:
        raise SystemExit(f"failed: {found.stderr}")
    return Spent(*figures)


@cache
def _environment() -> dict[str, str]:
    """Ours, with this tree on the path, compiled as pip leaves a package: that is not timed."""
    for package in PACKAGES:
        compileall.compile_dir(ROOT / package, quiet=1)
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPATH": path}
