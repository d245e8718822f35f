"""Files: read once and remembered; written so that they are either whole or not there."""

import errno
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Concatenate, ParamSpec, TypeVar

from prefine.emulator.errors import InputError, PrefineError

TEMPORARY = ".tmp"

P = ParamSpec("P")
T = TypeVar("T")


class Files:
    """The user's files below ``folder``, each as it was when first read; shared by all scenarios of a command.

    ``expected`` are SHA-256 checksums by name: a file that has another by now is refused.
    """

    def __init__(self, folder: Path, expected: Mapping[str, str] = MappingProxyType({})) -> None:
        self.folder = folder
        self._expected = expected
        self._data: dict[str, bytes] = {}
        self._checksums: dict[str, str] = {}
        self._parsed: dict[tuple[object, ...], object] = {}

    def parsed(self, name: str, parse: Callable[Concatenate[bytes, str, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """``parse(data, source, ...)`` of the file ``name``, once for the same arguments; ``source`` is its path.

        Raises InputError where the file cannot be read, and whatever ``parse`` raises.
        """
        key = (name, parse, args, tuple(kwargs.items()))
        if key not in self._parsed:
            self._parsed[key] = parse(self._read(name), str(self.folder / name), *args, **kwargs)
        known: T = self._parsed[key]  # type: ignore[assignment]  # the key holds what made it
        return known

    def checksum(self, name: str) -> str:
        """SHA-256 of the file or folder ``name``: of the bytes that were parsed, where it was parsed.

        Raises PrefineError where it is not what was expected.
        """
        return self._checksums.get(name) or self._checked(name, checksum(self.folder / name))

    def _read(self, name: str) -> bytes:
        if name not in self._data:
            path = self.folder / name
            try:
                self._data[name] = path.read_bytes()
            except (OSError, ValueError) as error:
                raise InputError(f"{path}: cannot be read ({getattr(error, 'strerror', error)})") from error
            self._checked(name, hashlib.sha256(self._data[name]).hexdigest())
        return self._data[name]

    def _checked(self, name: str, sha256: str) -> str:
        if self._expected.get(name, sha256) != sha256:
            raise PrefineError(f"{self.folder / name}: has changed since the command was started; run the same again")
        return self._checksums.setdefault(name, sha256)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` to write to; it takes the place of ``path`` when the block ends without error.

    The temporary name carries the writer's process id, so two writers never share one. Raises PrefineError, one line,
    where the disk is full or the folder cannot be written, InputError where ``path`` names no file.
    """
    if not path.name:
        raise InputError(f"{path}: is a folder, must be a file")
    temporary = path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb+") as handle:
            os.fsync(handle.fileno())
        os.replace(temporary, path)  # the name says what matters: it is atomic
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        with suppress(OSError):  # what made the writing fail may also be in the way here
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def is_there(path: Path) -> bool:
    """Whether there is a file or folder at ``path``; what cannot be a path at all (NUL, too long) has none."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def checksum(path: Path) -> str:
    """SHA-256 of the file at ``path``, or of all files in the folder there with their names, in hexadecimal."""
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            digest.update(file.relative_to(path).as_posix().encode() + file.read_bytes())
    return digest.hexdigest()


def remove_abandoned(folder: Path) -> None:
    """Delete the temporary files in ``folder`` whose writers are gone (killed in the middle of a write)."""
    for temporary in folder.glob(f".*{TEMPORARY}"):
        writer = temporary.name.removesuffix(TEMPORARY).rpartition(".")[2]
        if writer.isdigit() and not _is_alive(int(writer)):
            temporary.unlink(missing_ok=True)


def _is_alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except (ProcessLookupError, OverflowError):  # no process has such a number
        return False
    except PermissionError:
        return True
    return True


def _unwritable(path: Path, error: OSError) -> PrefineError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return PrefineError(f"{path}: the disk is full; finished runs are kept: free some space and run the same again")
    return PrefineError(f"{path}: cannot be written: {error.strerror or error}")
