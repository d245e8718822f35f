"""A Hugging Face data set on disk: a folder that ``datasets.Dataset.save_to_disk`` wrote, read without that library.

``state.json`` names the Arrow files; they are streams of columns. The target is the column ``label``, ``labels``,
``target`` or ``y``, a source, if there is one, ``source``. What is left are the features: one column of images or of
equally shaped arrays, or several columns of numbers. Everything wrong is a ValueError that names folder and column.
"""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prefine.emulator.archives import MOST_BYTES
from prefine.emulator.errors import InputError
from prefine.models.data.pictures import alike, channels_first, pixels

STATE = "state.json"
TARGETS = ("label", "labels", "target", "y")
SOURCE = "source"

Columns = tuple[NDArray[np.generic], NDArray[np.generic], NDArray[np.generic] | None]
"""Features (n, ...), targets (n,), and sources (n,) where the set has them."""


def read(folder: Path) -> Columns:
    """The columns of the set in ``folder``. Raises InputError where pyarrow is not installed, ValueError otherwise."""
    try:
        import pyarrow as arrow  # optional, and takes a tenth of a second
    except ImportError:
        raise InputError(f"data {folder}: Hugging Face's files need pyarrow: pip install 'prefine[parquet]'") from None
    try:
        table = arrow.concat_tables(arrow.ipc.open_stream(content).read_all() for content in _contents(folder))
        table.validate(full=True)
    except Exception as damage:  # the reader raises whatever a damaged file makes it
        raise ValueError(f"{folder}: not a readable Hugging Face data set ({damage})") from damage
    if not table.num_rows:
        raise ValueError(f"{folder}: the set has no rows")
    names = table.column_names
    targets = [name for name in names if name in TARGETS]
    features = [name for name in names if name not in (*TARGETS, SOURCE)]
    if len(targets) != 1 or not features:
        raise ValueError(
            f"{folder}: needs exactly one of the columns {', '.join(TARGETS)}, and features beside it; "
            f"it has {', '.join(names)}"
        )
    columns = {name: _numbers(folder, name, table.column(name)) for name in names}
    source = columns.get(SOURCE)
    return _joined(folder, {name: columns[name] for name in features}), columns[targets[0]], source


def _contents(folder: Path) -> list[bytes]:
    """The Arrow files that ``state.json`` names; never outside the folder, and not more than is read."""
    files = [folder / Path(each["filename"]).name for each in json.loads((folder / STATE).read_bytes())["_data_files"]]
    if sum(file.stat().st_size for file in files) > MOST_BYTES:
        raise ValueError(f"more than the {MOST_BYTES} bytes that are read")
    return [file.read_bytes() for file in files]


def _numbers(folder: Path, name: str, column: Any) -> NDArray[np.generic]:
    """A column as an array (n, ...): images, numbers, or lists of them that all have one shape."""
    import pyarrow as arrow
    import pyarrow.compute

    where = f"{folder}, column {name}"
    values = arrow.concat_arrays([_stored(chunk) for chunk in column.chunks])
    if arrow.types.is_struct(values.type) and {field.name for field in values.type} >= {"bytes", "path"}:
        return _images(where, values.field("bytes"))
    shape = [len(values)]
    while arrow.types.is_nested(values.type) and not arrow.types.is_struct(values.type):
        lengths = arrow.compute.list_value_length(values).unique().to_pylist()
        if len(lengths) != 1 or None in lengths:
            raise ValueError(f"{where}: its rows are not all there or differ in shape")
        shape += lengths
        values = _stored(values.flatten())
    if values.null_count:
        raise ValueError(f"{where}: there are rows without a value")
    if not (arrow.types.is_integer(values.type) or arrow.types.is_floating(values.type)):
        raise ValueError(f"{where}: holds {values.type}, must be numbers or images (make words numbers first)")
    numbers: NDArray[np.generic] = values.to_numpy(zero_copy_only=False)
    return numbers.reshape(shape)


def _stored(values: Any) -> Any:
    """What an array of a library's own type is made of."""
    return getattr(values, "storage", values)


def _images(where: str, contents: Any) -> NDArray[np.uint8]:
    """(n, channels, rows, columns) of files' contents, one at a time."""
    images: list[NDArray[np.uint8]] = []
    for number, content in enumerate(contents):
        if not content.is_valid:
            raise ValueError(f"{where}: names image files instead of holding them; save the set with its images")
        name = f"{where}, row {number}"
        images.append(alike(where, images, pixels(io.BytesIO(content.as_py()), name), name))
    return channels_first(images)


def _joined(folder: Path, features: dict[str, NDArray[np.generic]]) -> NDArray[np.generic]:
    """One column as it is, several columns of numbers side by side."""
    if len(features) == 1:
        (only,) = features.values()
        return only if only.ndim > 1 else only[:, None]
    wide = [name for name, values in features.items() if values.ndim > 1]
    if wide:
        raise ValueError(f"{folder}: has features beside {wide[0]}: {', '.join(features)}; leave one, or numbers alone")
    return np.stack([values.astype(np.float64) for values in features.values()], axis=1)
