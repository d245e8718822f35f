"""How runs went: accuracy and gradient norm over virtual time and energy, and a few rounds device by device."""

import math
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Canvas
from numpy.typing import NDArray

from prefine.emulator.analysis import statistics
from prefine.emulator.analysis.output import Tables
from prefine.emulator.analysis.scores import cells, places
from prefine.emulator.report.figure import PARTS, Figure, looks
from prefine.emulator.report.panels import bar, legend_below, name_rows, panels, within
from prefine.emulator.report.shape import Shape
from prefine.emulator.report.spread import FEW, Curve, draw_curves
from prefine.emulator.report.words import cases

_POINTS = 120
_MARK_EVERY = 20
ROUNDS = 3
MAX_DEVICES = 12
MAX_POLICIES = 6


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
VALIDATION = Quantity("validation_accuracy", "validation accuracy", "end", False)
GRADIENT = Quantity("grad_norm_sq", "squared gradient norm", "start", True)
TIME = Course("time_s", "virtual time in s")
ENERGY = Course("energy_j", "energy spent in J")


class Phase(NamedTuple):
    """One phase of a device's round: the columns of devices.csv where it begins and ends."""

    start: str
    end: str


PHASES = {
    "download": Phase("download_start_s", "download_end_s"),
    "compute": Phase("compute_start_s", "compute_end_s"),
    "upload": Phase("upload_start_s", "upload_end_s"),
}


def figures(tables: Tables) -> Iterator[Figure]:
    """The curves, then the timeline."""
    yield from curves(tables)
    yield from timeline(tables)


def curves(tables: Tables) -> Iterator[Figure]:
    """Each quantity over two courses; what was never evaluated has no figure."""
    rounds = _spent(tables)
    for quantity in (ACCURACY, VALIDATION, GRADIENT):
        if quantity.column not in rounds.columns:
            continue
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
        caption=f"{mean} over seeds with its 95 % interval (t); of two seeds, their values are the hollow points. A "
        "run that has ended keeps its last value; a curve begins where every seed has been evaluated.",
        data=data,
        draw=partial(_draw_curves, tables=tables, quantity=quantity, course=course),
        shape=Shape(count),
        topic="bound" if quantity is GRADIENT else "results",
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
    """Columns: varied keys, policy, the course, seeds, mean, low95, high95, least, most; one grid per combination and
    policy."""
    known = rounds.dropna(subset=[quantity.column])
    x, y = (known[name].to_numpy(float) for name in (f"{course.column}_{quantity.at}", quantity.column))
    run, names = pd.factorize(known["run_id"])[0], known[[*keys, "policy"]]
    each = [(at, *_held(x[at], y[at], run[at])) for at in cells(known, [*keys, "policy"])]
    if not each:
        return pd.DataFrame(columns=[*keys, "policy"])
    bands = np.concatenate([_bands(values, quantity.logarithmic) for _, _, values in each], axis=1)
    first = names.iloc[np.repeat([at[0] for at, _, _ in each], _POINTS)].reset_index(drop=True)
    return first.assign(
        **{course.column: np.concatenate([grid for _, grid, _ in each])},
        seeds=np.repeat([len(values) for _, _, values in each], _POINTS),
        **dict(zip(("mean", "low95", "high95"), bands, strict=True)),
        least=np.concatenate([values.min(axis=0) for _, _, values in each]),
        most=np.concatenate([values.max(axis=0) for _, _, values in each]),
    )


def _bands(values: NDArray[np.float64], logarithmic: bool) -> NDArray[np.float64]:
    """Mean over the seeds of ``values`` (seeds, points) and both ends of its 95 % interval, (3, points).

    With ``logarithmic``, the geometric ones where all are above zero.
    """
    points = np.ascontiguousarray(values.T)
    positive = (points > 0.0).all(axis=1) if logarithmic else np.zeros(len(points), dtype=bool)
    points[positive] = np.log(points[positive])
    mean, half_width = statistics.estimates(points)
    bands = np.array([mean, mean - half_width, mean + half_width])
    bands[:, positive] = np.reshape([*map(math.exp, bands[:, positive].flat)], (3, -1))
    return bands


