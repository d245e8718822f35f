"""Who wins, what that costs, and which promise was broken: a few sentences, made from the tables alone.

Who is best follows `prefine.emulator.analysis.statistics.level_with_best`, on the test accuracies of the policies that
finished under every seed; everything else is a mean over seeds.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Self

import pandas as pd

from prefine.emulator.analysis import hindsight
from prefine.emulator.analysis.comparison import groups
from prefine.emulator.analysis.scores import by_seed, cells, mean, places
from prefine.emulator.analysis.statistics import estimate, level_with_best
from prefine.emulator.analysis.tables import REALISED, SCORE, varied_keys
from prefine.emulator.analysis.wording import label, listed, number, regret

METHOD = "one-sided paired t-tests, Holm-corrected, 95 %"
ALL_NAMED = 4
"""Up to so many policies are each named; of more, the first or the extreme ones."""

SAME_COST = 1.01
"""Costs up to this multiple of the least count as the least: a percent decides nothing."""

_WARNINGS = ("diverged", "at chance", "budget unused", "amplifying trace", "trace of another band")
"""Those of column ``warning`` that count run by run; whether a bound is broken shows in the mean."""


def verdict(runs: pd.DataFrame, comparison: pd.DataFrame, family: pd.DataFrame) -> str:
    """The verdict on runs.csv, comparison.csv and hindsight.csv (no rows where it was not asked for).

    Where something was varied: an overall sentence or two, then a line for each combination of values.
    """
    keys = varied_keys(runs)
    if not keys:
        sentences = [*_ranking(runs), *_reaching(runs, str(comparison["reference"].iloc[0]))]
        return " ".join([*sentences, *_broken(runs), *_regret(comparison, asked=len(family) > 0)])
    cases = [(varied, _Case.of(case)) for varied, case in groups(runs, keys)]
    regrets = {repr(varied): rows for varied, rows in groups(_by_regret(comparison), keys)}
    overall = [*_overall([case for _, case in cases]), *_broken(runs), *_mean_regret(comparison)]
    lines = [f"{label(varied)}: {'; '.join(_short(case, regrets.get(repr(varied))))}." for varied, case in cases]
    return "\n".join([" ".join(overall), *lines])


class _Case(NamedTuple):
    """The runs of one combination, its scores (`_scores`), and the policies that are level with the best."""

    runs: pd.DataFrame
    scores: pd.DataFrame
    level: list[str]

    @classmethod
    def of(cls, runs: pd.DataFrame) -> Self:
        scores = _scores(runs)
        return cls(runs, scores, level_with_best(scores) if len(scores.columns) else [])


def _scores(runs: pd.DataFrame) -> pd.DataFrame:
    """Seeds by policies, in order of appearance, of those that finished under every seed."""
    table = by_seed(runs[runs["status"] == "done"])
    return table.reindex(index=sorted(runs["seed"].unique())).dropna(axis="columns")


def _ranking(runs: pd.DataFrame) -> Iterator[str]:
    """Who is best or level with the best, and what the cheapest of them costs."""
    scores, seeds = _scores(runs), len(set(runs["seed"]))
    if scores.empty:
        yield "No policy finished under every seed, so nothing can be said of who is best."
        return
    out = [policy for policy in runs["policy"].drop_duplicates() if policy not in scores.columns]
    level = level_with_best(scores)
    if len(set(runs["policy"])) == 1:
        yield f"{_with_means(scores, level)} ran alone, so there is no comparison; it took {_cost(runs, level[0])}."
    elif seeds == 1:
        yield f"One seed decides nothing: {_with_means(scores, level[:1])} has the highest test accuracy under it."
    elif len(level) == 1 < len(scores.columns):
        yield (
            f"{_with_means(scores, level)} is the best: every other policy is beaten ({seeds} seeds; {METHOD}). "
            f"It took {_cost(runs, level[0])}."
        )
    else:
        yield f"{_level(scores, level)} ({seeds} seeds; {METHOD})."
        cheapest = _cheapest(runs, level)
        who = "Each costs" if cheapest == level else f"Of these, {listed(cheapest)} {_verb(cheapest, 'costs')} least:"
        yield f"{who} {_cost(runs, *cheapest)}."
    if out:
        yield f"{listed(out)} failed under some seed and {_verb(out, 'is')} not ranked."


def _verb(subjects: Sequence[str], verb: str) -> str:
    """``verb`` (``costs`` or ``is``) as one or several ``subjects`` have it."""
    return verb if len(subjects) == 1 else {"costs": "cost", "is": "are"}[verb]


def _level(scores: pd.DataFrame, level: Sequence[str]) -> str:
    beaten = len(scores.columns) - len(level)
    if beaten:
        others = "the other policy is" if beaten == 1 else f"the other {beaten} policies are"
        return f"Best or level with the best: {_with_means(scores, level)}; {others} beaten"
    if len(level) <= ALL_NAMED:
        return f"No winner: {_with_means(scores, level)} are level"
    return f"No winner: all {len(level)} policies are level, {_with_means(scores, level[:1])} has the highest mean"


def _with_means(scores: pd.DataFrame, policies: Sequence[str]) -> str:
    return listed([f"{policy} ({scores[policy].mean():.3f})" for policy in policies])


def _cost(runs: pd.DataFrame, *policies: str) -> str:
    mean = runs.loc[runs["policy"].isin(policies) & (runs["status"] == "done"), ["delay_s", "energy_j"]].mean()
    return f"{number(mean['delay_s'], 3)} s and {number(mean['energy_j'], 3)} J"


def _cheapest(runs: pd.DataFrame, policies: Sequence[str]) -> list[str]:
    """Those with the least time, and of these those with the least energy, both to within a percent."""
    at = places(runs["policy"])
    delay_s, energy_j = (runs[name].to_numpy(float) for name in ("delay_s", "energy_j"))
    soonest = _least({policy: mean(delay_s[at[policy]]) for policy in policies})
    return _least({policy: mean(energy_j[at[policy]]) for policy in soonest})


def _least(costs: Mapping[str, float]) -> list[str]:
    """The policies whose cost is the least, to within a percent."""
    least = min(costs.values())
    return [policy for policy, cost in costs.items() if cost <= SAME_COST * least]


def _reaching(runs: pd.DataFrame, reference: str) -> Iterator[str]:
    """Who reaches the first target soonest, beside the reference."""
    done = runs[(runs["status"] == "done") & runs["target_accuracy"].notna()]
    if done.empty:
        return
    target = number(done["target_accuracy"].iloc[0], 3)
    spent = (
        done.groupby("policy", sort=False)[["time_to_accuracy_s", "energy_to_accuracy_j"]].mean(skipna=False).dropna()
    )
    if spent.empty:
        yield f"No policy reaches a test accuracy of {target} under every seed."
        return
    first, frugal = (_least(dict(zip(spent.index, costs, strict=True))) for costs in spent.to_numpy(float).T)
    both = [policy for policy in first if policy in frugal]
    if both:
        sentence = f"First at a test accuracy of {target}: {listed(both)}, after {_spent(spent, both)}"
    else:
        sentence = (
            f"First at a test accuracy of {target}: {listed(first)}, after {_spent(spent, first)}; "
            f"with the least energy: {listed(frugal)}, after {_spent(spent, frugal)}"
        )
    if reference in spent.index and reference not in (both or [*first, *frugal]):
        sentence += f"; the reference {reference} needs {_spent(spent, [reference])}"
    yield f"{sentence}."


def _spent(spent: pd.DataFrame, policies: Sequence[str]) -> str:
    mean = spent.loc[list(policies)].mean()
    return f"{number(mean['time_to_accuracy_s'], 3)} s and {number(mean['energy_to_accuracy_j'], 3)} J"


def _broken(runs: pd.DataFrame) -> Iterator[str]:
    """Promises that were not kept, and why."""
    done = runs[runs["status"] == "done"]
    yield from _broken_bounds(done)
    for warning in _WARNINGS:
        warned = done["warning"].str.split(",").map(lambda words, wanted=warning: wanted in words)
        counts = warned.groupby(done["policy"], sort=False).agg(["sum", "size"])
        named = [f"{policy} ({row['sum']} of {row['size']} runs)" for policy, row in counts.iterrows() if row["sum"]]
        if named:
            yield f"{warning.capitalize()}: {listed(named)}."


def _broken_bounds(done: pd.DataFrame) -> Iterator[str]:
    """The bounds that lie below what was realised, beyond the 95 % interval of the mean over seeds."""
    named, reasons = [], []
    realised, bound = (done[name].to_numpy(float) for name in (REALISED, "bound"))
    policy, outside, stopped = (done[name].to_numpy(object) for name in ("policy", "outside_proof", "stop_reason"))
    for at in cells(done, [*varied_keys(done), "policy"]):
        excess = estimate(realised[at] - bound[at])
        margin = 0.0 if math.isnan(excess.half_width) else excess.half_width
        if excess.mean > margin:
            named.append((policy[at[0]], f"{number(mean(realised[at]), 3)} above {number(mean(bound[at]), 3)}"))
            reasons += [word for words in outside[at] for word in words.split(",") if word]
            if (stopped[at] != "plan").any():
                reasons.append("runs cut off before the plan's end")
    if named:
        unique = list(dict.fromkeys(reasons))
        why = f"outside its proof: {listed(unique)}" if unique else "the constants of the bound are too small here"
        yield f"Bound broken: {listed(_each_once(named))}; {why}."


def _each_once(named: Sequence[tuple[str, str]]) -> list[str]:
    """A policy with what was found of it, or with how often where that was more than once."""
    found: dict[str, list[str]] = {}
    for policy, what in named:
        found.setdefault(policy, []).append(what)
    return [f"{p} ({w[0] if len(w) == 1 else f'in {len(w)} combinations'})" for p, w in found.items()]


def _regret(comparison: pd.DataFrame, *, asked: bool) -> Iterator[str]:
    """How much accuracy the policies lose against the best share in hindsight."""
    rows = comparison[comparison["policy"] == hindsight.NAME]
    if asked and rows.empty:
        yield "No share in hindsight fits the budgets under every seed, so there is no regret."
    known = _by_regret(comparison)
    if rows.empty or known.empty:
        return
    best = rows.iloc[0]
    loses = [f"{row['policy']} {regret(row)}" for row in known.to_dict("records")]
    shown = listed(loses) if len(loses) <= ALL_NAMED else f"least {loses[0]}, most {loses[-1]}"
    yield (
        f"Test accuracy lost against the best share in hindsight ({hindsight.described(best['member'])}, "
        f"{best[f'{SCORE}_mean']:.3f}): {shown}."
    )


def _by_regret(comparison: pd.DataFrame) -> pd.DataFrame:
    return comparison.dropna(subset="regret").sort_values("regret", kind="stable")


def _overall(cases: Sequence[_Case]) -> Iterator[str]:
    """In how many combinations each policy is best or level with the best."""
    leading: dict[str, int] = {}
    several = all(len(set(case.runs["seed"])) > 1 for case in cases)
    for case in cases:
        for policy in case.level if several else case.level[:1]:
            leading[policy] = leading.get(policy, 0) + 1
    ordered = sorted(leading.items(), key=lambda item: -item[1])
    counted = listed([f"{policy} in {count}" for policy, count in ordered])
    if not ordered:
        yield "In no combination did a policy finish under every seed."
    elif several:
        yield f"Best or level with the best, of {len(cases)} combinations: {counted} ({METHOD})."
    else:
        yield f"One seed decides nothing; highest test accuracy, of {len(cases)} combinations: {counted}."


def _mean_regret(comparison: pd.DataFrame) -> Iterator[str]:
    known = comparison.dropna(subset="regret")
    if known.empty:
        return
    table = known.groupby("policy", sort=False)["regret"].agg(["mean", "max"]).sort_values("mean", kind="stable")
    parts = [f"{policy} {row['mean']:.3f} (at most {row['max']:.3f})" for policy, row in table.iterrows()]
    yield f"Mean test accuracy lost against the best share in hindsight: {listed(parts)}."


def _short(case: _Case, regrets: pd.DataFrame | None) -> Iterator[str]:
    """One combination of a sweep: who leads, who of them is cheapest, and the first of the ``regrets``."""
    runs, scores, level = case
    if scores.empty:
        yield "no policy finished under every seed"
        return
    if len(set(runs["seed"])) == 1:
        yield f"{_with_means(scores, level[:1])} is highest"
    elif len(level) == 1:
        yield f"{_with_means(scores, level)} is the best"
    else:
        leading = _with_means(scores, level[:ALL_NAMED]) + (" and others" if len(level) > ALL_NAMED else "")
        cheapest = _cheapest(runs, level)
        yield f"{leading} are level" + (f", {cheapest[0]} costs least" if len(cheapest) == 1 else "")
    if regrets is not None:
        least = regrets.iloc[0]
        yield f"least regret {least['policy']} {least['regret']:.3f}"
