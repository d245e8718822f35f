"""docs/access.md shows what docs/results/access.py makes."""

import importlib
import re
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).parent.parent / "docs"


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(DOCS / "results")
    return importlib.import_module("access")


def test_a_row_of_the_table_and_the_picture(made: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One band instead of five: the row is the page's; the figure is drawn and is one."""
    page = (DOCS / "access.md").read_text(encoding="utf-8")
    shown = re.search(r"<!-- table -->\n(.*?)\n<!-- end -->", page, flags=re.DOTALL)
    assert shown is not None
    rows = shown[1].splitlines()
    assert [row.split(" | ")[0] for row in rows[2:]] == [f"| {band_hz / 1e3:.0f}" for band_hz in made.BANDS_HZ]
    monkeypatch.setattr(made, "BANDS_HZ", (2e5,))
    known: dict[tuple[float, str], object] = {}
    optimum = made.optimum
    monkeypatch.setattr(made, "optimum", lambda *key: known.setdefault(key, known.get(key) or optimum(*key)))
    head, line, row = made.table().splitlines()
    assert [head, line] == rows[:2]
    assert row in rows
    made.draw(tmp_path / "access.svg")
    assert "<svg" in (tmp_path / "access.svg").read_text()
    assert (DOCS / "pictures" / "access.svg").stat().st_size > 10_000