def _held(
    x: NDArray[np.float64], y: NDArray[np.float64], run: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The step functions of each run, (runs, points), on one grid from the last run's first value on; all are (n,)."""
    steps = [(x[at], y[at]) for at in places(run).values()]
    grid = np.linspace(max(at[0] for at, _ in steps), max(at[-1] for at, _ in steps), _POINTS)
    return grid, np.array([values[np.searchsorted(at, grid, side="right") - 1] for at, values in steps])


def _draw_curves(canvas: Canvas, data: pd.DataFrame, tables: Tables, quantity: Quantity, course: Course) -> None:
    split = list(cases(data, tables.keys))
    grid = panels(canvas, [title for title, _ in split])
    step = 1 if len(grid) == 1 else 2  # small panels, few points
    curves = [
        [_curve(rows.iloc[::step], course) for _, rows in part.groupby("policy", sort=False)] for _, part in split
    ]
    same = draw_curves(
        grid, curves, looks(tables.policies), mark_every=_MARK_EVERY, of_accuracy=quantity in (ACCURACY, VALIDATION),
        log=quantity.logarithmic,
    )  # fmt: skip
    for axes in grid:
        axes.set_xlabel(course.name)
        axes.set_xlim(left=0.0)
    name_rows(grid, quantity.name)
    legend_below(canvas, grid, same=same)


def _curve(rows: pd.DataFrame, course: Course) -> Curve:
    seeds = int(rows["seeds"].iloc[0])
    ends = ("least", "most") if seeds < FEW else ("low95", "high95")
    x, mean, low, high = (rows[name].to_numpy(float) for name in (course.column, "mean", *ends))
    return Curve(str(rows["policy"].iloc[0]), x, mean, low, high, seeds)


def timeline(tables: Tables) -> Iterator[Figure]:
    """One timeline: for each policy that fine-tunes, the first rounds of its first finished run."""
    shown = [group for _, group in _first_runs(tables).groupby("policy", sort=False)][:MAX_POLICIES]
    if not shown:
        return
    data = pd.concat(shown, ignore_index=True)
    yield Figure(
        name="timeline",
        title=f"Timeline of the first {ROUNDS} fine-tuning rounds",
        caption="First seed (and first varied scenario) of each policy, from the start of its first fine-tuning round; "
        f"at most {MAX_POLICIES} policies and {MAX_DEVICES} devices. The line is the server's update: behind a "
        "barrier, when the last device has arrived. A cross marks work that did not arrive.",
        data=data,
        draw=partial(_draw_timeline, policies=list(data["policy"].drop_duplicates())),
        shape=Shape(len(shown), 2, 0.85 + 0.14 * data["device"].nunique(), free=False),
        topic="choices",
    )


def _first_runs(tables: Tables) -> pd.DataFrame:
    """The device rows of the first rounds of each policy's first run that has any, with times from their start."""
    devices = tables.devices[tables.devices["device"] < MAX_DEVICES]
    devices = devices[devices["run_id"].isin(tables.done["run_id"])]
    devices = tables.with_run(devices)
    first = devices.groupby("policy", sort=False)["run_id"].transform("first")
    devices = devices[devices["run_id"] == first]
    position = devices.groupby("run_id", sort=False)["round"].transform(lambda column: column.rank(method="dense"))
    devices = devices[position <= ROUNDS]
    ends = tables.rounds[tables.rounds["stage"] == "finetune"][["run_id", "round", "end_s"]]
    devices = devices.merge(ends.rename(columns={"end_s": "round_end_s"}), on=["run_id", "round"], how="left")
    times = [name for phase in PHASES.values() for name in phase] + ["round_end_s"]
    origin = devices.groupby("run_id", sort=False)["download_start_s"].transform("min")
    shifted = devices[times].sub(origin, axis="index")
    names = [*tables.keys, "policy", "seed", "run_id", "round", "device"]
    return pd.concat([devices[names], shifted, devices[["outcome"]]], axis="columns")


def _draw_timeline(canvas: Canvas, data: pd.DataFrame, policies: list[str]) -> None:
    grid = panels(canvas, policies, columns=2)
    for axes, policy in zip(grid, policies, strict=True):
        rows = data[data["policy"] == policy]
        for name, phase in PHASES.items():
            bars = rows.dropna(subset=list(phase))
            start, end = bars[phase.start], bars[phase.end]
            part = PARTS[name]
            bar(axes, bars["device"], start, end - start, part, height=0.75)
        for end in rows["round_end_s"].dropna().unique():
            axes.axvline(end, color="black", linewidth=0.9)
        lost = rows[rows["outcome"] != "delivered"]
        last = lost[[phase.end for phase in PHASES.values()]].max(axis="columns").dropna()
        if len(last):
            axes.plot(last, lost.loc[last.index, "device"], "X", color="black", markersize=5, label="did not arrive")
        axes.set_xlabel("time in s")
        axes.grid(visible=False, axis="y")
        axes.set_yticks(sorted(rows["device"].unique()))
        within(axes.xaxis)
    name_rows(grid, "device")
    grid[0].invert_yaxis()
    legend_below(canvas, grid)
