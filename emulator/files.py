"""Files that are either whole or not there."""

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from prefine.emulator.errors import PrefineError

TEMPORARY = ".tmp"


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` to write to; it takes the place of ``path`` when the block ends without error.

    The temporary name carries the writer's process id, so two writers never share one. Raises PrefineError, one line,
    where the disk is full or the folder cannot be written.
    """
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
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _unwritable(path: Path, error: OSError) -> PrefineError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return PrefineError(f"{path}: the disk is full; finished runs are kept: free some space and run the same again")
    return PrefineError(f"{path}: cannot be written: {error.strerror or error}")
