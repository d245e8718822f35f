"""What a report is made from: the CSV files and the manifest of one output folder, nothing else."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from prefine.emulator.analysis.comparison import comparison, default_reference, groups, ranking
from prefine.emulator.analysis.tables import read_table, varied_keys
from prefine.emulator.errors import InputError

MAX_CASES = 6


@dataclass(frozen=True)
class Tables:
    """The tables of an output folder; ``comparison`` and ``ranking`` are worked out anew from ``runs``."""

    runs: pd.DataFrame
    rounds: pd.DataFrame
    devices: pd.DataFrame
    comparison: pd.DataFrame
    ranking: pd.DataFrame
    manifest: Mapping[str, object]

    @property
    def keys(self) -> list[str]:
        """The scenario keys that were varied."""
        return varied_keys(self.runs)

    @property
    def policies(self) -> list[str]:
        """In order of appearance."""
        return list(self.runs["policy"].drop_duplicates())

    @property
    def reference(self) -> str:
        """The policy the others are compared with."""
        return str(self.comparison["reference"].iloc[0])

    @property
    def done(self) -> pd.DataFrame:
        """The runs that did not fail."""
        return self.runs[self.runs["status"] == "done"]

    def with_run(self, frame: pd.DataFrame) -> pd.DataFrame:
        """``frame`` (rounds or devices) with the varied keys, policy and seed of each row's run."""
        return frame.merge(self.runs[["run_id", *self.keys, "policy", "seed"]], on="run_id", validate="many_to_one")


def read_tables(folder: Path, reference: str | None = None) -> Tables:
    """Read an output folder; raises InputError, one line, where a file is missing or broken.

    ``reference`` is the policy to compare with; by default the manifest's, else the first.
    """
    runs = read_table(folder, "runs")
    if runs.empty:
        raise InputError(f"{folder / 'runs.csv'}: holds no runs; there is nothing to report")
    if runs["run_id"].duplicated().any():
        twice = runs["run_id"][runs["run_id"].duplicated()].iloc[0]
        raise InputError(f"{folder / 'runs.csv'}: run_id {twice} is there twice; every run needs its own")
    manifest = _manifest(folder / "manifest.json")
    named = reference or str(manifest.get("reference") or default_reference(runs))
    if named not in set(runs["policy"]):
        known = ", ".join(runs["policy"].drop_duplicates())
        raise InputError(f"reference policy {named!r} is not among the policies that were run: {known}")
    rounds, devices = read_table(folder, "rounds"), read_table(folder, "devices")
    return Tables(runs, rounds, devices, comparison(runs, named), ranking(runs), manifest)


def _manifest(path: Path) -> Mapping[str, object]:
    try:
        manifest = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: is not JSON: {error}") from error
    if not isinstance(manifest, dict):
        raise InputError(f"{path}: must hold one JSON object")
    return manifest


def cases(frame: pd.DataFrame, keys: Sequence[str]) -> Iterator[tuple[str, pd.DataFrame]]:
    """``frame`` split by the values of ``keys``, each part with its label; one part without label if there are none.

    Of more than six parts, six at even distances, first and last among them, stand for all.
    """
    parts = list(groups(frame, keys))
    last = len(parts) - 1
    chosen = range(len(parts)) if last < MAX_CASES else [round(i * last / (MAX_CASES - 1)) for i in range(MAX_CASES)]
    for index in chosen:
        varied, part = parts[index]
        yield label(varied), part


def shown(value: object) -> str:
    """A varied value as short as it can be written."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def label(varied: Mapping[str, object]) -> str:
    """``delay_s = 10, energy_j = 20``: the last part of each key is enough for a reader."""
    return ", ".join(f"{key.rpartition('.')[2]} = {shown(value)}" for key, value in varied.items())
