"""The numbers behind the plots, against sums and means taken by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from prefine.emulator.analysis.output import Tables, read_tables
from prefine.emulator.analysis.tables import REALISED
from prefine.emulator.analysis.wording import shown
from prefine.emulator.report import bars, course, predicted, sweeps
from prefine.emulator.report.figure import Figure, looks
from prefine.emulator.report.words import cases
from tests.emulator.experiment.synthetic import DEVICES


@pytest.fixture(scope="module")
def tables(compared: Path) -> Tables:
    return read_tables(compared)


@pytest.fixture(scope="module")
def grid(swept: Path) -> Tables:
    return read_tables(swept)


def named(figures: list[Figure], name: str) -> pd.DataFrame:
    (found,) = [figure for figure in figures if figure.name == name]
    return found.data


def test_parts_of_the_energy_sum_to_the_energy(tables: Tables) -> None:
    data = named(list(bars.figures(tables)), "energy-by-part").set_index("policy")
    expected = tables.done.groupby("policy")["energy_j"].mean()
    assert data[list(bars.ENERGY)].sum(axis="columns").to_dict() == pytest.approx(expected.to_dict())


def test_parts_of_the_delay_follow_the_last_device_and_sum_to_the_delay(tables: Tables) -> None:
    data = named(list(bars.figures(tables)), "delay-by-part").set_index("policy")
    expected = tables.done.groupby("policy")["delay_s"].mean()
    assert data[list(bars.DELAY)].sum(axis="columns").to_dict() == pytest.approx(expected.to_dict())

    run = tables.rounds[tables.rounds["run_id"].isin(tables.runs.loc[tables.runs["policy"] == "joint", "run_id"])]
    tuned = run[run["stage"] == "finetune"]
    rows = tables.devices[tables.devices["run_id"].isin(run["run_id"])]
    last = rows.sort_values("upload_end_s").groupby(["run_id", "round"]).tail(1)
    seeds = tables.done[tables.done["policy"] == "joint"]["seed"].size
    assert data.loc["joint", "upload_s"] == pytest.approx((last["upload_end_s"] - last["upload_start_s"]).sum() / seeds)
    assert data.loc["joint", "download_s"] == pytest.approx(0.1 * (tuned["end_s"] - tuned["start_s"]).sum() / seeds)
    assert data.loc["pretrain-only", "pretrain_s"] == pytest.approx(expected["pretrain-only"])


def test_of_what_began_before_a_round_only_the_part_in_it_counts(tables: Tables) -> None:
    """Without a barrier: here everyone's download was over, and computing had begun, long before the round."""
    early = {name: tables.devices[name] - 1000.0 for name in ("download_start_s", "download_end_s", "compute_start_s")}
    data, usual = (
        named(list(bars.figures(each)), "delay-by-part").set_index("policy")
        for each in (replace(tables, devices=tables.devices.assign(**early)), tables)
    )
    parts = list(bars.DELAY)
    assert data[parts].sum(axis="columns").to_dict() == pytest.approx(usual[parts].sum(axis="columns").to_dict())
    assert (data["download_s"] == 0.0).all()
    whole = usual["download_s"] + usual["compute_s"]
    assert data["compute_s"].to_dict() == pytest.approx(whole.to_dict())


def test_a_round_in_which_nobody_arrived_is_waiting(tables: Tables) -> None:
    lost = replace(tables, devices=tables.devices.assign(outcome="late"))
    data = named(list(bars.figures(lost)), "delay-by-part").set_index("policy")
    assert (data[["download_s", "compute_s", "upload_s"]] == 0).all(axis=None)
    assert data["waiting_s"].gt(1e-9).to_dict() == {"joint": True, "uniform": True, "pretrain-only": False}


def test_curves_are_means_of_what_each_seed_had_at_that_time(tables: Tables) -> None:
    data = named(list(course.curves(tables)), "test-accuracy-over-time-s")
    point = data[data["policy"] == "joint"].iloc[70]
    rounds = tables.with_run(tables.rounds)
    rounds = rounds[(rounds["policy"] == "joint") & (rounds["end_s"] <= point["time_s"])]
    expected = rounds.groupby("seed")["test_accuracy"].last()
    assert point["mean"] == pytest.approx(expected.mean())
    assert point["low95"] < point["mean"] < point["high95"]


