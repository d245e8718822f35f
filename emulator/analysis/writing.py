"""The tables of many runs as files, written while results come in: one result in memory at a time."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple, Self, TextIO

import pandas as pd

from prefine.emulator.analysis.cells import harmless
from prefine.emulator.analysis.entries import HINDSIGHT, OF_RUNS, REHEARSALS, Entry, Record, Varied
from prefine.emulator.analysis.lines import cell, cells, joined
from prefine.emulator.analysis.tables import (
    NAME,
    VALIDATED,
    runs_table,
    table,
    varied_column,
    without_unvalidated,
    write_csv,
)
from prefine.emulator.analysis.targets import Best, Targets, climb, columns, reached
from prefine.emulator.device_table import DeviceTable
from prefine.emulator.files import atomic_path
from prefine.emulator.records import RunRecord
from prefine.emulator.types import Rehearsed

ROWS_AT_ONCE = 20_000
"""That many rows become text together."""


class _Row(NamedTuple):
    """What is kept of a result until the tables of runs can be written."""

    run_id: str
    varied: Varied
    run: RunRecord
    bests: tuple[Best, ...]

    @classmethod
    def of(cls, entry: Entry) -> Self:
        run = entry.result.run
        return cls(entry.run_id, entry.varied, run, climb(entry.result.rounds, run.calibration_energy_j))

    @property
    def case(self) -> str:
        return repr(self.varied)


class _Rows:
    """Rows of many runs on their way to a file, some `ROWS_AT_ONCE` at a time: a table for each run would be slow."""

    def __init__(self, record: Record, file: TextIO) -> None:
        self._record, self._file = record, file
        self._names: tuple[str, ...] = ()
        self._rows: list[tuple[object, ...]] = []
        self._runs: list[str] = []
        self._header, self._validated = True, False

    def add(self, entry: Entry, rows: Sequence[tuple[object, ...]]) -> None:
        """The ``rows`` of one run: its ``run_id``, policy, seed and varied values stand before them."""
        run = entry.result.run
        keys = {NAME: entry.run_id, "policy": run.policy, "seed": run.seed}
        keys |= {varied_column(key): value for key, value in entry.varied}
        self._names = tuple(keys)
        before = ",".join(cell(harmless(value)) for value in keys.values())
        if isinstance(rows, DeviceTable) and len(rows) > ROWS_AT_ONCE:
            self._add_by_parts(before, rows)
            return
        self._runs += [before] * len(rows)
        self._rows += rows
        if len(self._rows) >= ROWS_AT_ONCE:
            self.flush()

    def _add_by_parts(self, before: str, rows: DeviceTable) -> None:
        """Write the many ``rows`` of one run, some at a time, without a record for each."""
        if self._rows:
            self.flush()
        for first in range(0, len(rows), ROWS_AT_ONCE):
            part = rows.taken(slice(first, first + ROWS_AT_ONCE))
            self._runs = [before] * len(part)
            self._write(part)

    def flush(self) -> None:
        """Write what has come."""
        if self._rows or self._header:
            self._write(self._rows)

    def _write(self, rows: Sequence[tuple[object, ...]]) -> None:
        frame = table(self._record, rows)
        if not self._validated:
            frame = without_unvalidated(frame)
            self._validated = VALIDATED[0] in frame.columns
            if self._validated and not self._header:
                self._widen()
        if self._header:
            self._file.write(joined([[cell(name)] for name in (*self._names, *frame.columns)]))
        if len(frame):
            self._file.write(joined([self._runs, *(cells(column.to_numpy()) for _, column in frame.items())]))
        self._rows, self._runs, self._header = [], [], False

    def _widen(self) -> None:
        """Give what is in the file the columns `VALIDATED`: the first validated run came late."""
        self._file.seek(0)
        head, *lines = list(csv.reader(self._file))
        self._file.seek(0)
        writer = csv.writer(self._file, lineterminator="\n")
        writer.writerow([*head, *VALIDATED])
        writer.writerows([*line, *[""] * len(VALIDATED)] for line in lines)


def write_tables(
    folder: Path,
    results: Iterable[Entry],
    targets: Targets = Targets(),  # noqa: B008  # frozen
    hindsight: Iterable[Entry] = (),
) -> pd.DataFrame:
    """Write runs.csv and the tables `OF_RUNS` into ``folder``, one result in memory at a time; return the runs.

    Where policies rehearsed, rehearsals.csv too. The results of ``hindsight`` go to hindsight.csv alone, under the same
    targets. What there is no result for is removed.
    """
    rows: list[_Row] = []
    rehearsals: dict[tuple[str, str], tuple[Varied, tuple[Rehearsed, ...]]] = {}
    with ExitStack() as stack:
        paths = {name: stack.enter_context(atomic_path(folder / f"{name}.csv")) for name in OF_RUNS}
        files = {
            name: _Rows(OF_RUNS[name], stack.enter_context(path.open("w+", newline=""))) for name, path in paths.items()
        }
        for entry in results:
            _, varied, result = entry
            for name, file in files.items():
                file.add(entry, getattr(result, name))
            rows.append(_Row.of(entry))
            rehearsals.setdefault((result.run.policy, rows[-1].case), (varied, result.rehearsal))
        for file in files.values():
            file.flush()
    first = targets.first((row.case, row.run) for row in rows)
    runs = _reaching(rows, targets, first)
    write_csv(folder / "runs.csv", runs)
    _write_rehearsals(folder / f"{REHEARSALS}.csv", rehearsals)
    family = [_Row.of(entry) for entry in hindsight]
    if family:
        write_csv(folder / f"{HINDSIGHT}.csv", _reaching(family, targets, first))
    else:
        (folder / f"{HINDSIGHT}.csv").unlink(missing_ok=True)
    return runs


def _reaching(rows: Sequence[_Row], targets: Targets, first: Mapping[str, float]) -> pd.DataFrame:
    """The table of ``rows`` with the columns of all targets; ``first`` is the first target of each case."""
    filled = []
    for row in rows:
        time_s, energy_j = reached(row.bests, first[row.case])
        run = row.run._replace(
            target_accuracy=first[row.case], time_to_accuracy_s=time_s, energy_to_accuracy_j=energy_j
        )
        filled.append((row.run_id, row.varied, run))
    runs = runs_table(filled)
    for target in targets.named[1:]:
        found = [reached(row.bests, target) for row in rows]
        for index, name in enumerate(columns(target)):
            runs[name] = [spent[index] for spent in found]
    return runs


def _write_rehearsals(path: Path, rehearsals: Mapping[tuple[str, str], tuple[Varied, tuple[Rehearsed, ...]]]) -> None:
    """One row per candidate of each policy that rehearsed, in each scenario; no file where none did."""
    rows = [
        {"policy": policy, **dict(varied), **row._asdict()}
        for (policy, _), (varied, table) in rehearsals.items()
        for row in table
    ]
    if rows:
        write_csv(path, pd.DataFrame(rows))
    else:
        path.unlink(missing_ok=True)
