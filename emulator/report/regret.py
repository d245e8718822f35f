"""What each policy loses against the best share of pre-training in hindsight."""

from collections.abc import Iterator
from functools import partial

import pandas as pd
from matplotlib.figure import Figure as Canvas

from prefine.emulator.analysis import hindsight
from prefine.emulator.analysis.output import Tables
from prefine.emulator.report.figure import Figure, looks
from prefine.emulator.report.panels import few_ticks, panels
from prefine.emulator.report.shape import bar_shape
from prefine.emulator.report.spread import interval
from prefine.emulator.report.words import cases

_LEAST = 0.01
"""Regrets below this much accuracy need no closer look."""

_CUT = 2.0
"""How many times as far as the largest regret a panel may reach: the intervals of two seeds would press all flat."""


def figures(tables: Tables) -> Iterator[Figure]:
    """One mark per policy, hindsight the line at zero; nothing where hindsight was not asked for or has no member."""
    yardstick = tables.comparison[tables.comparison["policy"] == hindsight.NAME]
    if yardstick.empty:
        return
    data = tables.competitors.dropna(subset="regret")[[*tables.keys, "policy", "runs", "regret", "regret_ci95"]]
    if tables.keys:
        data = data.merge(yardstick[[*tables.keys, "member"]], on=tables.keys)
    else:
        data = data.assign(member=yardstick["member"].iloc[0])
    yield Figure(
        name="regret",
        title="Test accuracy lost against the best share in hindsight",
        caption="Line at zero: the best of the family in hindsight, chosen on half of the seeds and scored on the "
        "other; its best member over all seeds is named above. Right of the line a policy loses accuracy against it. "
        "Bars: 95 % intervals (t) of the differences seed by seed (of two seeds: both differences); what sticks out of "
        "the panel is cut.",
        data=data.reset_index(drop=True),
        draw=partial(_draw, tables=tables),
        shape=bar_shape(len(list(cases(data, tables.keys))), len(tables.policies) + 1),
    )


def _draw(canvas: Canvas, data: pd.DataFrame, tables: Tables) -> None:
    style = looks(tables.policies)
    split = list(cases(data, tables.keys))
    grid = panels(canvas, ["\n".join(filter(None, [title, _best(case)])) for title, case in split])
    band, cut = data["regret_ci95"].fillna(0.0), _CUT * max(float(data["regret"].abs().max()), _LEAST)
    low, high = min(0.0, float((data["regret"] - band).min())), max(0.0, float((data["regret"] + band).max()))
    room = 0.05 * max(high - low, _LEAST)
    for axes, (_, case) in zip(grid, split, strict=True):
        axes.axvline(0.0, color="black", linewidth=1.2)
        for row, policy in enumerate(tables.policies):
            look, mine = style[policy], case[case["policy"] == policy]
            for mean, half_width, seeds in zip(mine["regret"], mine["regret_ci95"], mine["runs"], strict=True):
                interval(axes, mean, row, half_width, seeds, look)
        axes.set_yticks(range(len(tables.policies)), tables.policies)
        axes.set_ylim(len(tables.policies) - 0.5, -0.5)
        axes.set_xlim(max(low - room, -cut), min(high + room, cut))
        axes.set_xlabel("regret in test accuracy")
        few_ticks(axes)


def _best(case: pd.DataFrame) -> str:
    return f"best: {hindsight.described(case['member'].iloc[0])}"
