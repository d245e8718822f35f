"""docs/results.md and docs/online.md say what the files in docs/results say."""

import importlib
import re
import shutil
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

DOCS = Path(__file__).parent.parent / "docs"
PAGES = ("results.md", "online.md")


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


def test_a_changed_figure_changes_the_page(collect: ModuleType, tmp_path: Path) -> None:
    results = shutil.copytree(DOCS / "results", tmp_path / "results")
    comparison = results / "batch-theory" / "comparison.csv"
    table = pd.read_csv(comparison)
    table.loc[table["policy"] == "joint", "test_accuracy_mean"] += 0.01
    table.to_csv(comparison, index=False)
    assert collect.rendered(page("results.md"), results) != page("results.md")
