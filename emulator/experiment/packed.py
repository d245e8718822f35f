"""Device records as text that is small, exact and quick to read: each column's bytes, compressed, in base64."""

import base64
import zlib
from typing import Any

import numpy as np

from prefine.emulator.device_table import KINDS, Column, DeviceTable

COMPRESSION = 1
MOST_ROWS = 10**8
BYTES: dict[type, str] = {int: "<i8", float: "<f8", str: "<i4"}
"""Of a value; of a text, its number in the list of texts that occur."""


def packed(table: DeviceTable) -> dict[str, Any]:
    """``table``, fit for JSON."""
    import pandas as pd  # not needed to run, nor to read

    texts: dict[str, list[str]] = {}
    columns = {}
    for name, column in table.columns.items():
        values = column
        if KINDS[name] is str:
            values, found = pd.factorize(column)
            texts[name] = found.tolist()
        data = zlib.compress(values.astype(BYTES[KINDS[name]]).tobytes(), COMPRESSION)
        columns[name] = base64.b64encode(data).decode()
    return {"rows": len(table), "texts": texts, "columns": columns}


def unpacked(data: object) -> DeviceTable:
    """The table of which `packed` made ``data``; raises ValueError where it made nothing of the kind."""
    if not isinstance(data, dict) or data.keys() != {"rows", "texts", "columns"}:
        raise ValueError("is no packed table")
    rows, texts, columns = data["rows"], data["texts"], data["columns"]
    if type(rows) is not int or not 0 <= rows <= MOST_ROWS:
        raise ValueError("has no number of rows")
    if not isinstance(columns, dict) or list(columns) != list(KINDS) or not isinstance(texts, dict):
        raise ValueError("has not the columns of a device record")
    if not all(isinstance(text, str) for text in columns.values()):
        raise ValueError("has a column that is no text")
    return DeviceTable({name: _column(name, text, rows, texts.get(name)) for name, text in columns.items()})


def _column(name: str, text: str, rows: int, texts: object) -> Column:
    kind = np.dtype(BYTES[KINDS[name]])
    expanding = zlib.decompressobj()
    try:
        data = expanding.decompress(base64.b64decode(text, validate=True), rows * kind.itemsize + 1)
    except zlib.error as damage:
        raise ValueError(f"{name} is damaged ({damage})") from damage
    if len(data) != rows * kind.itemsize:
        raise ValueError(f"{name} has not {rows} values")
    values = np.frombuffer(data, kind)
    if KINDS[name] is not str:
        return values.astype(KINDS[name])
    if not isinstance(texts, list) or not all(type(word) is str for word in texts):
        raise ValueError(f"{name} has no texts")
    if values.size and not 0 <= values.min() <= values.max() < len(texts):
        raise ValueError(f"{name} has a text that is not there")
    return np.array(texts, dtype=object)[values] if values.size else np.empty(0, dtype=object)
