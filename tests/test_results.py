"""docs/results.md, online.md, async.md and selection.md say what the files in docs/results say."""

import importlib
import re
import shutil
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from scipy import stats

DOCS = Path(__file__).parent.parent / "docs"
PAGES = ("results.md", "online.md", "async.md", "selection.md")


@pytest.fixture
def collect(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(DOCS / "results")
    return importlib.import_module("collect")


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PAGES)
def test_tables_are_those_of_the_files(name: str, collect: ModuleType) -> None:
    assert collect.MARKED.search(page(name))
    assert (
        page(name).count("<!-- table:") == page(name).count("<!-- end -->") == len(collect.MARKED.findall(page(name)))
    )
    assert collect.rendered(page(name), DOCS / "results") == page(name)


def test_every_table_is_shown_once(collect: ModuleType) -> None:
    shown = [mark[1] for name in PAGES for mark in collect.MARKED.finditer(page(name))]
    assert sorted(shown) == sorted(collect.TABLES)


@pytest.mark.parametrize("name", PAGES)
def test_prose_has_no_measured_figure(name: str, collect: ModuleType) -> None:
    """A number with a decimal point or an interval stands in a table that is made, or in code."""
    prose = collect.MARKED.sub("", page(name))
    prose = re.sub(r"```.*?```|`[^`\n]*`|\]\([^)]*\)", "", prose, flags=re.DOTALL)
    assert not re.findall(r"[^\n]*(?:\d*\.\d+|± ?\d)[^\n]*", prose)


@pytest.mark.parametrize(("name", "least"), [("async", 1000), ("selection", 100)])
def test_the_picture_is_that_of_the_files(collect: ModuleType, name: str, least: int) -> None:
    """To a hundredth of a point, so that another build of the drawing library may round otherwise."""
    drawn = collect.DRAWN[name].picture(DOCS / "results").decode()
    numbers = [
        np.array(re.findall(r"-?\d+\.\d+", text), dtype=float)
        for text in (drawn, (DOCS / "pictures" / f"{name}.svg").read_text(encoding="utf-8"))
    ]
    assert len(numbers[0]) > least
    assert numbers[0] == pytest.approx(numbers[1], abs=0.01)


def test_asynchronous_rows_are_what_the_runs_say(collect: ModuleType) -> None:
    """One row worked out with scipy: mean, interval, and the paired difference to the synchronous runs."""
    runs = pd.read_csv(DOCS / "results" / "async" / "dirichlet.csv")
    score = {
        mode: group.sort_values("seed")["test_accuracy"].to_numpy()
        for mode, group in runs[runs["policy"] == "uniform"].groupby("aggregation.mode")
    }
    gain = score["asynchronous"] - score["synchronous"]
    half = stats.t.interval(0.95, len(gain) - 1, scale=stats.sem(gain))[1]
    row = next(
        r for r in collect.asynchrony.modes(DOCS / "results", "dirichlet") if r[:2] == ["`uniform`", "asynchronous"]
    )
    assert row[-1] == f"+{gain.mean():.3f} ± {half:.3f}".replace("0.", ".")


def test_a_changed_figure_changes_the_page(collect: ModuleType, tmp_path: Path) -> None:
    results = shutil.copytree(DOCS / "results", tmp_path / "results")
    comparison = results / "batch-theory" / "comparison.csv"
    table = pd.read_csv(comparison)
    table.loc[table["policy"] == "joint", "test_accuracy_mean"] += 0.01
    table.to_csv(comparison, index=False)
    assert collect.rendered(page("results.md"), results) != page("results.md")
