"""Statistics against published tables, SciPy's own tests and what intervals promise."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from prefine.emulator.analysis import statistics
from prefine.emulator.analysis.comparison import FIGURES, comparison, ranking
from prefine.emulator.analysis.scores import by_seed, cells, mean
from prefine.emulator.analysis.tables import VALIDATED, runs_table
from tests.emulator.experiment.synthetic import SyntheticJob, execute

POLICIES = ("joint", "uniform", "finetune-only")


def runs(seeds: int = 4, delays: tuple[float, ...] = ()) -> pd.DataFrame:
    cases: list[tuple[tuple[str, object], ...]] = [(("budget.delay_s", delay),) for delay in delays] or [()]
    jobs = [SyntheticJob(policy, seed, varied) for varied in cases for policy in POLICIES for seed in range(seeds)]
    return runs_table([(job.run_id, job.varied, execute(job).run) for job in jobs])


def test_interval_equals_scipys() -> None:
    values = [0.71, 0.69, 0.74, 0.70, 0.66]
    mean, half_width = statistics.estimate(values)
    expected = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert (mean - half_width, mean + half_width) == pytest.approx((expected.low, expected.high), rel=1e-12)


def test_the_95_percent_interval_covers_in_95_percent_of_samples() -> None:
    samples = np.random.default_rng(1).normal(3.0, 2.0, (4000, 5))
    covered = np.mean([abs(mean - 3.0) <= half_width for mean, half_width in map(statistics.estimate, samples)])
    assert covered == pytest.approx(0.95, abs=3 * math.sqrt(0.95 * 0.05 / 4000))


@pytest.mark.parametrize("values", [[], [math.nan]])
def test_nothing_known_is_nan_without_a_warning(values: list[float]) -> None:
    assert all(math.isnan(value) for value in statistics.estimate(values))


def test_one_value_has_a_mean_and_no_interval() -> None:
    mean, half_width = statistics.estimate([2.0, math.nan])
    assert mean == 2.0
    assert math.isnan(half_width)


def test_ties_count_half_in_the_win_rate() -> None:
    assert statistics.win_rate([1, 2, 3, math.nan], [0, 2, 4, 0]) == pytest.approx(0.5)
    assert math.isnan(statistics.win_rate([], []))


@given(
    arrays(
        np.float64,
        st.tuples(st.just(2), st.integers(1, 4), st.integers(0, 20)),
        elements=st.one_of(st.sampled_from([0.0, 1.0, math.nan, math.inf]), st.floats(-1e6, 1e6)),
    )
)
def test_rows_at_once_are_rows_one_by_one_bit_for_bit(both: np.ndarray) -> None:
    values, reference = both
    found = np.array(statistics.estimates(values)).T
    np.testing.assert_array_equal(found, np.array([statistics.estimate(row) for row in values]))
    rates = statistics.win_rates(values, reference)
    np.testing.assert_array_equal(rates, [statistics.win_rate(a, b) for a, b in zip(values, reference, strict=True)])


@given(
    arrays(np.float64, st.tuples(st.integers(2, 6), st.integers(3, 6)), elements=st.sampled_from([0.0, 1.0, 2.0, 3.0]))
)
def test_kendalls_w_is_friedmans_statistic(scores: np.ndarray) -> None:
    concordance = statistics.kendall_w(scores)
    if (scores == scores[:, :1]).all():
        assert math.isnan(concordance)
        return
    friedman = stats.friedmanchisquare(*scores.T).statistic
    assert concordance == pytest.approx(friedman / (scores.shape[0] * (scores.shape[1] - 1)), abs=1e-9)
    assert -1e-12 <= concordance <= 1 + 1e-12


def test_kendalls_w_of_a_published_example() -> None:
    # Siegel & Castellan, Nonparametric Statistics (1988), table 9.6 style: three judges, six applicants, no ties.
    ranks = [[1, 6, 3, 2, 5, 4], [1, 5, 6, 4, 2, 3], [6, 3, 2, 5, 4, 1]]
    sums = np.sum(ranks, axis=0)
    assert statistics.kendall_w(ranks) == pytest.approx(12 * ((sums - sums.mean()) ** 2).sum() / (9 * (216 - 6)))
    assert statistics.kendall_w(ranks) == pytest.approx(0.16, abs=0.005)


def test_tau_leaves_out_what_is_not_known() -> None:
    assert statistics.kendall_tau([1, 2, 3, math.nan], [3, 4, 9, 1]) == pytest.approx(1.0)
    assert math.isnan(statistics.kendall_tau([1, 1, 1], [1, 2, 3]))
    assert math.isnan(statistics.kendall_tau([1], [1]))


def test_the_fewest_pairs_judges_and_items_that_can_agree() -> None:
    assert statistics.kendall_tau([1, 2], [3, 4]) == 1.0
    assert statistics.kendall_tau([1, 2], [4, 3]) == -1.0
    assert statistics.kendall_w([[1, 2], [3, 4]]) == 1.0
    assert statistics.kendall_w([[1, 2], [4, 3]]) == 0.0
    assert math.isnan(statistics.kendall_w([[1, 2, 3]]))
    assert math.isnan(statistics.kendall_w([[1], [2]]))


def test_a_comparison_row_by_hand() -> None:
    frame = runs(seeds=4)
    table = comparison(frame, "joint").set_index("policy")
    assert list(table.index) == list(POLICIES)
    mine = frame[frame["policy"] == "uniform"].set_index("seed")["test_accuracy"]
    base = frame[frame["policy"] == "joint"].set_index("seed")["test_accuracy"]
    row = table.loc["uniform"]
    assert row["test_accuracy_mean"] == pytest.approx(mine.mean())
    assert row["test_accuracy_diff"] == pytest.approx((mine - base).mean())
    low, high = stats.ttest_rel(mine, base).confidence_interval(0.95)
    assert row["test_accuracy_diff_ci95"] == pytest.approx((high - low) / 2)
    assert row["test_accuracy_win_rate"] == (mine > base).mean()
    assert table.loc["joint", "test_accuracy_diff"] == 0.0
    for figure in [name for name in FIGURES if name not in VALIDATED]:
        assert {f"{figure}_mean", f"{figure}_ci95", f"{figure}_diff", f"{figure}_diff_ci95"} <= set(table.columns)


def test_pairing_makes_the_interval_of_a_difference_narrower_where_seeds_matter_most() -> None:
    noise = np.random.default_rng(0).normal(0, 1, 20)
    frame = runs(seeds=20)
    frame["test_accuracy"] = 0.0
    frame.loc[frame["policy"] == "joint", "test_accuracy"] = noise
    frame.loc[frame["policy"] == "uniform", "test_accuracy"] = noise + 0.1
    row = comparison(frame, "joint").set_index("policy").loc["uniform"]
    assert row["test_accuracy_diff_ci95"] < 1e-9 < row["test_accuracy_ci95"]
    assert row["test_accuracy_diff"] == pytest.approx(0.1)


def test_what_is_rounding_alone_is_no_difference() -> None:
    frame = runs(seeds=3)
    frame["delay_s"] = 64.0
    frame.loc[frame["policy"] == "uniform", "delay_s"] = 64.0 - 7.1e-15
    frame["bound"] = math.inf
    frame["energy_j"] = [3.0, 3.0, 3.0, 1.0, 2.0, 4.0] + [3.0] * (len(frame) - 6)
    row = comparison(frame, "joint").set_index("policy").loc["uniform"]
    assert row["delay_s_diff"] == row["delay_s_diff_ci95"] == row["delay_s_ci95"] == 0.0
    assert row["delay_s_win_rate"] == row["bound_win_rate"] == 0.5
    assert pd.isna(row["bound_diff"])
    assert row["energy_j_win_rate"] == pytest.approx(2 / 3)  # less is better
    assert pd.isna(row["pretrain_rounds_win_rate"])


def test_failed_runs_are_counted_and_left_out() -> None:
    frame = runs(seeds=3)
    frame.loc[0, "status"] = "failed"
    frame.loc[0, "test_accuracy"] = math.nan
    row = comparison(frame, "uniform").set_index("policy").loc["joint"]
    assert (row["runs"], row["failed"]) == (2, 1)
    accuracy = frame["test_accuracy"].to_numpy()  # rows 0-2 are joint's seeds, 3-5 uniform's
    assert row["test_accuracy_mean"] == pytest.approx(accuracy[1:3].mean())
    assert row["test_accuracy_diff"] == pytest.approx((accuracy[1:3] - accuracy[4:6]).mean())


def test_a_reference_without_finished_runs_leaves_differences_empty() -> None:
    assert comparison(runs(), "no-such")["test_accuracy_diff"].isna().all()


def test_each_varied_value_has_its_own_rows_and_ranking() -> None:
    frame = runs(delays=(5.0, 10.0, 20.0))
    table = comparison(frame, "joint")
    assert list(table["budget.delay_s"]) == [5.0] * 3 + [10.0] * 3 + [20.0] * 3
    order = ranking(frame)
    assert list(order["budget.delay_s"]) == [5.0, 10.0, 20.0]
    assert order["accuracy_w"].between(0, 1).all()
    assert order["bound_ft_tau_accuracy"].isna().all()  # the synthetic runs have no bound_ft


def test_a_bound_that_ranks_as_the_outcome_does_has_tau_one() -> None:
    frame = runs()
    frame["mean_grad_norm_sq"] = 0.5 * frame["bound"]
    frame["test_accuracy"] = 1 - frame["bound"]
    (row,) = ranking(frame).to_dict("records")
    assert row["bound_tau_grad_norm"] == pytest.approx(1.0)
    assert row["bound_tau_accuracy"] == pytest.approx(1.0)
    assert row["accuracy_w"] == pytest.approx(1.0)


def test_arrays_hold_what_tables_would_say() -> None:
    random = np.random.default_rng(5)
    scores = np.where(random.random(60) < 0.3, math.nan, random.random(60))
    frame = pd.DataFrame(
        {"policy": random.choice(list("cab"), 60), "seed": random.choice([3, 1, 2], 60), "test_accuracy": scores}
    )
    grouped = frame.groupby(["policy", "seed"], sort=False)
    at = cells(frame, ["policy", "seed"])
    assert [frame.index[each].tolist() for each in at] == [group.index.tolist() for _, group in grouped]
    np.testing.assert_allclose([mean(scores[each]) for each in at], grouped["test_accuracy"].mean(), rtol=1e-12)
    wide = by_seed(frame)
    expected = frame.pivot_table(index="seed", columns="policy", values="test_accuracy").loc[wide.index, wide.columns]
    np.testing.assert_allclose(wide, expected, rtol=1e-12)
    assert list(wide.columns) == list(frame["policy"].unique())
    assert len(cells(frame, [])) == 1
    assert math.isnan(mean(np.array([math.nan])))
