"""What accuracy costs: test accuracy against energy and time, and the Pareto front of the policies."""

from collections.abc import Iterator, Mapping
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from numpy.typing import NDArray

from prefine.emulator.analysis.comparison import groups
from prefine.emulator.analysis.output import Tables
from prefine.emulator.analysis.tables import SCORE
from prefine.emulator.analysis.verdict import SAME_COST
from prefine.emulator.report.figure import Figure, Look, looks
from prefine.emulator.report.panels import Same, accuracy, few_ticks, legend_below, name_rows, panels
from prefine.emulator.report.shape import Shape
from prefine.emulator.report.spread import FEW
from prefine.emulator.report.words import cases

NAME = "trade-off"
COSTS: Mapping[str, str] = {"energy_j": "energy in J", "delay_s": "time in s"}

_BUDGET = "budget."
_MEAN = f"{SCORE}_mean"
_ROOM = 1.06
_RING_POINTS = 4.0
"""By how much the mark of a policy that lies upon another's is larger."""


def figures(tables: Tables) -> Iterator[Figure]:
    """Two panels for each world: accuracy against energy and against time; nothing where no run finished.

    Scenarios that differ in budgets alone are the same world: there, a policy has a point for each.
    """
    worlds = [key for key in tables.keys if not key.startswith(_BUDGET)]
    done = tables.competitors[tables.competitors["runs"] > 0]
    if done.empty:
        return
    columns = [f"{figure}_{part}" for figure in (SCORE, *COSTS) for part in ("mean", "ci95")]
    data = pd.concat([_with_front(world) for _, world in groups(done, worlds)])
    data = data[[*tables.keys, "policy", "runs", *columns, *(f"front_{cost}" for cost in COSTS)]]
    count = len(list(cases(data, worlds)))
    yield Figure(
        name=NAME,
        title="Test accuracy against what it cost",
        caption="Means over seeds with 95 % intervals (of two seeds, both runs are small points). Filled and joined by "
        "the line: the Pareto front, policies that no other beats in accuracy at the same cost or less; costs within a "
        "percent count as the same. Hollow: dominated. Whether a lead is more than chance is up to the verdict."
        + (" A thin line joins the points of one policy under different budgets." if worlds != tables.keys else ""),
        data=data.reset_index(drop=True),
        draw=partial(_draw, tables=tables, worlds=worlds),
        shape=Shape(2 * count, 2 if count == 1 else 4, 2.6 if count == 1 else 2.0, group=2),
    )


def _with_front(world: pd.DataFrame) -> pd.DataFrame:
    scores = world[_MEAN].to_numpy(float)
    return world.assign(
        **{f"front_{cost}": non_dominated(scores, world[f"{cost}_mean"].to_numpy(float)) for cost in COSTS}
    )


