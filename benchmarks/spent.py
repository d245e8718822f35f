"""What a piece of Python takes in a process of its own: processor time, time on the clock, and memory."""

import json
import os
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import NamedTuple

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
    path = os.pathsep.join(filter(None, [str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH")]))
    found = subprocess.run(
        [sys.executable, "-c", _WATCHED, code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    status, *figures = json.loads(found.stdout)
    if status:
        raise SystemExit(f"failed: {found.stderr}")
    return Spent(*figures)
