"""What a command loads: by the names in ``sys.modules``, not by the clock."""

import json
import subprocess
import sys

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
    assert loaded & {"torch", "matplotlib", "sklearn", "scipy.stats", "scipy.optimize", "jinja2"} == set()


def test_a_comparison_without_a_folder_loads_no_pictures() -> None:
    code = f'import json, sys, prefine; prefine.compare(sys.argv[1], "uniform", seeds=1); {PRINTED}'
    loaded = loaded_by(code, SMALL)
    assert loaded >= {"torch", "prefine.emulator.report.drawable"}
    assert loaded & {"matplotlib", "jinja2", "prefine.emulator.report.figure"} == set()
