"""The report's plots one by one."""

from pathlib import Path

import matplotlib as mpl
import pytest

import prefine
from prefine.emulator.analysis.output import read_tables
from prefine.emulator.errors import InputError
from prefine.emulator.report.drawable import DrawableTables
from tests.emulator.scenario.small import SMALL


@pytest.fixture(autouse=True)
def without_a_display() -> None:
    mpl.use("agg")


def test_each_method_draws_what_the_report_draws(compared: Path, swept: Path) -> None:
    from matplotlib import pyplot

    plot = DrawableTables.of(read_tables(compared)).plot
    before = dict(mpl.rcParams)
    (axes,) = plot.accuracy_over_time()
    assert axes.get_xlabel() == "virtual time in s"
    assert [line.get_label() for line in axes.get_lines()][:2] == ["joint", "uniform"]
    low, high = axes.get_ylim()
    assert 0.0 <= low < high <= 1.0  # its bands reach further
    methods = (
        "trade_off",
        "accuracy_over_energy",
        "gradient_over_time",
        "gradient_over_energy",
        "timeline",
        "energy_by_part",
    )
    for name in (*methods, "delay_by_part", "rounds_chosen"):
        assert len(getattr(plot, name)()) >= 1
    assert dict(mpl.rcParams) == before
    assert set(plot.names) == {path.stem for path in (compared / "figures").glob("*.csv")}
    assert len(DrawableTables.of(read_tables(swept)).plot.accuracy_over_time()) == 4  # one for each combination
    with pytest.raises(InputError, match="plot 'pie': these tables have trade-off, test-accuracy-over-time-s"):
        plot.draw("pie")
    pyplot.close("all")


def test_without_a_folder_nothing_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    def drawn(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr("prefine.emulator.report.page.write_report", drawn)
    tables = prefine.compare(SMALL, "uniform, uniform", seeds=1)
    assert tables.policies == ["uniform"]
    assert isinstance(tables, prefine.Tables)
    assert prefine.compare(SMALL, {"a": "uniform"}, seeds=1).policies == ["a"]
    assert prefine.compare(SMALL, {"uniform"}, seeds=1).policies == ["uniform"]
