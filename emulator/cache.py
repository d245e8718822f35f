"""Results kept on disk between processes: written atomically, keyed by content, recomputed when damaged in any way.

Each file begins with the SHA-256 of the rest.

The folder is ``$PREFINE_CACHE``, else ``$XDG_CACHE_HOME/prefine``, else ``~/.cache/prefine``. Where it cannot be
written, nothing is kept and everything still works. Processes that want the same value at the same time wait for the
one that came first.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from filelock import FileLock

from prefine.emulator.errors import PrefineError
from prefine.emulator.files import write_bytes

T = TypeVar("T")

DIGEST_BYTES = 32
SUFFIX = ".kept"


def folder() -> Path:
    """The folder of cached files; it need not exist yet. Raises RuntimeError for a user without a home."""
    if chosen := os.environ.get("PREFINE_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "prefine"


def digest(*parts: bytes) -> str:
    """32 hexadecimal digits of SHA-256; the parts are kept apart, so ``(b"a", b"b")`` is not ``(b"ab",)``."""
    state = hashlib.sha256()
    for part in parts:
        state.update(len(part).to_bytes(8, "big") + part)
    return state.hexdigest()[:32]


def remember(name: str, compute: Callable[[], T], dump: Callable[[T], bytes], load: Callable[[bytes], T]) -> T:
    """``compute()``, or what an earlier call of the same ``name`` computed, in this process or another.

    ``dump`` and ``load`` turn the value into bytes and back; what is not as it was written is computed again, and so is
    what ``load`` refuses with a ValueError. A folder that cannot be written is no error.
    """
    try:
        path = folder() / f"{name}{SUFFIX}"
    except RuntimeError:
        return compute()

    def kept() -> T:
        content = path.read_bytes()
        if content[:DIGEST_BYTES] != hashlib.sha256(content[DIGEST_BYTES:]).digest():
            raise ValueError(f"{path}: is not as it was written")
        return load(content[DIGEST_BYTES:])

    with suppress(OSError, ValueError):
        return kept()
    with _locked(path):
        with suppress(OSError, ValueError):  # another process may have been quicker
            return kept()
        value = compute()
        data = dump(value)
        with suppress(PrefineError):
            write_bytes(path, hashlib.sha256(data).digest() + data)
        return value


def entries() -> list[tuple[str, int]]:
    """Name and bytes of each file that is kept, by name."""
    with suppress(OSError, RuntimeError):
        return sorted((path.name.removesuffix(SUFFIX), path.stat().st_size) for path in folder().glob(f"*{SUFFIX}"))
    return []


def clear() -> int:
    """Remove all that is kept and say how many files that was; raises PrefineError where one cannot be removed."""
    names = [name for name, _ in entries()]
    for name in names:
        try:
            (folder() / f"{name}{SUFFIX}").unlink(missing_ok=True)
        except OSError as error:
            raise PrefineError(f"{folder()}: {name} cannot be removed: {error}") from error
    return len(names)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Alone with ``path`` among all processes; where the folder takes no lock, not alone."""
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except (OSError, NotImplementedError):
        yield
        return
    try:
        yield
    finally:
        lock.release()
