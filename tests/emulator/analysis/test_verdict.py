"""The verdict on tables whose truth is known."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from prefine.emulator.analysis.comparison import comparison
from prefine.emulator.analysis.statistics import better, level_with_best
from prefine.emulator.analysis.tables import runs_table
from prefine.emulator.analysis.verdict import verdict
from tests.emulator.analysis.tables import run, table

NOISE = np.array([0.0, 0.01, -0.01, 0.005, -0.005])
LEVEL = {"a": 0.90 + NOISE, "b": 0.90 - NOISE, "c": 0.70 + 0.5 * NOISE}


def said(runs: pd.DataFrame, family: pd.DataFrame | None = None, reference: str = "a") -> str:
    family = runs.iloc[:0] if family is None else family
    return verdict(runs, comparison(runs, reference, family), family)


def test_a_level_pair_is_level_and_the_third_is_beaten() -> None:
    text = said(table(LEVEL))
    assert text.startswith("Best or level with the best: a (0.900) and b (0.900); the other policy is beaten (5 seeds;")
    assert "Holm" in text
    assert "Each costs 10 s and 20 J." in text


def test_a_clear_winner_is_named_with_its_cost() -> None:
    text = said(table({**LEVEL, "b": 0.95 - NOISE}, {"b": {"delay_s": 7.0, "energy_j": 9.0}}))
    assert text.startswith("b (0.950) is the best: every other policy is beaten")
    assert "It took 7 s and 9 J." in text


def test_the_cheapest_of_those_that_are_level_is_named() -> None:
    text = said(table(LEVEL, {"a": {"energy_j": 30.0}, "b": {"delay_s": 10.05}, "c": {"delay_s": 1.0}}))
    assert "Of these, b costs least: 10.1 s and 20 J." in text  # a percent of time decides nothing, and c is beaten


def test_many_that_are_level_are_no_winner() -> None:
    text = said(table({name: 0.9 + np.roll(NOISE, shift) for shift, name in enumerate("abcde")}))
    assert text.startswith("No winner: all 5 policies are level, a (0.900) has the highest mean")


def test_one_seed_decides_nothing() -> None:
    text = said(table({"a": [0.9], "b": [0.1]}))
    assert text.startswith("One seed decides nothing: a (0.900) has the highest test accuracy")
    assert "beaten" not in text


def test_one_policy_alone_has_no_rival() -> None:
    assert said(table({"a": [0.9, 0.8]})).startswith("a (0.850) ran alone, so there is no comparison; it took 10 s")


def test_who_failed_is_not_ranked() -> None:
    runs = table({**LEVEL, "d": [0.99] * 5})
    runs.loc[(runs["policy"] == "d") & (runs["seed"] == 1), "status"] = "failed"
    text = said(runs)
    assert "d failed under some seed and is not ranked." in text
    assert text.startswith("Best or level with the best: a (0.900) and b (0.900)")
    assert said(runs.assign(status="failed")).startswith("No policy finished under every seed")


def test_the_first_at_the_target_beside_the_reference() -> None:
    goal = {"target_accuracy": 0.8}
    reach = {
        "a": goal | {"time_to_accuracy_s": 8.0, "energy_to_accuracy_j": 9.0},
        "b": goal | {"time_to_accuracy_s": 2.0, "energy_to_accuracy_j": 12.0},
        "c": goal | {"time_to_accuracy_s": 4.0, "energy_to_accuracy_j": 3.0},
    }
    text = said(table(LEVEL, reach))
    assert (
        "First at a test accuracy of 0.8: b, after 2 s and 12 J; with the least energy: c, after 4 s and 3 J;" in text
    )
    assert "the reference a needs 8 s and 9 J." in text
    once = table(LEVEL, reach)
    once.loc[(once["policy"] == "b") & (once["seed"] == 2), "time_to_accuracy_s"] = np.nan
    assert "First at a test accuracy of 0.8: c, after 4 s and 3 J" in said(once)
    never = once.assign(time_to_accuracy_s=np.nan)
    assert "No policy reaches a test accuracy of 0.8 under every seed." in said(never)


@pytest.mark.parametrize(
    ("figures", "why"),
    [
        ({"outside_proof": "steps of 3/L,momentum"}, "outside its proof: steps of 3/L and momentum"),
        ({"stop_reason": "delay"}, "outside its proof: runs cut off before the plan's end"),
        ({}, "the constants of the bound are too small here"),
    ],
)
def test_a_broken_bound_and_why(figures: dict[str, object], why: str) -> None:
    text = said(table(LEVEL, {"c": {"mean_grad_norm_sq": 1.5, **figures}}))
    assert f"Bound broken: c (1.5 above 1); {why}." in text


def test_a_bound_passed_by_luck_is_not_broken() -> None:
    runs = table(LEVEL)
    runs.loc[runs["policy"] == "c", "mean_grad_norm_sq"] = [0.2, 1.8, 0.3, 1.9, 1.0]
    assert "Bound" not in said(runs)


def test_warnings_are_counted_run_by_run() -> None:
    runs = table(LEVEL, {"c": {"warning": "diverged,at chance"}})
    runs.loc[(runs["policy"] == "a") & (runs["seed"] < 2), "warning"] = "budget unused"
    text = said(runs)
    assert "Diverged: c (5 of 5 runs). At chance: c (5 of 5 runs). Budget unused: a (2 of 5 runs)." in text
    assert not any(word in said(table(LEVEL)) for word in ("Diverged", "At chance", "Bound", "Budget"))


def test_the_regret_where_hindsight_was_asked_for() -> None:
    family = table({"given-0x16": 0.80 + NOISE, "given-45x16": 0.92 + NOISE})
    text = said(table(LEVEL), family)
    assert "best share in hindsight (45 server rounds of 16 samples, 0.9" in text
    assert "a 0.02" in text
    assert "hindsight" not in text.partition("Test accuracy lost")[0]  # a yardstick, no competitor
    assert "No share in hindsight fits" in said(table(LEVEL), family.assign(status="failed"))
    assert "hindsight" not in said(table(LEVEL))


def test_a_sweep_has_one_verdict_and_a_line_for_each_combination() -> None:
    rows = []
    for delay, lead in ((5.0, 0.0), (10.0, 0.1)):
        varied = (("budget.delay_s", delay),)
        rows += [(f"a{delay}{seed}", varied, run("a", seed, 0.8 + lead + noise)) for seed, noise in enumerate(NOISE)]
        rows += [(f"b{delay}{seed}", varied, run("b", seed, 0.8 - noise)) for seed, noise in enumerate(NOISE)]
    overall, first, second = said(runs_table(rows)).split("\n")
    assert overall.startswith("Best or level with the best, of 2 combinations: a in 2 and b in 1")
    assert first == "delay_s = 5: a (0.800) and b (0.800) are level."
    assert second == "delay_s = 10: a (0.900) is the best."


def test_paired_p_values_are_those_of_the_t_test() -> None:
    generator = np.random.default_rng(1)
    first, second = generator.normal(size=(2, 8))
    assert better(first, second) == pytest.approx(stats.ttest_rel(first, second, alternative="greater").pvalue)
    assert better(first + 0.1, first) == 0.5**8  # the same difference under every seed
    assert better(first - 0.1, first) == 1.0
    assert np.isnan(better(first[:1], second[:1]))


def test_the_best_is_left_out_in_at_most_one_of_twenty_comparisons() -> None:
    """Six policies, the first truly best by a hair, five seeds, 400 times."""
    generator = np.random.default_rng(2)
    kept = 0
    for _ in range(400):
        shared = generator.normal(size=(5, 1))
        scores = pd.DataFrame(shared + generator.normal(size=(5, 6)), columns=list("abcdef")).assign(
            a=lambda frame: frame["a"] + 0.01
        )
        kept += "a" in level_with_best(scores)
    assert kept >= 0.95 * 400 - 3 * np.sqrt(400 * 0.05 * 0.95)
