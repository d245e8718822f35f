"""Compressed files from anywhere, opened with care: what they claim to hold is read before they are expanded."""

import gzip
import io
import math
import zipfile
import zlib
from typing import IO

import numpy as np
from numpy.typing import NDArray

MOST_BYTES = 4 * 2**30
"""What one file may expand to, 4 GiB: more than any data set these learners can train on in reasonable time."""

ArrayHeader = tuple[tuple[int, ...], bool, np.dtype[np.generic]]


def gunzip(data: bytes, most_bytes: int = MOST_BYTES) -> bytes:
    """The content of a gzip file. Raises ValueError where it is damaged or larger than ``most_bytes``."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            content = file.read(most_bytes + 1)
    except (OSError, EOFError, zlib.error) as damage:
        raise ValueError(f"is no whole gzip file ({damage})") from damage
    if len(content) > most_bytes:
        raise ValueError(f"expands to more than {most_bytes} bytes, the most that is read")
    return content


def npz_arrays(data: bytes, most_bytes: int = MOST_BYTES) -> dict[str, NDArray[np.generic]]:
    """The arrays of an ``.npz`` file by name, never pickled objects.

    Raises ValueError where it is damaged, holds anything else, or its arrays are larger than ``most_bytes`` together.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            _check_size(members, most_bytes)
            return {member.filename.removesuffix(".npy"): _array(archive, member) for member in members}
    except Exception as damage:  # readers of zip and npy raise whatever a damaged file makes them
        raise ValueError(f"is no readable .npz file of plain arrays ({damage})") from damage


def _check_size(members: list[zipfile.ZipInfo], most_bytes: int) -> None:
    total = sum(member.file_size for member in members)
    if total > most_bytes:
        raise ValueError(f"its arrays take {total} bytes, more than the {most_bytes} that are read")


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[np.generic]:
    """The array of ``member``, whose header must claim exactly the bytes that follow it."""
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        shape, _, dtype = _header(file, version)
        if dtype.hasobject:
            raise ValueError(f"array {member.filename} holds pickled objects")
        claimed = math.prod(shape) * dtype.itemsize
        follow = member.file_size - file.tell()
        if claimed != follow or min(shape, default=0) < 0:
            raise ValueError(f"array {member.filename} claims {claimed} bytes, {follow} follow")
    with archive.open(member) as file:
        array: NDArray[np.generic] = np.lib.format.read_array(file, allow_pickle=False)
        return array


def _header(file: IO[bytes], version: tuple[int, int]) -> ArrayHeader:
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"npy format {version} is not known")
    header: ArrayHeader = readers[version](file)
    return header
