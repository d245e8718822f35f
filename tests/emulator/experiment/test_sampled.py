"""Which device rows are kept, and that nothing else depends on it."""

from pathlib import Path

import pandas as pd
import pytest

import prefine
from prefine.emulator.experiment import sampled
from prefine.emulator.report.figure import Figure
from tests.emulator.scenario.small import SMALL

DEVICES, MOST = 11, 4


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One output folder for each choice."""
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampled, "SAMPLED", MOST)
        patch.setattr(Figure, "render", lambda *_: b"")  # drawing is not what this is about
        for kept in ("all", "sample", "none"):
            found[kept] = tmp_path_factory.mktemp(kept)
            overrides = {"devices.count": DEVICES, "compare.devices": kept}
            prefine.compare(SMALL, "finetune-only,uniform", seeds=1, overrides=overrides, out=found[kept])
    return found


@pytest.mark.parametrize("kept", ["sample", "none"])
def test_every_other_table_is_the_same(folders: dict[str, Path], kept: str) -> None:
    names = ("runs.csv", "rounds.csv", "clients.csv", "comparison.csv", "ranking.csv")
    for name in (*names, "figures/energy-by-part.csv", "figures/rounds-chosen.csv"):
        assert (folders[kept] / name).read_bytes() == (folders["all"] / name).read_bytes(), name


def test_a_sample_is_a_part_of_all_and_knows_who_was_last(folders: dict[str, Path]) -> None:
    every, some = (pd.read_csv(folders[kept] / "devices.csv") for kept in ("all", "sample"))
    assert len(every.merge(some, how="inner")) == len(some)
    regular = some[some["device"] % 3 == 0]
    assert regular["device"].nunique() == -(-DEVICES // 3) == MOST
    assert set(regular.groupby(["run_id", "round"]).size()) == {MOST}
    last = [frame.groupby(["run_id", "round"])["upload_end_s"].max() for frame in (every, some)]
    pd.testing.assert_series_equal(last[0], last[1])
    assert len(some) <= len(regular) + len(last[0])
    name = "figures/delay-by-part.csv"
    assert (folders["sample"] / name).read_bytes() == (folders["all"] / name).read_bytes()


def test_without_rows_what_needs_them_is_left_out(folders: dict[str, Path]) -> None:
    assert pd.read_csv(folders["none"] / "devices.csv").empty
    left_out = {path.name for path in (folders["all"] / "figures").iterdir()}
    left_out -= {path.name for path in (folders["none"] / "figures").iterdir()}
    assert left_out == {"timeline.csv", "delay-by-part.csv", "device-choices.csv"}
    assert (folders["none"] / "report.html").is_file()


def test_few_devices_are_all_kept(tmp_path: Path) -> None:
    found = prefine.compare(SMALL, "uniform", seeds=1, overrides={"compare.devices": "sample"})
    assert found.devices["device"].nunique() == 3
