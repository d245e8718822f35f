"""What a user brings: found by the name of an entry point, or in his own file as ``path/to/file.py:Name``.

Policies, workloads, networks and algorithms are all found here, so all give the same errors. Nothing is unpickled or
evaluated; the file is imported, which runs it.
"""

import importlib
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from prefine.emulator.dependencies import OURS, Sources, neighbours, sources_of_file, sources_of_module
from prefine.emulator.errors import InputError, PrefineError, one_line
from prefine.emulator.files import is_there
from prefine.emulator.garbage import importing
from prefine.emulator.text import did_you_mean

FILE = ".py:"


def own_file(spec: str) -> str:
    """The path in ``path/to/file.py:Name``; empty where ``spec`` is a plain name.

    >>> own_file("nets/mine.py:Net"), own_file("mlp")
    ('nets/mine.py', '')
    """
    return spec.rpartition(":")[0] if FILE in spec else ""


@cache
def installed(group: str) -> tuple[str, ...]:
    """The names of an entry-point group, alphabetically; looked up once in a process."""
    return tuple(sorted(_all(tuple(sys.path)).select(group=group).names))


@cache
def _entries(group: str, name: str) -> tuple[EntryPoint, ...]:
    """The entry points of that name."""
    return tuple(_all(tuple(sys.path)).select(group=group, name=name))


@lru_cache(maxsize=1)
def _all(path: tuple[str, ...]) -> Any:
    """The entry points on this `sys.path`: to go through all that is installed takes long, so it is done once.

    Their class differs between versions of Python; all have ``select``.
    """
    return entry_points()


def own_modules(name: str, group: str) -> tuple[str, ...]:
    """The module of ours behind an entry point's name, without importing it; none where it is somebody else's."""
    return tuple(entry.module for entry in _entries(group, name) if entry.module.partition(".")[0] == OURS)


def find(spec: str, group: str, noun: str, folder: Path = Path()) -> object:
    """What ``spec`` names: an entry point of ``group``, or something in the user's own file.

    A path starts from ``folder``; ``noun`` says in messages what is looked for. Raises InputError where there is none.
    """
    if own_file(spec):
        return load_attribute(spec, noun, folder)
    found = _entries(group, spec)
    if not found:
        names = installed(group)
        if not names:
            raise InputError(f"no {noun} is installed; install the project first: pip install -e .")
        also = f", or path/to/file.py:Name{did_you_mean(spec, names)}"
        raise InputError(f"{noun} {spec!r} is unknown, allowed: {', '.join(names)}{also}")
    with foreign(f"{noun} {spec!r}", "when it was loaded"), importing():
        loaded: object = found[0].load()
    return loaded


def load_attribute(spec: str, noun: str, folder: Path = Path()) -> object:
    """What ``Name`` is in ``path/to/file.py:Name``; the path starts from ``folder``.

    A file is run once; when it or a file that it imports has changed, it is run again as another module. While it runs,
    it can import the modules and packages that lie beside it; so its imports belong at its top, not in its functions.
    Raises InputError where the file is missing or fails, or has no such name.
    """
    path, name = folder / own_file(spec), spec.rpartition(":")[2]
    if not (is_there(path) and path.is_file()):
        raise InputError(f"{noun} {spec}: there is no file {path}")
    module = _module(path, f"{noun} {spec}")
    try:
        loaded: object = getattr(module, name)
    except AttributeError:
        own = [key for key, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__]
        raise InputError(f"{noun} {spec}: {path} has no {name}, only: {', '.join(own) or 'nothing'}") from None
    return loaded


def sources(spec: str, folder: Path = Path()) -> Sources:
    """The files behind ``path/to/file.py:Name``: that one, and what it imports from outside the installed packages.

    No files where ``spec`` is a plain name or there is no such file.
    """
    path = folder / own_file(spec)
    return sources_of_file(path) if own_file(spec) and is_there(path) else Sources((), is_open=False)


def installed_sources(name: str, group: str) -> Sources:
    """The files behind an entry point of another distribution, found without running it; none behind ours."""
    for entry in _entries(group, name):
        if entry.module.partition(".")[0] == OURS:
            continue
        try:
            spec = importlib.util.find_spec(entry.module)
        except (ImportError, ValueError):  # whoever loads it will say so
            continue
        if spec is not None and spec.origin is not None and spec.has_location:
            return sources_of_module(entry.module, Path(spec.origin))
    return Sources((), is_open=False)


@contextmanager
def foreign(who: str, doing: str, kind: type[PrefineError] = InputError) -> Iterator[None]:
    """Inside the block runs code that a user brought: whatever it raises becomes one line, an error of ``kind``.

    ``who`` begins the line, ``doing`` ends it. Errors of ours, and Ctrl-C, go through; ``sys.exit`` does not.
    """
    try:
        yield
    except (PrefineError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise kind(f"{who} {_said(error)} {doing}") from error


def _said(error: BaseException) -> str:
    """What ``error`` is and says; its own ``__str__`` may be anything, and may fail."""
    try:
        text = str(error)
    except Exception as failure:  # noqa: BLE001  # it is the user's code
        text = f"its message cannot be shown: {type(failure).__name__}"
    return f"raised {type(error).__name__}" + (f": {one_line(text)}" if text else "")


def _module(path: Path, place: str) -> ModuleType:
    edition = sources_of_file(path).digest()[:16]
    name = f"prefine_plugin_{path.resolve().as_posix().replace('/', '_').removesuffix('.py')}_{edition}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InputError(f"{place}: {path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up there
    try:
        with foreign(f"{place}: {path}", "when it was read"), _neighbours_importable(path.resolve().parent):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


@dataclass(frozen=True)
class _Neighbours(MetaPathFinder):
    """Finds the modules and packages that lie in ``folder``, whatever else of the same name is installed."""

    folder: Path

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Of a top-level name in the folder; ``None``, so that others look for it, of any other."""
        return PathFinder.find_spec(fullname, [str(self.folder)]) if fullname in neighbours(self.folder) else None


@contextmanager
def _neighbours_importable(folder: Path) -> Iterator[None]:
    """Inside the block, what lies in ``folder`` can be imported.

    After it that is forgotten, and what had the names is back: another folder may have its own of the same name.
    """
    finder = _Neighbours(folder)
    names = neighbours(folder)
    hidden = _taken_out(names)
    sys.meta_path.insert(0, finder)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        _taken_out(names)
        sys.modules.update(hidden)


def _taken_out(names: set[str]) -> dict[str, ModuleType]:
    """The loaded modules called ``names`` and all below them, taken out of those that are loaded."""
    return {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] in names}
