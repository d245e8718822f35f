"""Finished runs on disk, each under the address of what determines it, so that nothing is ever run twice."""

import gzip
import json
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from prefine.emulator.files import remove_abandoned, write_bytes
from prefine.emulator.records import DeviceRecord, RoundRecord, RunRecord, RunResult
from prefine.emulator.types import Rehearsed

_SUFFIX = ".json.gz"
_COMPRESSION = 3

R = TypeVar("R", RunRecord, RoundRecord, DeviceRecord)


class Store:
    """Results as files in a folder, one per address. A file is whole or absent; a damaged one counts as absent."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        remove_abandoned(folder)

    def save(self, key: str, result: RunResult) -> None:
        """Store ``result`` under ``key``; raises PrefineError where the disk is full."""
        data = json.dumps(_encode(result), separators=(",", ":")).encode()
        write_bytes(self._path(key), gzip.compress(data, _COMPRESSION, mtime=0))

    def load(self, key: str, run_id: str) -> RunResult | None:
        """The result under ``key``, named ``run_id``; None where there is none or its file is torn or damaged."""
        try:
            return _decode(json.loads(gzip.decompress(self._path(key).read_bytes())), run_id)
        except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError):  # BadGzipFile is an OSError
            return None

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}{_SUFFIX}"


def _encode(result: RunResult) -> dict[str, Any]:
    """Columns of values without ``run_id``: it is the reader's name for the run, not part of the result."""
    return {
        "run": _columns(RunRecord, [result.run]),
        "rounds": _columns(RoundRecord, result.rounds),
        "devices": _columns(DeviceRecord, result.devices),
        "rehearsal": result.rehearsal,
    }


def _columns(record: type[R], rows: Iterable[R]) -> dict[str, list[Any]]:
    columns = list(zip(*rows, strict=True)) or [()] * len(record._fields)
    return {name: list(column) for name, column in zip(record._fields, columns, strict=True) if name != "run_id"}


def _decode(data: Mapping[str, Any], run_id: str) -> RunResult:
    (run,) = _rows(RunRecord, data["run"], run_id)
    rounds = _rows(RoundRecord, data["rounds"], run_id)
    devices = _rows(DeviceRecord, data["devices"], run_id)
    return RunResult(run, rounds, devices, tuple(Rehearsed(*row) for row in data["rehearsal"]))


def _rows(record: type[R], columns: Mapping[str, list[Any]], run_id: str) -> tuple[R, ...]:
    names = list(columns)
    return tuple(
        record(run_id=run_id, **dict(zip(names, values, strict=True))) for values in zip(*columns.values(), strict=True)
    )
