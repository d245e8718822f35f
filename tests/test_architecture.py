"""The direction of imports, held by a walk over the syntax trees."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import emulator
import models
import policies
import traces

ROOT = Path(__file__).parent.parent
OURS = {"emulator", "models", "policies", "traces", "scenarios", "tests", "benchmarks"}

POLICIES_MAY = ("emulator.types", "emulator.physics", "emulator.units", "emulator.errors", "emulator.prediction")
TRACES_MAY = ("emulator.types", "emulator.physics", "emulator.units", "emulator.errors", "emulator.channel")


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _files(package: str) -> list[Path]:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    return files


def _offenders(package: str, allowed: tuple[str, ...], forbidden: tuple[str, ...] = ()) -> list[str]:
    """Imports of ours outside ``allowed`` (the package itself aside), and any of ``forbidden``."""
    bad = []
    for path in _files(package):
        for name in _imports(path):
            ours = name.partition(".")[0] in OURS - {package}
            if (ours and not name.startswith(allowed)) or name.partition(".")[0] in forbidden:
                bad.append(f"{path.relative_to(ROOT)}: {name}")
    return bad


def test_policies_see_types_and_physics_only() -> None:
    assert _offenders("policies", POLICIES_MAY, forbidden=("torch", "simpy", "pandas", "models")) == []


def test_models_import_nothing_of_ours() -> None:
    assert _offenders("models", ("models.",)) == []


def test_traces_see_channels_and_physics_only() -> None:
    assert _offenders("traces", TRACES_MAY, forbidden=("torch", "simpy")) == []


def test_the_machine_imports_neither_siblings_nor_torch() -> None:
    bad = _offenders("emulator", ("emulator.",), forbidden=("torch",))
    assert [line for line in bad if not line.startswith("emulator/cli.py")] == []


@pytest.mark.parametrize("package", [emulator, models, policies, traces])
def test_packages_resolve_to_this_repository(package: object) -> None:
    (folder,) = package.__path__  # type: ignore[attr-defined]  # a package has a path
    assert Path(folder).parent == ROOT


@pytest.mark.parametrize("package", ["emulator", "models", "policies", "traces", "scenarios"])
def test_init_files_hold_a_docstring_only(package: str) -> None:
    for path in (ROOT / package).rglob("__init__.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert ast.get_docstring(tree), path
        assert len(tree.body) == 1, path


@pytest.mark.parametrize("package", ["emulator", "models", "policies", "traces"])
def test_packages_carry_their_type_marker(package: str) -> None:
    assert (ROOT / package / "py.typed").is_file()
