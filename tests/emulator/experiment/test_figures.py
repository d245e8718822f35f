"""The numbers behind the plots, against sums and means taken by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from prefine.emulator.analysis.comparison import comparison
from prefine.emulator.analysis.output import Tables, read_tables
from prefine.emulator.analysis.statistics import estimate
from prefine.emulator.analysis.tables import REALISED
from prefine.emulator.analysis.wording import shown
from prefine.emulator.report import bars, course, predicted, spread, sweeps, tradeoff
from prefine.emulator.report import figure as figure_module
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


def drawn(figure: Figure) -> list[Axes]:
    canvas = Canvas(figsize=figure.shape.size_in("page"))
    figure.draw(canvas, figure.data)
    return canvas.axes


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


def test_the_pareto_front_is_what_nobody_dominates() -> None:
    random = np.random.default_rng(3)
    scores, costs = random.integers(0, 6, 40) / 5.0, random.uniform(1.0, 1.2, 40)

    def dominates(one: int, other: int) -> bool:
        cheaper, no_dearer = 1.01 * costs[one] < costs[other], costs[one] <= 1.01 * costs[other]
        return bool((scores[one] > scores[other] and no_dearer) or (scores[one] >= scores[other] and cheaper))

    front = tradeoff.non_dominated(scores, costs)
    assert front.tolist() == [not any(dominates(one, other) for one in range(40)) for other in range(40)]
    assert 0 < front.sum() < 40
    assert not tradeoff.non_dominated(np.array([np.nan, 0.5]), np.array([1.0, 2.0]))[0]


def test_budgets_share_a_panel_of_the_trade_off_and_other_worlds_have_their_own(grid: Tables) -> None:
    (figure,) = tradeoff.figures(grid)
    assert figure.shape.panels == 2
    assert len(figure.data) == 12
    best = figure.data.nlargest(1, "test_accuracy_mean")
    assert best[["front_energy_j", "front_delay_s"]].all(axis=None)
    names = {"budget.delay_s": "devices.count"}
    runs, compared = grid.runs.rename(columns=names), grid.comparison.rename(columns=names)
    (figure,) = tradeoff.figures(replace(grid, runs=runs, comparison=compared))
    assert figure.shape.panels == 4


def test_two_seeds_are_points_and_three_a_band(tables: Tables) -> None:
    pair = tables.runs[tables.runs["seed"] < 2]
    two = replace(tables, runs=pair, comparison=comparison(pair, "joint"))
    for each, bands in ((tables, 3), (two, 0)):
        (axes,) = drawn(next(course.curves(each)))
        assert len(axes.collections) == bands
    line = axes.get_lines()[1]
    marks = named(list(course.curves(two)), "test-accuracy-over-time-s").query("policy == 'joint'").iloc[::20]
    assert line.get_ydata() == pytest.approx(marks["least"].to_numpy())
    scores = pair.loc[pair["policy"] == "joint", "test_accuracy"]
    assert marks["least"].iloc[-1] <= scores.max()
    spread.interval(axes, scores.mean(), 0.0, estimate(scores).half_width, 2, looks(["joint"])["joint"])
    assert axes.get_lines()[-1].get_xdata() == pytest.approx(sorted(scores))


def test_curves_that_coincide_are_one_entry_and_take_turns(tables: Tables) -> None:
    data = next(course.curves(tables)).data
    joint = data[data["policy"] == "joint"]
    twins = pd.concat([data[data["policy"] != "uniform"], joint.assign(policy="uniform")])
    figure = replace(next(course.curves(tables)), data=twins)
    (axes,) = drawn(figure)
    canvas = axes.get_figure(root=True)
    assert canvas is not None
    assert [text.get_text() for text in canvas.legends[0].get_texts()] == ["joint = uniform", "pretrain-only"]
    assert len({line.get_linestyle() for line in axes.get_lines()}) == 2  # dashes of both, and the other's own
    assert axes.get_xlim()[0] == 0.0
    (axes,) = drawn(replace(figure, data=data))
    canvas = axes.get_figure(root=True)
    assert canvas is not None
    assert len(canvas.legends[0].get_texts()) == 3


def test_a_legend_names_only_what_is_drawn(tables: Tables) -> None:
    (axes, *_) = drawn(next(course.timeline(tables)))
    canvas = axes.get_figure(root=True)
    assert canvas is not None
    assert [text.get_text() for text in canvas.legends[0].get_texts()] == ["download", "compute on devices", "upload"]


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


def test_what_is_measured_once_looks_as_if_measured_always(grid: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = [next(predicted.figures(grid)), list(course.curves(grid))[-1]]
    once = [figure.render("svg") for figure in shown]
    monkeypatch.setattr(figure_module, "settle", lambda canvas: None)
    assert [figure.render("svg") for figure in shown] == once
