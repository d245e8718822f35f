"""The direction of imports, held by a walk over the syntax trees."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import prefine

ROOT = Path(__file__).parent.parent
PACKAGES = ("emulator", "models", "policies", "traces", "scenarios")

LEAVES = tuple(
    f"prefine.emulator.{name}"
    for name in ("types", "errors", "units", "physics", "randomness", "files", "archives", "text")
)
TASK = tuple(f"prefine.emulator.{name}" for name in ("dependencies", "loading", "scenario.task", "scenario.training"))
"""What a workload is made from: the two sections of the scenario it is given, and the loader of a user's parts."""

MAY = {
    "policies": (*LEAVES, "prefine.emulator.access", "prefine.emulator.bound"),
    "models": (*LEAVES, *TASK, "prefine.emulator.cache", "prefine.emulator.watch"),
    "traces": (
        *LEAVES,
        "prefine.emulator.channel",
        "prefine.emulator.options",
        "prefine.emulator.report.figure",
        "prefine.emulator.report.shape",
    ),
    "emulator": (),
    "scenarios": (),
}
"""What each package may import of ours besides itself."""

NEVER = {
    "policies": ("torch", "simpy", "pandas"),
    "models": ("simpy", "pandas"),
    "traces": ("torch", "simpy"),
    "emulator": ("torch",),
    "scenarios": ("torch", "simpy"),
}


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _files(folder: str) -> list[Path]:
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    return files


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_run_one_way(package: str) -> None:
    allowed = (f"prefine.{package}.", *MAY[package])
    bad = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in _files(package)
        if path != ROOT / "emulator" / "cli.py"  # the command line alone sees everything
        for name in _imports(path)
        if (name.startswith("prefine.") and not name.startswith(allowed)) or name.partition(".")[0] in NEVER[package]
    ]
    assert bad == []


STOREYS = (
    (
        "arrays",
        "problem",
        "plan",
        "learning",
        "policy",
        "workload",
        "types",
        "errors",
        "units",
        "physics",
        "access",
        "randomness",
        "files",
        "garbage",
        "text",
        "options",
        "records",
        "device_table",
        "archives",
        "bound",
        "charge",
        "dependencies",
        "loading",
        "watch",
    ),
    ("cache", "identity"),
    ("section", "complaints"),
    ("plugins",),
    ("channel",),
    ("simulation",),
    ("scenario", "world", "problem_file", "rehearsal"),
    ("experiment",),
    ("planning", "policy_check", "encoding", "environment"),
    ("api",),
    ("cli", "terminal"),
)
"""Parts of the emulator from the ground up: each may import what stands below it or beside it."""
BESIDE = {
    "analysis": ("records", "device_table", "types", "errors", "files"),
    "report": ("analysis", "records", "errors", "files", "options", "identity"),
}
"""Beside the storeys: tables and statistics, and the report drawn from them."""


def _module_graph() -> dict[str, set[str]]:
    """Each first-party module with those that it imports anywhere, inside functions too."""
    paths = {path: f"prefine.{'.'.join(path.relative_to(ROOT).with_suffix('').parts)}" for path in _package_files()}
    paths |= {path: f"{path.parent.name}.{path.stem}" for path in [*_files("prefine"), *_files("benchmarks")]}
    modules = {name.removesuffix(".__init__"): path for path, name in paths.items()}
    graph = {}
    for name, path in modules.items():
        found = {_longest(imported, modules) for imported in _imports(path)}
        graph[name] = found - {"", name}
    return graph


def _package_files() -> list[Path]:
    return [path for package in PACKAGES for path in _files(package)]


def _longest(imported: str, modules: dict[str, Path]) -> str:
    while imported and imported not in modules:
        imported = imported.rpartition(".")[0]
    return imported


def test_no_module_imports_itself_by_way_of_others() -> None:
    graph = _module_graph()
    assert graph["prefine.emulator.cli"] >= {"prefine.emulator.terminal.work", "prefine.traces.commands"}
    assert list(TopologicalSorter(graph).static_order())  # raises CycleError with the modules of a circle


def test_the_emulator_stands_on_its_storeys() -> None:
    height = {part: level for level, storey in enumerate(STOREYS) for part in storey}
    bad = []
    for name, imported in _module_graph().items():
        part = _part(name)
        for other in filter(None, map(_part, imported)):
            if part in BESIDE:
                allowed = other == part or other in BESIDE[part]
            elif part in height:
                allowed = other in BESIDE or height[other] <= height[part]
            else:
                continue
            if not allowed:
                bad.append(f"{name} imports {other}")
    assert bad == []


def _part(module: str) -> str:
    """``channel`` of ``prefine.emulator.channel.base``; nothing of what lies elsewhere."""
    inside = module.removeprefix("prefine.emulator.")
    return inside.partition(".")[0] if inside != module else ""


@pytest.mark.parametrize("folder", [*PACKAGES, "prefine", "tests", "benchmarks", "docs"])
def test_nothing_is_imported_under_a_bare_name(folder: str) -> None:
    bad = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in _files(folder)
        for name in _imports(path)
        if name.partition(".")[0] in PACKAGES
    ]
    assert bad == []


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_are_the_folders_of_this_repository(package: str) -> None:
    link = ROOT / "prefine" / package
    assert link.is_symlink()
    assert link.readlink() == Path("..") / package
    assert Path(prefine.__path__[0]).resolve() == ROOT / "prefine"


@pytest.mark.parametrize("package", PACKAGES)
def test_init_files_hold_a_docstring_only(package: str) -> None:
    for path in (ROOT / package).rglob("__init__.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert ast.get_docstring(tree), path
        assert len(tree.body) == 1, path


def test_the_public_names_are_there() -> None:
    assert {name for name in prefine.__all__ if getattr(prefine, name).__doc__} == set(prefine.__all__)
    assert dir(prefine) == sorted(prefine.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = prefine.nothing
