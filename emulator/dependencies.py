"""The Python files that a user's part is made of: its own, and all that it imports from outside the installed packages.

They are found by reading import statements, inside functions too, without running anything. Not seen: data files that a
part reads, and modules whose names are made up while it runs; a part that may do that says so (`Sources.is_open`).
"""

import ast
import hashlib
import importlib.util
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import NamedTuple

OURS = "prefine"
FILES_KEPT = 1024
"""What so many files import is remembered; a command asks for the same ones before every run."""

INSTALLED = ("site-packages", "dist-packages")
OPEN_NAMES = ("__import__", "exec", "eval", "compile")
OPEN_MODULES = ("importlib", "importlib.util", "importlib.machinery", "runpy", "pkgutil")
OPEN_ATTRIBUTES = ("path", "meta_path", "modules", "path_hooks")
"""Of ``sys``."""


@dataclass(frozen=True)
class Sources:
    """Files in the order in which they are imported, the part's own first, each with its module's name.

    ``is_open``: one of them imports by names that are not written in it, so that there may be more files.
    """

    files: tuple[tuple[str, Path], ...]
    is_open: bool

    def digest(self) -> str:
        """SHA-256 of names and contents, in hexadecimal; where the files lie does not matter."""
        digest = hashlib.sha256()
        for name, path in self.files:
            digest.update(f"{name}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()


class _Module(NamedTuple):
    """``package`` is where its relative imports start."""

    name: str
    path: Path
    package: str


def neighbours(folder: Path) -> set[str]:
    """Python files in ``folder``, and folders in it that hold some; the standard library's names are left to it."""
    files = {path.stem for path in folder.glob("*.py")}
    packages = {path.parent.name for path in folder.glob("*/*.py")}
    return (files | packages) - {OURS} - sys.stdlib_module_names


def sources_of_file(path: Path) -> Sources:
    """Of a file that is run by its path and can import what lies beside it. Raises OSError where it is missing."""
    return _closure(_Module("", path, ""), path.resolve().parent)


def sources_of_module(name: str, path: Path) -> Sources:
    """Of the file ``path`` of the module ``name``, which was imported the usual way."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    return _closure(_Module(name, path, package), None)


def _closure(root: _Module, folder: Path | None) -> Sources:
    seen: dict[Path, str] = {}
    is_open = False
    waiting = [root]
    while waiting:
        module = waiting.pop(0)
        if module.path in seen:
            continue
        seen[module.path] = module.name
        if module.path.suffix != ".py":
            continue
        opens, names = _said(module.path.read_bytes(), module.package)
        is_open |= opens
        for name in names:
            waiting += _found(name, folder, root.name.partition(".")[0])
    return Sources(tuple((name, path) for path, name in seen.items()), is_open)


@lru_cache(maxsize=FILES_KEPT)
def _said(content: bytes, package: str) -> tuple[bool, tuple[str, ...]]:
    """Whether a file of this ``content`` may import anything, and the names that it imports."""
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # whoever runs it will say so
        return False, ()
    return any(map(_may_import_anything, ast.walk(tree))), tuple(_imported(tree, package))


def _imported(tree: ast.AST, package: str) -> Iterator[str]:
    """Dotted names; of ``from a import b`` both a and a.b, which may be a module or anything else."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            if base:
                yield base
                yield from (f"{base}.{alias.name}" for alias in node.names)


def _may_import_anything(node: ast.AST) -> bool:
    if isinstance(node, ast.Name):
        return node.id in OPEN_NAMES
    if isinstance(node, ast.Attribute):
        return isinstance(node.value, ast.Name) and node.value.id == "sys" and node.attr in OPEN_ATTRIBUTES
    if isinstance(node, ast.Import):
        return any(alias.name in OPEN_MODULES for alias in node.names)
    return isinstance(node, ast.ImportFrom) and node.level == 0 and node.module in OPEN_MODULES


def _found(name: str, folder: Path | None, own: str) -> Iterator[_Module]:
    """The files that importing ``name`` runs, as far as they are no installed package's: packages from the top down.

    ``own`` is the top-level package of the part itself, which counts wherever it is installed.
    """
    steps = name.split(".")
    if steps[0] in sys.stdlib_module_names or steps[0] == OURS:
        return
    spec = _top(steps[0], folder)
    for depth in range(1, len(steps) + 1):
        if spec is None:
            return
        dotted = ".".join(steps[:depth])
        if spec.has_location and spec.origin and _is_foreign(Path(spec.origin), steps[0] == own):
            is_package = spec.submodule_search_locations is not None
            yield _Module(dotted, Path(spec.origin), dotted if is_package else dotted.rpartition(".")[0])
        if depth < len(steps):
            inside = spec.submodule_search_locations
            spec = None if inside is None else PathFinder.find_spec(steps[depth], list(inside))


def _top(name: str, folder: Path | None) -> ModuleSpec | None:
    if folder is not None and name in neighbours(folder):
        return PathFinder.find_spec(name, [str(folder)])
    try:
        return importlib.util.find_spec(name)
    except (ImportError, ValueError):  # a module without a spec, such as __main__
        return None


def _is_foreign(path: Path, is_own: bool) -> bool:
    if path.is_relative_to(sysconfig.get_path("stdlib")) and not set(INSTALLED) & set(path.parts):
        return False
    return is_own or not set(INSTALLED) & set(path.parts)
