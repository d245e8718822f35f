"""The tables of one output folder, read from its CSV files and its manifest, nothing else."""

import html
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from prefine.emulator.analysis import paper
from prefine.emulator.analysis.comparison import comparison, default_reference, ranking
from prefine.emulator.analysis.entries import CLIENTS, HINDSIGHT, REHEARSALS
from prefine.emulator.analysis.longform import long
from prefine.emulator.analysis.manifest import read_manifest
from prefine.emulator.analysis.reading import read_table
from prefine.emulator.analysis.tables import varied_keys, write_csv
from prefine.emulator.analysis.verdict import verdict
from prefine.emulator.errors import InputError
from prefine.emulator.files import write_bytes


@dataclass(frozen=True, repr=False)
class Tables:
    """The tables of an output folder; ``comparison`` and ``ranking`` are worked out anew from ``runs``.

    ``comparison`` is wide, one row for each policy (and combination of varied values), with ``FIGURE_mean``,
    ``FIGURE_ci95``, ``FIGURE_diff``, ``FIGURE_diff_ci95`` and ``FIGURE_win_rate``; comparison.csv is long.
    ``hindsight`` has the runs of the family of shares in hindsight, ``rehearsals`` the candidates of each policy that
    rehearsed; no rows where there were none. ``clients`` is empty in a folder of an older version.
    """

    runs: pd.DataFrame
    rounds: pd.DataFrame
    devices: pd.DataFrame
    clients: pd.DataFrame
    comparison: pd.DataFrame
    ranking: pd.DataFrame
    hindsight: pd.DataFrame
    rehearsals: pd.DataFrame
    manifest: Mapping[str, object]

    @cached_property
    def keys(self) -> list[str]:
        """The scenario keys that were varied."""
        return varied_keys(self.runs)

    @cached_property
    def policies(self) -> list[str]:
        """In order of appearance."""
        return list(self.runs["policy"].drop_duplicates())

    @property
    def competitors(self) -> pd.DataFrame:
        """``comparison`` without the row of hindsight, which is a yardstick."""
        return self.comparison[self.comparison["policy"].isin(self.policies)]

    def to_markdown(self) -> str:
        """The comparison as a Markdown table for a reader: means over seeds ± half-widths of 95 % intervals."""
        return paper.markdown(self._cells)

    def to_latex(self) -> str:
        """The same as a LaTeX tabular; it needs ``\\usepackage{booktabs}``."""
        return paper.latex(self._cells)

    def _repr_html_(self) -> str:
        """What a notebook shows: the verdict and the comparison."""
        said = "".join(f"<p>{html.escape(line)}</p>" for line in self.verdict.splitlines())
        caption = (
            f"Means over seeds ± half-width of the 95 % interval. Gain: accuracy against {self.reference}, same seeds."
        )
        return said + paper.as_html(self._cells, caption)

    def __repr__(self) -> str:
        """The verdict and the comparison as texts in columns."""
        return f"{self.verdict}\n\n{self._cells.to_string(index=False)}"

    @property
    def _cells(self) -> pd.DataFrame:
        return paper.cells(self.comparison, self.keys)

    @cached_property
    def verdict(self) -> str:
        """What the tables say in two or three sentences; in a sweep, a line for each combination besides."""
        return verdict(self.runs, self.comparison, self.hindsight)

    @property
    def reference(self) -> str:
        """The policy the others are compared with."""
        return str(self.comparison["reference"].iloc[0])

    @cached_property
    def done(self) -> pd.DataFrame:
        """The runs that did not fail."""
        return self.runs[self.runs["status"] == "done"]

    def with_run(self, frame: pd.DataFrame) -> pd.DataFrame:
        """``frame`` (rounds, devices or clients) with the varied keys, policy and seed of each row's run."""
        names = [*self.keys, "policy", "seed"]
        bare = frame.drop(columns=names, errors="ignore")
        return bare.merge(self.runs[["run_id", *names]], on="run_id", validate="many_to_one")


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
    manifest = read_manifest(folder / "manifest.json")
    named = reference or str(manifest.get("reference") or default_reference(runs))
    if named not in set(runs["policy"]):
        known = ", ".join(runs["policy"].drop_duplicates())
        raise InputError(f"reference policy {named!r} is not among the policies that were run: {known}")
    rounds, devices = read_table(folder, "rounds"), read_table(folder, "devices")
    clients = read_table(folder, CLIENTS) if (folder / f"{CLIENTS}.csv").exists() else pd.DataFrame()
    family = read_table(folder, HINDSIGHT) if (folder / f"{HINDSIGHT}.csv").exists() else runs.iloc[:0]
    rehearsed = read_table(folder, REHEARSALS) if (folder / f"{REHEARSALS}.csv").exists() else pd.DataFrame()
    compared = comparison(runs, named, family)
    return Tables(runs, rounds, devices, clients, compared, ranking(runs), family, rehearsed, manifest)


def write_paper(folder: Path, tables: Tables, markup: paper.Markup) -> None:
    """Write the comparison for a reader as comparison.tex or comparison.md into ``folder``."""
    text = tables.to_latex() if markup == "latex" else tables.to_markdown()
    write_bytes(folder / f"comparison.{paper.SUFFIXES[markup]}", text.encode())


def analyse(folder: Path, reference: str | None = None) -> Tables:
    """`read_tables`, with comparison.csv and ranking.csv written anew into ``folder``; raises as it does."""
    tables = read_tables(folder, reference)
    write_csv(folder / "comparison.csv", long(tables.comparison))
    write_csv(folder / "ranking.csv", tables.ranking)
    return tables
