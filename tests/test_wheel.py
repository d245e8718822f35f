"""The wheel: one package, which lives beside a user's own ``models/`` and ``traces/`` and a package of that name."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests.test_scenarios import CONSTANTS

ROOT = Path(__file__).parent.parent
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")
OFFLINE = ("--quiet", "--no-deps", "--no-index")

POLICY = """
from dataclasses import dataclass, replace

from models.net import ROUNDS
from prefine.policies.baselines import Uniform


@dataclass(frozen=True)
class Mine:
    def plan(self, problem):
        return replace(Uniform().plan(problem), pretrain_rounds=0, finetune_rounds=ROUNDS)
"""
SCRIPT = """
import prefine
from mine import Mine
from models.net import ROUNDS

solution = prefine.plan("default", Mine(), overrides={overrides})
print(solution.plan.finetune_rounds == ROUNDS, prefine.__file__)
"""


def _done(*command: str | Path, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of what git knows."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in _done("git", "ls-files", cwd=ROOT).splitlines():
        if (ROOT / name).is_symlink() or (ROOT / name).exists():
            (folder / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / "tree" / name, follow_symlinks=False)
    _done(*PIP, "wheel", *OFFLINE, "--no-build-isolation", "--wheel-dir", folder, folder / "tree", cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


def _other_traces(folder: Path) -> Path:
    """A wheel of a package ``traces`` that has nothing to do with this project, as there is one on PyPI."""
    path = folder / "traces-0.7.0-py3-none-any.whl"
    info = "traces-0.7.0.dist-info"
    files = {
        "traces/__init__.py": "class TimeSeries:\n    pass\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: traces\nVersion: 0.7.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: by hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in (*files, f"{info}/RECORD"))
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


@pytest.fixture
def python(wheel: Path, tmp_path: Path) -> Path:
    """An environment with the wheel, another ``traces``, and our dependencies, but not this checkout."""
    _done(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv", cwd=tmp_path)
    made = tmp_path / "venv" / "bin" / "python"
    (site,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    # The .pth files in a folder that is added by a .pth file are not read, so an editable install there is not seen.
    (site / "dependencies.pth").write_text(f"{Path(np.__file__).parent.parent}\n")
    _done(*PIP, "--python", made, "install", *OFFLINE, wheel, _other_traces(tmp_path), cwd=tmp_path)
    return made


def test_the_wheel_holds_one_package(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {"prefine"}
    needed = ("py.typed", "scenarios/default.toml", "traces/walk.csv", "emulator/report/page.html", "emulator/cli.py")
    assert {f"prefine/{name}" for name in needed} <= set(names)


def test_it_works_among_a_users_own_folders_and_leaves_other_packages_alone(python: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    for name, text in {
        "models/__init__.py": "",
        "models/net.py": "ROUNDS = 3\n",
        "traces/__init__.py": "MINE = True\n",
        "mine.py": POLICY,
        "script.py": SCRIPT.format(overrides=[*CONSTANTS, "budget.delay_s=2"]),
    }.items():
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_text(text)
    prefine = python.with_name("prefine")
    assignments = [word for each in (*CONSTANTS, "budget.delay_s=2") for word in ("--set", each)]
    policies = ("--policies", "uniform,mine.py:Mine", "--seeds", "1", "--quiet", "--out", "out")
    _done(prefine, "compare", "default", *policies, *assignments, cwd=work)
    assert "Mine__s0" in (work / "out" / "runs.csv").read_text()
    assert _done(python, "-m", "prefine", "--version", cwd=work).startswith("prefine ")
    said, where = _done(python, "script.py", cwd=work).split()
    assert said == "True"
    assert Path(where).is_relative_to(tmp_path / "venv")
    _done(*PIP, "--python", python, "uninstall", "--yes", "prefine", cwd=tmp_path)
    theirs = Path(
        _done(python, "-c", "import traces; traces.TimeSeries(); print(traces.__file__)", cwd=tmp_path).strip()
    )
    assert theirs.is_relative_to(tmp_path / "venv")
    assert not (theirs.parent.parent / "prefine").exists()
