"""Records as pandas tables, and tables as files: column names are field names, floats keep every digit."""

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple, Self, TextIO, get_type_hints

import pandas as pd

from prefine.emulator.analysis.cells import harmless, texts_mapped
from prefine.emulator.analysis.targets import Best, Targets, climb, columns, is_target, reached
from prefine.emulator.device_table import DeviceTable
from prefine.emulator.files import atomic_path
from prefine.emulator.records import ClientRecord, DeviceRecord, RoundRecord, RunRecord, RunResult
from prefine.emulator.types import Rehearsed

Record = type[RunRecord] | type[RoundRecord] | type[DeviceRecord] | type[ClientRecord] | type[Rehearsed]
Varied = tuple[tuple[str, object], ...]
"""The scenario keys that a sweep varied, with one run's values."""

CLIENTS = "clients"
"""The table of what each device gave and got in each run."""

OF_RUNS: Mapping[str, Record] = {"rounds": RoundRecord, "devices": DeviceRecord, CLIENTS: ClientRecord}
"""The tables with several rows for each run, named as the parts of a RunResult are."""

FILES: Mapping[str, Record] = {"runs": RunRecord, **OF_RUNS}
HINDSIGHT = "hindsight"
"""The table of the runs that are only a yardstick: the same columns as ``runs``, and there only where asked for."""

REHEARSALS = "rehearsals"
"""The table of the candidates of policies that rehearsed: there only where one did."""

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

ROWS_AT_ONCE = 20_000
"""That many rows become text together."""


class Entry(NamedTuple):
    """A result with what names it in tables: its ``run_id`` and the scenario keys that a sweep varied."""

    run_id: str
    varied: Varied
    result: RunResult


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


def run_name(varied: Varied, policy: str, seed: int) -> str:
    """What `NAME` holds of a run: varied values, policy and seed, ``__`` between them, so that it can be taken apart.

    Keys go by their last word where that tells them apart. An underscore that another one or the end follows inside a
    part is ``%5F``, a percent sign ``%25``. Of letters, digits and ``.=+-_`` alone it is also a good name for a file.

    >>> name = run_name((("channel.file", "a__b_"), ("budget.delay_s", 1e-05)), "joint-ft", 3)
    >>> name
    'file=a%5F_b%5F__delay_s=1e-05__joint-ft__s3'
    >>> from urllib.parse import unquote
    >>> *values, policy, seed = map(unquote, name.split("__"))
    >>> dict(value.split("=", 1) for value in values), policy, int(seed[1:])
    ({'file': 'a__b_', 'delay_s': '1e-05'}, 'joint-ft', 3)
    """
    words = short([key for key, _ in varied])
    parts = [*(f"{words[key]}={value}" for key, value in varied), policy, f"s{seed}"]
    return "__".join(re.sub("_(?=_|$)", "%5F", part.replace("%", "%25")) for part in parts)


def short(keys: Sequence[str]) -> dict[str, str]:
    """Each of the varied ``keys`` with its last word, or in full where two end in the same.

    >>> short(["budget.delay_s", "server.max_batch", "devices.max_batch"])
    {'budget.delay_s': 'delay_s', 'server.max_batch': 'server.max_batch', 'devices.max_batch': 'devices.max_batch'}
    """
    last = [key.rpartition(".")[2] for key in keys]
    return {key: word if last.count(word) == 1 else key for key, word in zip(keys, last, strict=True)}


def column_types(record: Record) -> Mapping[str, str]:
    """The pandas dtype of each column of ``record``'s table, in order."""
    hints = get_type_hints(record)
    return {name: {int: "int64", float: "float64"}.get(hints[name], "str") for name in record._fields}


def table(record: Record, rows: Iterable[tuple[object, ...]]) -> pd.DataFrame:
    """The ``rows``, all of class ``record``, as a table; without rows, one that has the columns nevertheless."""
    types = column_types(record)
    if isinstance(rows, DeviceTable):
        return pd.DataFrame(rows.columns).astype(types)
    return pd.DataFrame(list(rows), columns=list(types)).astype(types)


class _Rows:
    """Rows of many runs on their way to a file, some `ROWS_AT_ONCE` at a time: a table for each run would be slow."""

    def __init__(self, record: Record, file: TextIO) -> None:
        self._record, self._file = record, file
        self._rows: list[tuple[object, ...]] = []
        self._keys: dict[str, list[object]] = {}
        self._header, self._validated = True, False

    def add(self, entry: Entry, rows: Sequence[tuple[object, ...]]) -> None:
        """The ``rows`` of one run: its ``run_id``, policy, seed and varied values stand before them."""
        run = entry.result.run
        keys = {NAME: entry.run_id, "policy": run.policy, "seed": run.seed}
        keys |= {varied_column(key): value for key, value in entry.varied}
        if isinstance(rows, DeviceTable) and len(rows) > ROWS_AT_ONCE:
            self._add_by_parts(keys, rows)
            return
        self._name(keys, len(rows))
        self._rows += rows
        if len(self._rows) >= ROWS_AT_ONCE:
            self.flush()

    def _add_by_parts(self, keys: Mapping[str, object], rows: DeviceTable) -> None:
        """Write the many ``rows`` of one run, some at a time, without a record for each."""
        if self._rows:
            self.flush()
        for first in range(0, len(rows), ROWS_AT_ONCE):
            part = rows.taken(slice(first, first + ROWS_AT_ONCE))
            self._name(keys, len(part))
            self._write(part)

    def _name(self, keys: Mapping[str, object], count: int) -> None:
        for key, value in keys.items():
            self._keys.setdefault(key, []).extend([harmless(value)] * count)

    def flush(self) -> None:
        """Write what has come."""
        if self._rows or self._header:
            self._write(self._rows)

    def _write(self, rows: Sequence[tuple[object, ...]]) -> None:
        frame = table(self._record, rows)
        names = pd.DataFrame(self._keys, dtype=object)
        if not self._validated:
            frame = without_unvalidated(frame)
            self._validated = VALIDATED[0] in frame.columns
            if self._validated and not self._header:
                self._widen()
        joined = pd.concat([names, frame], axis="columns")
        joined.to_csv(self._file, index=False, header=self._header, lineterminator="\n")
        self._rows, self._keys, self._header = [], {key: [] for key in self._keys}, False

    def _widen(self) -> None:
        """Give what is in the file the columns `VALIDATED`: the first validated run came late."""
        self._file.seek(0)
        head, *lines = list(csv.reader(self._file))
        self._file.seek(0)
        writer = csv.writer(self._file, lineterminator="\n")
        writer.writerow([*head, *VALIDATED])
        writer.writerows([*line, *[""] * len(VALIDATED)] for line in lines)


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
    with atomic_path(path) as temporary:
        texts_mapped(frame, harmless).to_csv(temporary, index=False, lineterminator="\n")


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
