"""What a command loads: by the names in ``sys.modules``, not by the clock."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.emulator.scenario.small import SMALL

HEAVY = frozenset({"numpy", "scipy", "pandas", "matplotlib", "torch", "simpy", "sklearn", "jinja2", "pyarrow"})
PRINTED = 'print("LOADED" + json.dumps(sorted(sys.modules)))'
COMMAND = f"""
import json, sys
from prefine.__main__ import main
sys.argv = ["prefine", *sys.argv[1:]]
try:
    main()
finally:
    {PRINTED}
"""


def loaded_by(code: str, *arguments: str) -> frozenset[str]:
    """Every module that is there when ``code`` ends, which prints them."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return frozenset(json.loads(done.stdout.rpartition("LOADED")[2]))


@pytest.mark.parametrize("arguments", ["--version", "--help", "compare --help", "trace inspect --help"])
def test_version_and_help_load_no_library(arguments: str) -> None:
    loaded = loaded_by(COMMAND, *arguments.split())
    assert "prefine.emulator.cli" in loaded
    assert loaded & {*HEAVY, "prefine.emulator.api", "prefine.emulator.types"} == set()


@pytest.mark.parametrize("arguments", ["--version", "--help"])
def test_version_and_help_check_no_values(arguments: str) -> None:
    """Help on a command has to: the command line's own library loads pydantic to read the command's name."""
    assert "pydantic" not in loaded_by(COMMAND, arguments)


def test_the_package_itself_loads_nothing() -> None:
    loaded = loaded_by(f"import json, sys, prefine; {PRINTED}")
    assert {name for name in loaded if name.partition(".")[0] in {*HEAVY, "typer", "rich", "pydantic"}} == set()


def test_what_can_be_asked_for_loads_neither_pictures_nor_training() -> None:
    loaded = loaded_by(f"import json, sys, prefine.emulator.api, prefine.emulator.terminal.work; {PRINTED}")
    assert loaded & {"torch", "matplotlib", "pandas", "sklearn", "scipy.stats", "scipy.optimize", "jinja2"} == set()


def test_a_worker_loads_no_tables() -> None:
    """What its server imports for a policy, and then whatever a run loads."""
    code = f"""
import json, sys
from importlib import import_module
from prefine.emulator import api
from prefine.emulator.experiment.sweep import jobs_of
source, parts = api.read_source(sys.argv[1]), api.policy_parts("uniform")
for name in api.workers(2, None, [*source.modules, *parts[0].modules]).modules: import_module(name)
before = set(sys.modules)
assert api.execute(jobs_of(source, [], parts, [0])[0]).run.status == "done"
added = {{name.partition(".")[0] for name in set(sys.modules) - before}}
assert added & {{"scipy", "torch", "prefine", "simpy"}} == set(), added
{PRINTED}
"""
    assert loaded_by(code, SMALL) & {"pandas", "matplotlib", "jinja2", "rich"} == set()


def test_a_comparison_without_a_folder_loads_no_pictures() -> None:
    code = f'import json, sys, prefine; prefine.compare(sys.argv[1], "uniform", seeds=1); {PRINTED}'
    loaded = loaded_by(code, SMALL)
    assert loaded >= {"torch", "prefine.emulator.report.drawable"}
    assert loaded & {"matplotlib", "jinja2", "prefine.emulator.report.figure"} == set()


def test_a_finished_comparison_resumes_without_training_or_drawing(tmp_path: Path) -> None:
    """Unless a figure has gone, a table was touched, or another format is asked for."""
    code = f"""
import json, sys, prefine
prefine.compare(sys.argv[1], "uniform", seeds=2, out=sys.argv[2], figures=sys.argv[3:])
{PRINTED}
"""
    out, asked = tmp_path / "out", (SMALL, str(tmp_path / "out"))
    first = loaded_by(code, *asked)
    assert first >= {"torch", "matplotlib"}
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert loaded_by(code, *asked) & {"torch", "matplotlib", "sklearn", "jinja2"} == set()
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    (out / "figures" / "timeline.csv").unlink()
    again = loaded_by(code, *asked)
    assert "matplotlib" in again
    assert "torch" not in again
    assert "matplotlib" in loaded_by(code, *asked, "svg")
    assert (out / "figures" / "timeline.svg").exists()
