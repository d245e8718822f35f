"""Targets: the first evaluated round at or above an accuracy, and what was spent by its end."""

import math
from pathlib import Path

import pandas as pd
import pytest

import prefine
from prefine.emulator.analysis.entries import FILES, Entry
from prefine.emulator.analysis.output import read_tables
from prefine.emulator.analysis.reading import read_table
from prefine.emulator.analysis.tables import varied_keys
from prefine.emulator.analysis.targets import SHARE, Targets, climb, columns, reached
from prefine.emulator.analysis.writing import write_tables
from prefine.emulator.errors import InputError
from prefine.emulator.types import Rehearsed
from tests.emulator.experiment.conftest import make_folder
from tests.emulator.experiment.synthetic import SyntheticJob, execute
from tests.emulator.scenario.small import SMALL

DOCS = Path(__file__).parents[3] / "docs" / "tables.md"


def results(*policies: str) -> list[Entry]:
    jobs = [SyntheticJob(policy, seed) for policy in policies for seed in range(2)]
    return [Entry(job.run_id, (), execute(job)) for job in jobs]


@pytest.mark.parametrize("target", [0.05, 0.3, 0.5, 0.99])
def test_the_first_round_at_or_above_the_target_by_a_plain_walk(target: float) -> None:
    rounds = execute(SyntheticJob("joint", 0)).rounds
    spent, expected = 0.0, (math.nan, math.nan)
    for each in rounds:
        spent += each.energy_j
        if each.test_accuracy >= target:
            expected = (each.end_s, spent)
            break
    assert reached(climb(rounds), target) == pytest.approx(expected, nan_ok=True)


def test_rounds_that_were_not_evaluated_are_passed_over_but_paid_for() -> None:
    rounds = execute(SyntheticJob("joint", 0)).rounds
    sparse = [each if each.round % 5 == 4 else each._replace(test_accuracy=math.nan) for each in rounds]
    time_s, energy_j = reached(climb(sparse), 0.2)
    at = next(i for i, each in enumerate(sparse) if each.test_accuracy >= 0.2)
    assert time_s == rounds[at].end_s
    assert energy_j == pytest.approx(sum(each.energy_j for each in rounds[: at + 1]))


def test_each_target_has_its_columns_and_the_first_the_plain_ones(tmp_path: Path) -> None:
    write_tables(tmp_path, results("joint", "uniform"), Targets((0.3, 0.5), "joint"))
    runs = read_table(tmp_path, "runs")
    first, second = columns(0.3), columns(0.5)
    assert set(second) <= set(runs.columns)
    assert not set(first) & set(runs.columns)
    assert (runs["target_accuracy"] == 0.3).all()
    late = runs["time_to_accuracy_0.5_s"]
    assert late.dtype == "float64"
    assert late.isna().any()  # uniform never gets there
    assert (late.dropna() > runs.loc[late.notna(), "time_to_accuracy_s"]).all()
    assert varied_keys(runs) == []
    compared = read_tables(tmp_path).comparison
    assert {"time_to_accuracy_0.5_s_mean", "energy_to_accuracy_0.5_j_mean"} <= set(compared.columns)
    assert compared.set_index("policy")["target_reach_rate"].to_dict() == {"joint": 1.0, "uniform": 1.0}


def test_without_targets_it_is_nine_tenths_of_what_the_reference_ends_with(tmp_path: Path) -> None:
    runs = write_tables(tmp_path, results("joint", "uniform"), Targets((), "uniform"))
    mean = runs.loc[runs["policy"] == "uniform", "test_accuracy"].mean()
    assert runs["target_accuracy"].to_numpy() == pytest.approx(SHARE * mean)
    assert runs["time_to_accuracy_s"].notna().any()
    nobody = write_tables(tmp_path, results("joint"), Targets((), "no-such"))
    assert nobody[["target_accuracy", "time_to_accuracy_s", "energy_to_accuracy_j"]].isna().all(axis=None)


def test_a_varied_value_may_be_a_list(tmp_path: Path) -> None:
    rows = [
        Entry(str(far), (("devices.distance_m", [50.0, far]),), execute(SyntheticJob("joint", 0)))
        for far in (60.0, 70.0)
    ]
    assert len(write_tables(tmp_path, rows, Targets((), "joint"))) == 2


def test_targets_of_a_scenario_reach_the_table_and_change_no_run(tmp_path: Path) -> None:
    plain = prefine.compare(SMALL, ["uniform"], seeds=2, out=tmp_path).runs
    stored = {path.name for path in (tmp_path / "runs").iterdir()}
    aimed = prefine.compare(SMALL, ["uniform"], seeds=2, out=tmp_path, overrides=["compare.targets=[0.2, 0.3]"]).runs
    assert {path.name for path in (tmp_path / "runs").iterdir()} == stored
    assert (aimed["target_accuracy"] == 0.2).all()
    assert aimed["test_accuracy"].tolist() == plain["test_accuracy"].tolist()
    with pytest.raises(InputError, match=r"compare\.targets.*twice"):
        prefine.compare(SMALL, ["uniform"], overrides=["compare.targets=[0.2, 0.2]"])


def documented(section: str) -> list[str]:
    """The names in the first column of the table under ``## section``."""
    text = DOCS.read_text(encoding="utf-8").partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    lines = [line for line in text.split("\n### ")[0].splitlines() if line.startswith("| `")]
    return [name.strip("` ") for line in lines for name in line.split("|")[1].split(",")]


def test_documented_columns_are_the_written_ones(tmp_path: Path) -> None:
    compared = make_folder(tmp_path, [()])
    target = [f"{name}_to_accuracy_TARGET_{unit}" for name, unit in (("time", "s"), ("energy", "j"))]
    for name, record in FILES.items():
        keys = ["run_id", *(() if name == "runs" else ("policy", "seed", "varied keys"))]
        columns = [*keys, *record._fields, *(target if name == "runs" else [])]
        assert sorted(documented(f"{name}.csv")) == sorted(columns)
    assert documented("rehearsals.csv") == ["policy", *Rehearsed._fields]
    assert documented("ranking.csv") == list(pd.read_csv(compared / "ranking.csv").columns)
    assert documented("comparison.csv") == list(pd.read_csv(compared / "comparison.csv").columns)
