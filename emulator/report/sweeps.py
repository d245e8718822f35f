"""Figures over the scenario keys that a sweep varied: curves with what lies around them, and surfaces over two keys."""

import re
from collections.abc import Iterator, Mapping
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from prefine.emulator.analysis.output import Tables
from prefine.emulator.analysis.tables import REALISED, SCORE
from prefine.emulator.analysis.wording import shown
from prefine.emulator.report.figure import Figure, Topic, looks
from prefine.emulator.report.panels import legend_below, logarithmic, name_rows, panels
from prefine.emulator.report.shape import Shape
from prefine.emulator.report.spread import Curve, draw_curves
from prefine.emulator.report.words import cases

_SHOWN = {
    SCORE: "test accuracy",
    REALISED: "mean squared gradient norm",
    "bound": "bound Φ",
    "bound_ft": "predictor Φ$_{FT}$",
    "pretrain_rounds": "pre-training rounds",
    "finetune_rounds": "fine-tuning rounds",
}

_TOPICS: Mapping[str, Topic] = {
    **dict.fromkeys([REALISED, "bound", "bound_ft"], "bound"),
    **dict.fromkeys(["pretrain_rounds", "finetune_rounds"], "choices"),
}

_WIDE = 8.0
_TICKS = 8


def figures(tables: Tables) -> Iterator[Figure]:
    """For each varied key, every main figure over it; for each pair of varied keys of a grid, accuracy over both."""
    data = tables.competitors[tables.competitors["runs"] > 0].reset_index(drop=True)
    if data.empty:
        return
    keys = _leading(data, tables.keys)
    for key in keys:
        if len(data[key].unique()) > 1:
            yield from _curves(data, tables, key, [other for other in keys if other != key])
    for index, first in enumerate(keys):
        for second in keys[index + 1 :]:
            if min(data[first].nunique(), data[second].nunique()) > 1:
                yield _surface(data, tables, first, second)


def _file_name(text: str) -> str:
    """``text``, which names a key, as the name of a file: a quoted step of a key may hold slashes and colons.

    >>> _file_name("bound_ft-over-budget.delay_s"), _file_name('policies."my/own.py:Mine".rounds')
    ('bound-ft-over-budget-delay-s', 'policies-my-own-py-Mine-rounds')
    """
    return re.sub(r"[^A-Za-z0-9-]+", "-", text)


def _leading(data: pd.DataFrame, keys: list[str]) -> list[str]:
    """``keys`` without those that go along with an earlier one value by value (``--zip``)."""
    leading: list[str] = []
    for key in keys:
        if not any(len(data[[other, key]].drop_duplicates()) == data[other].nunique() for other in leading):
            leading.append(key)
    return leading


def _curves(data: pd.DataFrame, tables: Tables, key: str, others: list[str]) -> Iterator[Figure]:
    """One figure per quantity, with a panel for each combination of the other keys."""
    for figure, name in _SHOWN.items():
        mean, band = f"{figure}_mean", f"{figure}_ci95"
        if not np.isfinite(data[mean]).any():
            continue
        count = len(list(cases(data, others)))
        yield Figure(
            name=_file_name(f"{figure}-over-{key}"),
            title=f"{name[0].upper()}{name[1:]} over {key}".replace("$_{FT}$", "_FT"),
            caption="Mean over seeds with its 95 % interval (t); of two seeds, their values are the hollow points.",
            data=data[[*tables.keys, "policy", "runs", mean, band]],
            draw=partial(_draw_curves, tables=tables, key=key, others=others, figure=figure, name=name),
            shape=Shape(count),
            topic=_TOPICS.get(figure, "results"),
        )


def _draw_curves(
    canvas: Canvas, data: pd.DataFrame, tables: Tables, key: str, others: list[str], figure: str, name: str
) -> None:
    split = list(cases(data, others))
    grid = panels(canvas, [title for title, _ in split])
    curves = [[_curve(case, policy, key, figure) for policy in tables.policies] for _, case in split]
    same = draw_curves(grid, curves, looks(tables.policies), of_accuracy=figure == SCORE)
    for axes, (_, case) in zip(grid, split, strict=True):
        axes.set_xlabel(key)
        _space(axes, case[key])
    name_rows(grid, name)
    legend_below(canvas, grid, same=same)


def _curve(case: pd.DataFrame, policy: str, key: str, figure: str) -> Curve:
    mine = case[case["policy"] == policy]
    if pd.api.types.is_numeric_dtype(mine[key]):
        mine = mine.sort_values(key)
    mean, half_width = (mine[f"{figure}_{part}"].to_numpy(float) for part in ("mean", "ci95"))
    return Curve.of(policy, mine[key], mean, half_width, mine["runs"].max())


def _space(axes: Axes, values: pd.Series) -> None:
    """Budgets that double from one to the next stand at even distances; few values are the ticks."""
    if not pd.api.types.is_numeric_dtype(values):
        return
    wide = values.min() > 0 and values.max() >= _WIDE * values.min()
    if wide:
        logarithmic(axes.xaxis)
    if values.nunique() <= _TICKS and (wide or np.diff(np.sort(values.unique())).min() * _TICKS >= np.ptp(values)):
        axes.set_xticks(values.unique(), [shown(value) for value in values.unique()])
        axes.minorticks_off()


def _surface(data: pd.DataFrame, tables: Tables, first: str, second: str) -> Figure:
    return Figure(
        name=_file_name(f"{SCORE}-over-{first}-and-{second}"),
        title=f"Test accuracy over {first} and {second}",
        caption="Mean over seeds (and over any further varied key). All panels share one scale; the best policy of "
        "each combination is printed in bold, whether or not its lead exceeds its interval.",
        data=data[[*tables.keys, "policy", f"{SCORE}_mean", f"{SCORE}_ci95"]],
        draw=partial(_draw_surface, tables=tables, first=first, second=second),
        shape=Shape(len(tables.policies), height_in=2.3),
    )


def _draw_surface(canvas: Canvas, data: pd.DataFrame, tables: Tables, first: str, second: str) -> None:
    values = f"{SCORE}_mean"
    tables_of = {
        policy: group.pivot_table(index=second, columns=first, values=values, dropna=False)
        for policy, group in data.groupby("policy", sort=False)
    }
    best = pd.concat(tables_of.values()).groupby(level=0).max()
    low, high = float(data[values].min()), float(data[values].max())
    middle = (low + high) / 2
    grid = panels(canvas, [str(policy) for policy in tables_of])
    for axes, table in zip(grid, tables_of.values(), strict=True):
        axes.imshow(table, cmap="cividis", vmin=low, vmax=high, aspect="auto", origin="lower")
        axes.set_xticks(range(len(table.columns)), [str(value) for value in table.columns])
        axes.set_yticks(range(len(table.index)), [str(value) for value in table.index])
        axes.grid(visible=False)
        axes.set_xlabel(first)
        for (row, column), value in np.ndenumerate(table.to_numpy(float)):
            if not np.isnan(value):
                dark = value < middle
                leads = value >= best.loc[table.index[row], table.columns[column]]
                axes.text(
                    column, row, f"{value:.3f}", ha="center", va="center", color="white" if dark else "black",
                    fontsize=6.5, fontweight="bold" if leads else "normal",
                )  # fmt: skip
    name_rows(grid, second)
