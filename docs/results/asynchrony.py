"""What docs/async.md shows: collected from `make async`, as tables and as one picture."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Canvas

from prefine.emulator.analysis.statistics import estimate
from prefine.emulator.report.figure import Figure, looks
from prefine.emulator.report.panels import legend_below, name_rows, panels, within
from prefine.emulator.report.shape import Shape
from prefine.emulator.report.spread import FEW, Curve, draw_curves

RECIPE, STOLEN, MODE, BUFFER = "training.preset", "processor.load.stolen", "aggregation.mode", "aggregation.buffer"
SWEEPS = ("modes", "dirichlet", "rehearsed", "buffers")
FIGURES = (
    *("finetune_rounds", "delay_s", "energy_j", "wasted_energy_j", "train_loss", "test_accuracy"),
    "time_to_accuracy_s",
)
COUNTS, SPENT = ("finetune_rounds", "arrivals"), ("energy_j", "wasted_energy_j")
DRAWN = "joint-ft"
POINTS = 49


def collect(source: Path, results: Path) -> None:
    """Of every sweep that ``source`` has, its runs; of the modes, also how the drawn runs went."""
    (results / "async").mkdir(parents=True, exist_ok=True)
    for name in SWEEPS:
        folder = source / f"async-{name}"
        if (folder / "runs.csv").is_file():
            _runs(folder).to_csv(results / "async" / f"{name}.csv", index=False, float_format="%.6g")
            if name == "modes":
                _course(folder).to_csv(results / "async" / "course.csv", index=False, float_format="%.6g")


def _runs(folder: Path) -> pd.DataFrame:
    """Each run's figures, with how many arrivals its updates were made of and how old these were in the mean."""
    runs = pd.read_csv(folder / "runs.csv")
    devices = pd.read_csv(folder / "devices.csv", usecols=["run_id", "outcome", "staleness"])
    arrived = devices[devices["outcome"] == "delivered"].groupby("run_id")["staleness"]
    runs["arrivals"], runs["staleness"] = runs["run_id"].map(arrived.size()), runs["run_id"].map(arrived.mean())
    keys = [key for key in (RECIPE, STOLEN, MODE, BUFFER) if key in runs]
    return runs[[*keys, "policy", "seed", *FIGURES, "arrivals", "staleness"]]


def _course(folder: Path) -> pd.DataFrame:
    """Mean test accuracy over time with its 95 % half-width, of the runs that are drawn."""
    rounds = pd.read_csv(folder / "rounds.csv")
    rounds = rounds[rounds["policy"] == DRAWN]
    times_s = np.linspace(0.0, float(rounds["end_s"].max()), POINTS)
    rows = []
    for name, group in rounds.groupby([RECIPE, STOLEN, MODE], sort=False):
        curves = [_at(times_s, run) for _, run in group.groupby("seed")]
        for time_s, values in zip(times_s, np.transpose(curves), strict=True):
            mean, half_width = estimate(values) if not np.isnan(values).any() else (np.nan, np.nan)
            rows.append((*name, time_s, mean, half_width))
    return pd.DataFrame(rows, columns=[RECIPE, STOLEN, MODE, "time_s", "test_accuracy_mean", "test_accuracy_ci95"])


def _at(times_s: np.ndarray, rounds: pd.DataFrame) -> np.ndarray:
    """The accuracy (n,) that a run had at ``times_s`` (n,); NaN before its first round has ended."""
    known = np.append(np.nan, rounds["test_accuracy"].to_numpy())
    return np.asarray(known[np.searchsorted(rounds["end_s"], times_s, side="right")])


def modes(results: Path, name: str) -> list[list[str]]:
    """A row for each world of sweep ``name``, policy and mode; differences to synchronous runs are paired by seed."""
    rows, table = [], _table(results, name)
    keys = [key for key in (RECIPE, STOLEN) if key in table]
    for (*values, policy), world in table.groupby([*keys, "policy"], sort=False):
        score = world.pivot_table(index="seed", columns=MODE, values="test_accuracy")
        for mode, group in world.groupby(MODE, sort=False):
            gain = "" if mode == "synchronous" else _interval(score[mode] - score["synchronous"], sign="+")
            reached = group["time_to_accuracy_s"]
            first = "-" if reached.isna().any() else f"{reached.mean():.1f}"
            where = [*(_named(value) for value in values), f"`{policy}`", str(mode)]
            rows.append([*where, *_means(group, 0, *COUNTS), *_means(group, 1, *SPENT), first, _score(group), gain])
    return rows


def buffers(results: Path) -> list[list[str]]:
    """A row for each mode and size of the buffer."""
    rows = []
    for (mode, buffer), group in _table(results, "buffers").groupby([MODE, BUFFER], sort=False):
        figures = [*_means(group, 0, *COUNTS), *_means(group, 1, "staleness", *SPENT)]
        rows.append([str(mode), f"{buffer}", *figures, _score(group)])
    return rows


def _named(value: object) -> str:
    return f"{value:.0%}" if isinstance(value, float) else str(value)


def _means(group: pd.DataFrame, digits: int, *figures: str) -> list[str]:
    return [f"{group[figure].mean():.{digits}f}" for figure in figures]


def _score(group: pd.DataFrame) -> str:
    return _interval(group["test_accuracy"])


def _table(results: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(results / "async" / f"{name}.csv")


def _interval(values: "pd.Series[float]", sign: str = "") -> str:
    mean, half_width = estimate(values)
    return f"{mean:{sign}.3f} ± {half_width:.3f}".replace("0.", ".")


def picture(results: Path) -> bytes:
    """Test accuracy over time by mode, one panel a recipe and load, as SVG."""
    course = _table(results, "course")
    return Figure("async", "", "", course, _draw, Shape(4, 2)).render("svg")


def _draw(canvas: Canvas, course: pd.DataFrame) -> None:
    worlds = list(course.groupby([RECIPE, STOLEN], sort=False))
    grid = panels(canvas, [f"{recipe}, other work takes {stolen:.0%}" for (recipe, stolen), _ in worlds], columns=2)
    columns = ("time_s", "test_accuracy_mean", "test_accuracy_ci95")
    curves = [
        [
            Curve.of(str(mode), *(part[column].to_numpy(float) for column in columns), FEW)  # or more seeds
            for mode, part in world.groupby(MODE, sort=False)
        ]
        for _, world in worlds
    ]
    same = draw_curves(grid, curves, looks(list(course[MODE].unique())), mark_every=12, of_accuracy=True)
    name_rows(grid, "test accuracy")
    for axes in grid[-2:]:
        axes.set_xlabel("virtual time in s")
    for axes in grid:
        within(axes.xaxis)
    legend_below(canvas, grid, same=same)
