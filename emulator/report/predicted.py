"""Predicted beside realised: delay, energy, and the convergence bound against the gradient norm it bounds."""

from collections.abc import Iterator
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from numpy.typing import NDArray

from prefine.emulator.analysis.output import Tables
from prefine.emulator.analysis.scores import cells, mean, places
from prefine.emulator.analysis.tables import REALISED, SCORE
from prefine.emulator.report.figure import Figure, looks
from prefine.emulator.report.panels import accuracy, few_ticks, legend_below, logarithmic, panels, within
from prefine.emulator.report.shape import Shape, bar_shape
from prefine.emulator.report.spread import interval
from prefine.emulator.report.words import cases

_PAIRS = {"delay_s": ("predicted_delay_s", "delay in s"), "energy_j": ("predicted_energy_j", "energy in J")}


def figures(tables: Tables) -> Iterator[Figure]:
    """Delay and energy as predicted and realised; the bound against the realised gradient norm and accuracy."""
    if tables.done.empty:
        return
    columns = [f"{name}_{kind}" for name in _PAIRS for kind in ("mean", "ci95")]
    columns += [f"{predicted}_mean" for predicted, _ in _PAIRS.values()]
    data = tables.competitors[tables.competitors["runs"] > 0]
    yield Figure(
        name="predicted-and-realised",
        title="Delay and energy, predicted and realised",
        caption="Hollow: predicted by the plan. Filled: realised on the clock, mean over seeds with its 95 % interval "
        "(of two seeds: a bar for each).",
        data=data[[*tables.keys, "policy", "runs", *columns]].reset_index(drop=True),
        draw=partial(_draw_pairs, tables=tables),
        shape=bar_shape(2 * len(list(cases(data, tables.keys))), len(tables.policies), 2, group=2),
    )
    bounds = bound_table(tables)
    if np.isfinite(bounds[["bound", REALISED]].to_numpy(float)).all(axis=1).any():
        yield Figure(
            name="bound-and-realised",
            title="The bound and what came of it",
            caption="One mark per policy (and varied scenario), mean over seeds. Left: below the line the bound holds, "
            "far below it is loose. Right: does the lower bound go with the higher accuracy?",
            data=bounds,
            draw=partial(_draw_bounds, tables=tables),
            shape=Shape(3 if np.isfinite(bounds["bound_ft"]).any() else 2, 3, 2.2),
            topic="bound",
        )


def bound_table(tables: Tables) -> pd.DataFrame:
    """For each policy (and varied scenario): both bounds, the realised mean squared gradient norm, and how they relate.

    Columns: varied keys, policy, bound, bound_ft, mean_grad_norm_sq, ``looseness`` = bound / realised (of the means),
    ``holds`` = the share of runs whose realised value is at most the bound, test_accuracy.
    """
    done, columns = tables.done, ("bound", "bound_ft", REALISED, SCORE)
    policy = done["policy"].to_numpy()
    at = [case[mine] for case in cells(done, tables.keys) for mine in places(policy[case]).values()]
    first = done.iloc[[each[0] for each in at]].reset_index(drop=True)[[*tables.keys, "policy"]]
    values = done[list(columns)].to_numpy(float)
    means = {name: np.array([mean(values[each, index]) for each in at]) for index, name in enumerate(columns)}
    with np.errstate(divide="ignore", invalid="ignore"):  # nothing was learnt, so any bound is infinitely loose
        looseness = means["bound"] / means[REALISED]
    return first.assign(
        **means,
        looseness=looseness,
        holds=[_holds(values[each, 0], values[each, 2]) for each in at],
    )


def _holds(bound: NDArray[np.float64], realised: NDArray[np.float64]) -> float:
    """The share of runs, all (n,), whose realised value is at most the bound; NaN where neither is known."""
    known = ~(np.isnan(bound) | np.isnan(realised))
    return float((realised <= bound)[known].mean()) if known.any() else np.nan


def _draw_pairs(canvas: Canvas, data: pd.DataFrame, tables: Tables) -> None:
    split = list(cases(data, tables.keys))
    style = looks(tables.policies)
    grid = panels(canvas, [title for title, _ in split for _ in _PAIRS], columns=2, group=2)
    for index, (_, case) in enumerate(split):
        for axes, (realised, (predicted, name)) in zip(grid[2 * index :], _PAIRS.items(), strict=False):
            columns = ("policy", f"{predicted}_mean", f"{realised}_mean", f"{realised}_ci95", "runs")
            for row, (policy, foretold, *realisation) in enumerate(zip(*(case[each] for each in columns), strict=True)):
                mean, half_width, seeds = realisation
                look = style[policy]
                axes.plot(foretold, row, look.marker, color=look.colour, markerfacecolor="white", markersize=8)
                interval(axes, mean, row, half_width, seeds, look)
            axes.set_yticks(range(len(case)), list(case["policy"]))
            axes.set_xlabel(name)
            within(axes.xaxis)
            few_ticks(axes)
    grid[0].set_ylim(len(tables.policies) - 0.5, -0.5)


def _draw_bounds(canvas: Canvas, data: pd.DataFrame, tables: Tables) -> None:
    has_fitted = bool(np.isfinite(data["bound_ft"]).any())
    grid = panels(canvas, ["", "", ""][: 3 if has_fitted else 2], sharey=False)
    _scatter(grid[0], data, tables, "bound", REALISED, "bound Φ")
    known = data[["bound", REALISED]].to_numpy(float)
    known = known[np.isfinite(known).all(axis=1)]
    ends = [known.min(), known.max()]
    grid[0].plot(ends, ends, color="black", linewidth=0.9)
    logarithmic(grid[0].xaxis)
    logarithmic(grid[0].yaxis)
    grid[0].set_ylabel("realised")
    for axes, bound, name in zip(grid[1:], ("bound", "bound_ft"), ("bound Φ", "predictor Φ$_{FT}$"), strict=False):
        _scatter(axes, data, tables, bound, SCORE, name)
        axes.set_ylabel("test accuracy")
        accuracy(axes.yaxis, float(data[SCORE].min()))
        logarithmic(axes.xaxis)
    legend_below(canvas, grid)


def _scatter(axes: Axes, data: pd.DataFrame, tables: Tables, x: str, y: str, name: str) -> None:
    for policy, look in looks(tables.policies).items():
        mine = data[data["policy"] == policy]
        if not mine.empty:
            axes.plot(mine[x], mine[y], look.marker, color=look.colour, label=policy)
    axes.set_xlabel(name)
