"""Accuracy and gradient norm as training goes on: over virtual time, over energy spent."""

import math
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Canvas
from numpy.typing import NDArray

from prefine.emulator.analysis import statistics
from prefine.emulator.report.data import Tables, cases
from prefine.emulator.report.figure import Figure
from prefine.emulator.report.style import Band, draw_bands, legend_below, logarithmic, looks, panels, size

_POINTS = 120
_MARK_EVERY = 20


class Quantity(NamedTuple):
    """What a curve shows: a column of rounds.csv, its name, and whether it belongs to a round's start or end."""

    column: str
    name: str
    at: str
    logarithmic: bool


class Course(NamedTuple):
    """What a curve runs along."""

    column: str
    name: str


ACCURACY = Quantity("test_accuracy", "test accuracy", "end", False)
GRADIENT = Quantity("grad_norm_sq", "squared gradient norm of the task loss", "start", True)
TIME = Course("time_s", "virtual time in s")
ENERGY = Course("energy_j", "energy spent in J")


def figures(tables: Tables) -> Iterator[Figure]:
    """Two quantities over two courses; what was never evaluated has no figure."""
    rounds = _spent(tables)
    for quantity in (ACCURACY, GRADIENT):
        for course in (TIME, ENERGY):
            data = _curves(rounds, tables.keys, quantity, course)
            if not data.empty:
                yield _figure(data, tables, quantity, course)


def _figure(data: pd.DataFrame, tables: Tables, quantity: Quantity, course: Course) -> Figure:
    count = len(list(cases(data, tables.keys)))
    mean = "Geometric mean" if quantity.logarithmic else "Mean"
    return Figure(
        name=f"{quantity.column}-over-{course.column}".replace("_", "-"),
        title=f"{quantity.name[0].upper()}{quantity.name[1:]} over {course.name.rpartition(' in ')[0]}",
        caption=f"{mean} over seeds with its 95 % interval (t). A run that has ended keeps its last value; a curve "
        "begins where every seed has been evaluated.",
        data=data,
        draw=partial(_draw, tables=tables, quantity=quantity, course=course),
        size_in=size(count) if count > 1 else (8.4, 3.6),
    )


def _spent(tables: Tables) -> pd.DataFrame:
    """rounds.csv with the time and the energy spent at each round's start and end."""
    rounds = tables.with_run(tables.rounds)
    rounds["time_s_end"] = rounds["end_s"]
    rounds["time_s_start"] = rounds["start_s"]
    rounds["energy_j_end"] = rounds.groupby("run_id", sort=False)["energy_j"].cumsum()
    rounds["energy_j_start"] = rounds["energy_j_end"] - rounds["energy_j"]
    return rounds


def _curves(rounds: pd.DataFrame, keys: list[str], quantity: Quantity, course: Course) -> pd.DataFrame:
    """Columns: varied keys, policy, the course, mean, low95, high95; one grid per combination and policy."""
    known = rounds.dropna(subset=[quantity.column])
    parts = []
    for names, group in known.groupby([*keys, "policy"], sort=False, dropna=False):
        x, values = _held(group, f"{course.column}_{quantity.at}", quantity.column)
        bands = [_band(column, quantity.logarithmic) for column in values.T]
        part = pd.DataFrame(bands, columns=["mean", "low95", "high95"])
        part.insert(0, course.column, x)
        labels = pd.DataFrame([names] * len(part), columns=[*keys, "policy"])
        parts.append(pd.concat([labels, part], axis="columns"))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=[*keys, "policy"])


def _band(values: NDArray[np.float64], logarithmic: bool) -> tuple[float, float, float]:
    """Mean of ``values`` (n,) and both ends of its 95 % interval; with ``logarithmic``, the geometric ones."""
    if logarithmic and (values > 0).all():
        mean, half_width = statistics.estimate(np.log(values))
        return math.exp(mean), math.exp(mean - half_width), math.exp(mean + half_width)
    mean, half_width = statistics.estimate(values)
    return mean, mean - half_width, mean + half_width


def _held(group: pd.DataFrame, x: str, y: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The step functions of each seed, (seeds, points), on one grid from the last seed's first value on."""
    runs = [(run[x].to_numpy(float), run[y].to_numpy(float)) for _, run in group.groupby("run_id", sort=False)]
    grid = np.linspace(max(at[0] for at, _ in runs), max(at[-1] for at, _ in runs), _POINTS)
    return grid, np.array([values[np.searchsorted(at, grid, side="right") - 1] for at, values in runs])


def _draw(canvas: Canvas, data: pd.DataFrame, tables: Tables, quantity: Quantity, course: Course) -> None:
    style = looks(tables.policies)
    split = list(cases(data, tables.keys))
    grid = panels(canvas, [title for title, _ in split])
    bands = []
    for axes, (_, part) in zip(grid, split, strict=True):
        for number, policy in enumerate(tables.policies):
            curve = part[part["policy"] == policy]
            x, mean, low, high = (curve[name].to_numpy(float) for name in (course.column, "mean", "low95", "high95"))
            look = style[policy]
            every = (number * _MARK_EVERY // len(tables.policies), _MARK_EVERY)  # so that no mark hides another's
            axes.plot(x, mean, look.line, color=look.colour, marker=look.marker, markevery=every, label=policy)
            bands.append(Band(axes, x, low, high, look.colour))
        if quantity.logarithmic:
            logarithmic(axes.yaxis)
        axes.set_xlabel(course.name)
    grid[0].set_ylabel(quantity.name if len(grid) < 4 else quantity.column)
    draw_bands(grid, bands)
    legend_below(canvas, grid)
