"""The comparison for a reader: Markdown, LaTeX, HTML."""

import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

import prefine
from prefine.emulator.analysis.output import Tables, read_tables
from prefine.emulator.analysis.paper import as_html, latex, markdown
from prefine.emulator.errors import InputError
from tests.emulator.experiment.conftest import make_folder

ODD = pd.DataFrame({"policy": ["a_b & 50 %", "<b>|"], "gain": ["-0.010 ± 0.002", "joint-2 +1"]})


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    values = [(("budget.delay_s", delay),) for delay in (5.0, 10.0)]
    return read_tables(make_folder(tmp_path_factory.mktemp("paper"), values))


def test_each_markup_has_the_same_cells_in_the_same_order(tables: Tables) -> None:
    rows = [line.strip("| \n").split(" | ") for line in tables.to_markdown().splitlines()]
    assert rows[0] == ["delay_s", "policy", "rounds", "test accuracy", "gain", "delay in s", "energy in J"]
    assert len(rows) == 2 + len(tables.comparison)
    first = tables.comparison.iloc[1]
    assert rows[3][:2] == [f"{first['budget.delay_s']:g}", first["policy"]]
    assert float(rows[3][3].partition(" ±")[0]) == pytest.approx(first["test_accuracy_mean"], abs=5e-4)
    body = tables.to_latex().partition("midrule\n")[2].partition("\\bottomrule")[0]
    plain = [re.sub(r"\$([^$]*)\$", r"\1", line).replace(r"\pm", "±") for line in body.splitlines()]
    assert [line.removesuffix(r" \\").split(" & ") for line in plain] == rows[2:]
    shown = re.findall(r"<td>(.*?)</td>", tables._repr_html_())
    assert shown == [cell for row in rows[2:] for cell in row]
    assert all(line in repr(tables) for line in tables.verdict.splitlines())


def test_what_a_markup_would_take_for_its_own_is_escaped() -> None:
    assert r"a\_b \& 50 \% & $-0.010$ $\pm$ 0.002 \\" in latex(ODD)
    assert r"joint-2 $+1$ \\" in latex(ODD)
    assert r"| <b>\| |" in markdown(ODD)
    assert "<td>&lt;b&gt;|</td>" in as_html(ODD, "")


def test_keys_that_end_alike_are_written_in_full(tables: Tables) -> None:
    runs = tables.runs.rename(columns={"budget.delay_s": "a.x"})
    runs.insert(4, "b.x", 1)
    compared = tables.comparison.rename(columns={"budget.delay_s": "a.x"})
    compared.insert(1, "b.x", 1)
    assert replace(tables, runs=runs, comparison=compared).to_markdown().startswith("| a.x | b.x | policy |")


def test_report_writes_it_beside_the_tables(tables: Tables, tmp_path: Path) -> None:
    folder = make_folder(tmp_path, [()])
    prefine.report(folder, tables="latex")
    prefine.report(folder, tables="markdown")
    assert (folder / "comparison.tex").read_text() == read_tables(folder).to_latex()
    assert (folder / "comparison.md").read_text() == read_tables(folder).to_markdown()
    with pytest.raises(InputError, match="allowed: csv, parquet, latex, markdown"):
        prefine.report(folder, tables="excel")  # type: ignore[arg-type]