def test_energy_spent_ends_at_the_sum_of_the_rounds(tables: Tables) -> None:
    data = named(list(course.curves(tables)), "test-accuracy-over-energy-j")
    rounds = tables.with_run(tables.rounds)
    spent = rounds.groupby(["policy", "run_id"])["energy_j"].sum().groupby("policy").max()
    assert data.groupby("policy")["energy_j"].max().to_dict() == pytest.approx(spent.to_dict())


def test_gradient_norms_are_averaged_geometrically(tables: Tables) -> None:
    rounds = tables.rounds.copy()
    seed = tables.with_run(rounds)["seed"]
    rounds["grad_norm_sq"] = np.array([0.01, 0.1, 1.0])[seed.to_numpy()]
    data = named(list(course.curves(replace(tables, rounds=rounds))), "grad-norm-sq-over-time-s")
    assert data["mean"].to_numpy() == pytest.approx(0.1)
    assert (data["low95"] > 0).all()


def test_rounds_that_were_not_evaluated_leave_no_gap_and_no_figure(tables: Tables) -> None:
    sparse = tables.rounds.copy()
    sparse.loc[sparse["round"] % 3 != 0, ["test_accuracy", "grad_norm_sq"]] = np.nan
    data = named(list(course.curves(replace(tables, rounds=sparse))), "test-accuracy-over-time-s")
    assert data.notna().all(axis=None)
    never = tables.rounds.assign(test_accuracy=np.nan, grad_norm_sq=np.nan)
    assert list(course.curves(replace(tables, rounds=never))) == []


def test_the_timeline_starts_at_zero_and_has_three_rounds_of_each_device(tables: Tables) -> None:
    (figure,) = course.timeline(tables)
    assert list(figure.data["policy"].drop_duplicates()) == ["joint", "uniform"]  # pretrain-only has none
    for _, rows in figure.data.groupby("policy"):
        assert len(rows) == course.ROUNDS * DEVICES
        assert rows["download_start_s"].min() == 0.0
        assert (rows["upload_end_s"] <= rows["round_end_s"] * (1 + 1e-9)).all()


def test_the_bound_table_by_hand(tables: Tables) -> None:
    data = predicted.bound_table(tables).set_index("policy")
    runs = tables.done[tables.done["policy"] == "uniform"]
    assert data.loc["uniform", "looseness"] == pytest.approx(runs["bound"].mean() / runs[REALISED].mean())
    assert data.loc["uniform", "holds"] == (runs[REALISED] <= runs["bound"]).mean()


def test_choices_are_means_over_rounds(tables: Tables) -> None:
    figures = list(bars.figures(tables))
    devices = named(figures, "device-choices")
    assert set(devices["policy"]) == {"joint", "uniform"}
    assert devices.loc[devices["device"] == 2, "batch"].to_numpy() == pytest.approx(18)
    server = named(figures, "server-choices")
    assert server["server_frequency_hz"].to_numpy() == pytest.approx(4e9)
    assert named(figures, "rounds-chosen").set_index("policy").loc["uniform", "pretrain_rounds"] == 6


def test_sweep_figures_cover_each_key_and_the_surface_of_two(grid: Tables) -> None:
    names = {figure.name for figure in sweeps.figures(grid)}
    assert {"test-accuracy-over-budget-delay-s", "test-accuracy-over-budget-energy-j"} <= names
    assert "test-accuracy-over-budget-delay-s-and-budget-energy-j" in names
    assert not any("bound-ft" in name for name in names)  # nobody measured it


def test_keys_that_were_varied_together_are_one_axis(grid: Tables) -> None:
    together = replace(
        grid,
        runs=grid.runs,
        comparison=grid.comparison[grid.comparison["budget.energy_j"] * 5 == grid.comparison["budget.delay_s"]],
    )
    names = {figure.name for figure in sweeps.figures(together)}
    assert "test-accuracy-over-budget-delay-s" in names
    assert not any("energy" in name for name in names)


def test_of_many_cases_six_are_shown_first_and_last_among_them() -> None:
    frame = pd.DataFrame({"key": range(40), "value": range(40)})
    assert [title for title, _ in cases(frame, ["key"])] == [f"key = {k}" for k in (0, 8, 16, 23, 31, 39)]
    assert [title for title, _ in cases(frame, [])] == [""]


def test_varied_values_are_shown_short() -> None:
    assert [shown(value) for value in (16.0, 0.1, 3, "static", np.float64(1e9))] == [
        "16",
        "0.1",
        "3",
        "static",
        "1e+09",
    ]


def test_twenty_policies_all_look_different() -> None:
    assert len(set(looks([str(number) for number in range(20)]).values())) == 20
