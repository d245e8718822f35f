"""Results kept on disk between processes: written atomically, keyed by content, recomputed when damaged.

The folder is ``$PREFINE_CACHE``, else ``$XDG_CACHE_HOME/prefine``, else ``~/.cache/prefine``. Where it cannot be
written, nothing is kept and everything still works.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


def folder() -> Path:
    """Where cached files lie."""
    if chosen := os.environ.get("PREFINE_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "prefine"


def digest(*parts: bytes) -> str:
    """A short content key; the parts are kept apart, so ``(b"a", b"b")`` is not ``(b"ab",)``."""
    state = hashlib.sha256()
    for part in parts:
        state.update(len(part).to_bytes(8, "big") + part)
    return state.hexdigest()[:32]


def remember(name: str, compute: Callable[[], T], dump: Callable[[T], bytes], load: Callable[[bytes], T]) -> T:
    """``compute()``, or what an earlier call of the same ``name`` computed; ``load`` raises ValueError on damage."""
    path = folder() / name
    try:
        return load(path.read_bytes())
    except (OSError, ValueError):
        value = compute()
        _write(path, dump(value))
        return value


def _write(path: Path, content: bytes) -> None:
    """Replace ``path`` in one step; an unwritable folder is no reason to fail."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(temporary).replace(path)
    except OSError:
        return
