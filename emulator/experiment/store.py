"""Finished runs on disk, each under the address of what determines it, so that nothing is ever run twice."""

import gzip
import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from prefine.emulator.analysis.entries import column_types
from prefine.emulator.archives import gunzip
from prefine.emulator.device_table import DeviceTable
from prefine.emulator.experiment.packed import packed, unpacked
from prefine.emulator.files import remove_abandoned, write_bytes
from prefine.emulator.records import ClientRecord, RoundRecord, RunRecord, RunResult
from prefine.emulator.types import Rehearsed

_SUFFIX = ".json.gz"
_NOTE_SUFFIX = ".json"
_COMPRESSION = 3

KINDS: Mapping[str, tuple[type, ...]] = {"int64": (int,), "float64": (float, int), "str": (str,)}
MOST = 2**63 - 1

R = TypeVar("R", RunRecord, RoundRecord, ClientRecord)


class Store:
    """Results as files in a folder, one per address. A file is whole or absent; a damaged one counts as absent."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        remove_abandoned(folder)

    def save(self, key: str, result: RunResult) -> None:
        """Store ``result`` under ``key``; raises PrefineError where the disk is full."""
        write_bytes(self._path(key), encoded(result))

    def load(self, key: str) -> RunResult | None:
        """The result under ``key``; None where there is none or its file is damaged in any way."""
        try:
            return decoded(self._path(key).read_bytes())
        except (OSError, ValueError, RecursionError):
            return None

    def noted(self, key: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The note under ``key``: what ``make`` made, fit for JSON, when it was first asked for."""
        path = self.folder / f"{key}{_NOTE_SUFFIX}"
        with suppress(OSError, ValueError, RecursionError):
            found = json.loads(path.read_bytes())
            if isinstance(found, dict):
                return found
        made = make()
        write_bytes(path, json.dumps(made).encode())
        return made

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}{_SUFFIX}"


def encoded(result: RunResult) -> bytes:
    """A finished run as one compressed record: a file of the store, and what travels over a network."""
    return gzip.compress(json.dumps(_encode(result), separators=(",", ":")).encode(), _COMPRESSION, mtime=0)


def decoded(data: bytes) -> RunResult:
    """The run in a record. Raises ValueError where `encoded` did not make it, RecursionError where it is too deep."""
    return _decode(json.loads(gunzip(data)))


def _encode(result: RunResult) -> dict[str, Any]:
    return {
        "run": _columns(RunRecord, [result.run]),
        "rounds": _columns(RoundRecord, result.rounds),
        "devices": packed(DeviceTable.of(result.devices)),
        "clients": _columns(ClientRecord, result.clients),
        "rehearsal": result.rehearsal,
    }


def _columns(record: type[R], rows: Iterable[R]) -> dict[str, list[Any]]:
    columns = list(zip(*rows, strict=True)) or [()] * len(record._fields)
    return {name: list(column) for name, column in zip(record._fields, columns, strict=True)}


def _decode(data: object) -> RunResult:
    """Raises ValueError where ``data`` is not what `_encode` makes of a finished run."""
    if not isinstance(data, dict) or data.keys() != {"run", "rounds", "devices", "clients", "rehearsal"}:
        raise ValueError("is no result")
    runs = _rows(RunRecord, data["run"])
    if len(runs) != 1 or runs[0].status != "done":
        raise ValueError("is no finished run")
    rounds, clients = _rows(RoundRecord, data["rounds"]), _rows(ClientRecord, data["clients"])
    return RunResult(runs[0], rounds, unpacked(data["devices"]), clients, _rehearsal(data["rehearsal"]))


def _rehearsal(rows: object) -> tuple[Rehearsed, ...]:
    """Raises ValueError where ``rows`` are not those of a table of rehearsals."""
    kinds = [KINDS[kind] for kind in column_types(Rehearsed).values()]
    if not isinstance(rows, list) or not all(isinstance(row, list) and len(row) == len(kinds) for row in rows):
        raise ValueError("rehearsal is no table of its columns")
    if not all(type(value) in kind for row in rows for value, kind in zip(row, kinds, strict=True)):
        raise ValueError("rehearsal holds something of another kind")
    return tuple(Rehearsed(*row) for row in rows)


def _rows(record: type[R], columns: object) -> tuple[R, ...]:
    """The records in ``columns``, which must be the record's own, of one length, each value of its kind."""
    kinds = {name: KINDS[kind] for name, kind in column_types(record).items()}
    if not isinstance(columns, dict) or list(columns) != list(kinds):
        raise ValueError(f"has not the columns of {record.__name__}")
    for name, kind in kinds.items():
        values = columns[name]
        if not isinstance(values, list) or not all(type(value) in kind for value in values):
            raise ValueError(f"{name} holds something of another kind")
        if any(type(value) is int and abs(value) > MOST for value in values):
            raise ValueError(f"{name} holds a number that no table can hold")
    return tuple(map(record._make, zip(*columns.values(), strict=True)))
