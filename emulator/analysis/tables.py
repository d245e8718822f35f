"""Records as pandas tables, and one table as a file: column names are field names, floats keep every digit."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from prefine.emulator.analysis.cells import harmless, texts_mapped
from prefine.emulator.analysis.entries import Record, Varied, column_types
from prefine.emulator.analysis.lines import frame_lines
from prefine.emulator.analysis.targets import is_target
from prefine.emulator.device_table import DeviceTable
from prefine.emulator.files import atomic_path
from prefine.emulator.records import RunRecord

SCORE = "test_accuracy"
"""The column of runs.csv that policies are compared by."""

REALISED = "mean_grad_norm_sq"
"""The column of runs.csv that Phi bounds."""

VALIDATION = "validation_accuracy"
VALIDATED = ("validation_loss", VALIDATION)
"""Columns of runs.csv and rounds.csv that are there only where something was validated."""

NAME = "run_id"
"""The first column of runs.csv and of the tables `OF_RUNS`: which run a row belongs to."""

_VARIED_AFTER = "seed"


def table(record: Record, rows: Iterable[tuple[object, ...]]) -> pd.DataFrame:
    """The ``rows``, all of class ``record``, as a table; without rows, one that has the columns nevertheless."""
    types = column_types(record)
    if isinstance(rows, DeviceTable):
        return pd.DataFrame(rows.columns).astype(types)
    return pd.DataFrame(list(rows), columns=list(types)).astype(types)


def without_unvalidated(frame: pd.DataFrame) -> pd.DataFrame:
    """``frame`` without the columns `VALIDATED` where it has them and they are empty."""
    there = [name for name in VALIDATED if name in frame.columns]
    return frame if frame[there].notna().to_numpy().any() else frame.drop(columns=there)


def varied_column(key: str) -> str:
    """The column of the varied ``key``: the scenario's own ``seed`` is ``scenario.seed``, for ``seed`` is the run's."""
    return f"scenario.{key}" if key in RunRecord._fields else key


def runs_table(rows: Sequence[tuple[str, Varied, RunRecord]]) -> pd.DataFrame:
    """One row per run; every varied scenario key is a column after ``seed``, in the order in which it was varied."""
    runs = without_unvalidated(table(RunRecord, [run for _, _, run in rows]))
    runs.insert(0, NAME, pd.Series([run_id for run_id, _, _ in rows], dtype="str"))
    keys = list(dict.fromkeys(key for _, varied, _ in rows for key, _ in varied))
    at = list(runs.columns).index(_VARIED_AFTER) + 1
    for offset, key in enumerate(keys):
        runs.insert(at + offset, varied_column(key), [dict(varied).get(key) for _, varied, _ in rows])
    return runs


def varied_keys(runs: pd.DataFrame) -> list[str]:
    """The scenario keys that were varied: the columns of ``runs`` that no RunRecord has, nor any target."""
    known = {NAME, *column_types(RunRecord)}
    return [name for name in runs.columns if name not in known and not is_target(name)]


def write_csv(path: Path, frame: pd.DataFrame) -> None:
    """Write ``frame`` atomically; NaN is an empty field, floats are written so that they read back exactly."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        file.writelines(frame_lines(texts_mapped(frame, harmless)))
