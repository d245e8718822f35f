"""The user's own data: one ``.npz`` file, or a folder with the parts ``general``, ``task`` and ``test``.

- ``.npz``: arrays ``general_x``, ``general_y``, ``task_x``, ``task_y``, ``test_x``, ``test_y`` and, if wanted,
  ``task_source`` (whole numbers). Never pickled objects.
- A part as IDX (the MNIST format): two files, ``*images*`` and ``*labels*``, plain or gzipped.
- A part as images: a folder per class, named by the class, with equally large ``.png``, ``.jpg`` or ``.bmp`` files.
- A part as ``datasets.Dataset.save_to_disk`` wrote it (`prefine.models.data.huggingface`).

Whole-number targets are classes from 0, others a regression. Bytes become [0, 1]. Images are (n, channels, rows,
columns). Everything wrong is a ValueError that names the file; what would take more than 4 GiB is not expanded.
"""

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prefine.emulator.archives import gunzip, npz_arrays
from prefine.models.data import huggingface, pictures
from prefine.models.data.samples import DataPair, Kind, Samples

PARTS = ("general", "task", "test")
IDX_TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}

MOST_DIMENSIONS = 8
MOST_CLASSES = 100_000

Raw = tuple[NDArray[np.generic], NDArray[np.generic]]


def load(path: Path) -> DataPair:
    """The pair at ``path``."""
    if path.is_dir():
        raw, source = _folder(path)
    elif path.suffix == ".npz" and path.is_file():
        raw, source = _npz(path)
    else:
        raise ValueError(f"data {str(path)!r}: there is no such .npz file or folder")
    return checked(path, raw, source)


def _npz(path: Path) -> tuple[dict[str, Raw], NDArray[np.generic] | None]:
    try:
        arrays = npz_arrays(path.read_bytes())
    except ValueError as damage:
        raise ValueError(f"{path}: {damage}") from damage
    missing = [f"{part}_{axis}" for part in PARTS for axis in "xy" if f"{part}_{axis}" not in arrays]
    if missing:
        raise ValueError(f"{path}: there is no array {missing[0]}")
    raw = {part: (arrays[f"{part}_x"], arrays[f"{part}_y"]) for part in PARTS}
    return raw, arrays.get("task_source")


def _folder(path: Path) -> tuple[dict[str, Raw], NDArray[np.generic] | None]:
    for part in PARTS:
        if not (path / part).is_dir():
            raise ValueError(f"{path}: there is no folder {part}")
    if (path / "general" / huggingface.STATE).is_file():
        columns = {part: huggingface.read(path / part) for part in PARTS}
        return {part: (x, y) for part, (x, y, _) in columns.items()}, columns["task"][2]
    if any(child.is_file() and "labels" in child.name for child in (path / "general").iterdir()):
        return {part: (_idx(_only(path / part, "images")), _idx(_only(path / part, "labels"))) for part in PARTS}, None
    classes = sorted({child.name for part in PARTS for child in (path / part).iterdir() if child.is_dir()})
    if not classes:
        raise ValueError(
            f"{path / 'general'}: neither IDX files (*images*, *labels*), a folder per class, nor {huggingface.STATE}"
        )
    return {part: pictures.of_classes(path / part, classes) for part in PARTS}, None


def _only(folder: Path, word: str) -> Path:
    found = sorted(child for child in folder.iterdir() if child.is_file() and word in child.name)
    if len(found) != 1:
        raise ValueError(f"{folder}: needs exactly one *{word}* file, has {len(found)}")
    return found[0]


def _idx(path: Path) -> NDArray[np.generic]:
    """An IDX file: two zero bytes, type, number of dimensions, the dimensions, the numbers, all big-endian."""
    try:
        content = gunzip(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, ValueError) as damage:
        raise ValueError(f"{path}: cannot be read: {damage}") from damage
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in IDX_TYPES or content[3] > MOST_DIMENSIONS:
        raise ValueError(f"{path}: not an IDX file")
    start = 4 + 4 * content[3]
    if len(content) < start:
        raise ValueError(f"{path}: the file is cut short")
    shape = tuple(int(size) for size in np.frombuffer(content[4:start], ">u4"))
    kind = np.dtype(IDX_TYPES[content[2]])
    if len(content) - start != math.prod(shape) * kind.itemsize:
        raise ValueError(f"{path}: the header says shape {shape}, the file has {len(content) - start} bytes of numbers")
    return np.frombuffer(content[start:], kind).reshape(shape).astype(kind.newbyteorder("="))


def checked(path: Path, raw: dict[str, Raw], source: NDArray[np.generic] | None) -> DataPair:
    """The pair of the arrays ``raw`` of each part; ``path`` names them. Raises ValueError where they do not fit."""
    targets = [y for _, y in raw.values()]
    whole = all(np.issubdtype(y.dtype, np.integer) for y in targets)
    kind: Kind = "classification" if whole else "regression"
    parts = {part: _samples(path, part, *raw[part], kind) for part in PARTS}
    shapes = {part: samples.x.shape[1:] for part, samples in parts.items()}
    if len(set(shapes.values())) != 1:
        raise ValueError(f"{path}: samples differ in shape: {', '.join(f'{p} {s}' for p, s in shapes.items())}")
    outputs = 1 + int(max(y.max() for y in targets)) if whole else 1
    if outputs > MOST_CLASSES:
        raise ValueError(f"{path}: there is a class {outputs - 1}; at most {MOST_CLASSES} classes can be told apart")
    task = parts["task"]
    if source is not None:
        if source.shape != task.y.shape or not np.issubdtype(source.dtype, np.integer):
            raise ValueError(f"{path}: task_source must be {len(task)} whole numbers")
        task = Samples(task.x, task.y, source.astype(np.int64))
    return DataPair(path.name, kind, max(outputs, 2) if whole else 1, parts["general"], task, parts["test"])


def _samples(path: Path, part: str, x: NDArray[np.generic], y: NDArray[np.generic], kind: Kind) -> Samples:
    where = f"{path}, {part}"
    if x.dtype.kind not in "buif" or y.dtype.kind not in "uif":
        raise ValueError(f"{where}: must be numbers, not {x.dtype} and {y.dtype}")
    if x.ndim < 2 or y.shape != x.shape[:1] or not x.size:
        raise ValueError(f"{where}: x must be (n, ...) and y (n,) with n >= 1, not {x.shape} and {y.shape}")
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = x.astype(np.float32) / np.float32(255.0 if x.dtype == np.uint8 else 1.0)
        targets = y.astype(np.float32)
    if not (np.isfinite(scaled).all() and np.isfinite(targets).all()):
        raise ValueError(f"{where}: holds a NaN, an infinite number, or one beyond single precision")
    if kind == "classification" and y.astype(np.int64).min() < 0:
        raise ValueError(f"{where}: classes are numbered from 0")
    images = scaled[:, None] if scaled.ndim == 3 else scaled
    return Samples(images, y.astype(np.int64) if kind == "classification" else targets)