def non_dominated(scores: NDArray[np.float64], costs: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which of n points no other one dominates, (n,); more of ``scores`` is better, less of ``costs``.

    A point dominates another that it beats in one and is no worse than in the other; costs within a percent are the
    same, as they are to the verdict. A point with a NaN dominates none and is not on the front.

    >>> non_dominated(np.array([0.9, 0.8, 0.7, 0.7]), np.array([100.0, 99.9, 50.0, 60.0])).tolist()
    [True, False, True, False]
    """
    higher, level = np.greater.outer(scores, scores), np.greater_equal.outer(scores, scores)
    cheaper = np.less.outer(SAME_COST * costs, costs)
    no_dearer = np.less_equal.outer(costs, SAME_COST * costs)
    dominates = (higher & no_dearer) | (level & cheaper)
    return ~dominates.any(axis=0) & np.isfinite(scores) & np.isfinite(costs)


def _draw(canvas: Canvas, data: pd.DataFrame, tables: Tables, worlds: list[str]) -> None:
    split = list(cases(data, worlds))
    grid = panels(
        canvas, [title for title, _ in split for _ in COSTS], columns=2 if len(split) == 1 else 4, group=2
    )  # fmt: skip
    look, same = looks(tables.policies), _together(data, tables.keys)
    runs = tables.done[tables.done["policy"].isin(data.loc[data["runs"] < FEW, "policy"])]
    for index, (_, world) in enumerate(split):
        for axes, (cost, name) in zip(grid[2 * index :], COSTS.items(), strict=False):
            for policy, own in look.items():
                place = next((group.index(policy) for group in same if policy in group), 0)
                axes.plot([], [], own.marker, color=own.colour, label=policy)
                _points(axes, world[world["policy"] == policy], cost, own, place)
            if (world["runs"] == FEW - 1).any():
                _runs(axes, runs if not worlds else runs.merge(world[worlds].drop_duplicates(), on=worlds), cost, look)
            axes.set_xlabel(name)
            axes.set_xlim(0.0, _ROOM * float(world[f"{cost}_mean"].max()) or 1.0)
            few_ticks(axes)
            _front(axes, world[world[f"front_{cost}"]], cost)
    name_rows(grid, "test accuracy")
    accuracy(grid[0].yaxis, float(data[_MEAN].min()))
    legend_below(canvas, grid, same=same)


def _points(axes: Axes, mine: pd.DataFrame, cost: str, own: Look, place: int) -> None:
    """One policy's points, with an interval each way; the ``place``-th of those that lie together as a ring."""
    mine = mine.sort_values(f"{cost}_mean", kind="stable")
    x, y, front = mine[f"{cost}_mean"], mine[_MEAN], mine[f"front_{cost}"].to_numpy(bool)
    if len(mine) > 1:
        axes.plot(x, y, color=own.colour, linewidth=0.7)
    firm = mine[mine["runs"] >= FEW]
    axes.errorbar(
        firm[f"{cost}_mean"], firm[_MEAN], xerr=firm[f"{cost}_ci95"], yerr=firm[f"{SCORE}_ci95"], fmt="none",
        ecolor=own.colour, elinewidth=0.8, capsize=2,
    )  # fmt: skip
    size = 5.5 + _RING_POINTS * place
    for chosen, face in ((front, "none" if place else own.colour), (~front, "none")):
        axes.plot(
            x[chosen], y[chosen], own.marker, color=own.colour, markerfacecolor=face, markersize=size, zorder=3
        )  # fmt: skip


def _runs(axes: Axes, runs: pd.DataFrame, cost: str, look: Mapping[str, Look]) -> None:
    for policy, mine in runs.groupby("policy", sort=False):
        own = look[str(policy)]
        axes.plot(mine[cost], mine[SCORE], own.marker, color=own.colour, markersize=2.0, alpha=0.6)


def _front(axes: Axes, front: pd.DataFrame, cost: str) -> None:
    """The stairs under which everything else lies, out to the edge of the panel."""
    front = front.sort_values(f"{cost}_mean", kind="stable")
    x, y = front[f"{cost}_mean"].to_numpy(float), np.maximum.accumulate(front[_MEAN].to_numpy(float))
    axes.plot(
        np.append(x, axes.get_xlim()[1]), np.append(y, y[-1:]), color="black", linewidth=0.9, linestyle="--",
        drawstyle="steps-post", zorder=1, label="Pareto front",
    )  # fmt: skip


def _together(data: pd.DataFrame, keys: list[str]) -> Same:
    """The policies whose points are the same everywhere, two at least in each group."""
    of: dict[tuple[object, ...], list[str]] = {}
    for policy, mine in data.groupby("policy", sort=False):
        means = mine[[_MEAN, *(f"{cost}_mean" for cost in COSTS)]].to_numpy(float)
        numbers = (f"{value:.6g}" for value in means.ravel())
        of.setdefault((repr(mine[keys].to_numpy().tolist()), *numbers), []).append(str(policy))
    return [tuple(group) for group in of.values() if len(group) > 1]
