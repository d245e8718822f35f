"""What docs/selection.md shows of the rules: collected from `make selection`, as a table and as one picture."""

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure as Canvas

from prefine.emulator.analysis.statistics import Estimate, estimate, paired
from prefine.emulator.report.figure import Figure, looks
from prefine.emulator.report.panels import accuracy, few_ticks, panels
from prefine.emulator.report.shape import bar_shape

RULE = "policies.joint-ft.selection"
FIGURES = {"test_accuracy": "all devices", "client_accuracy_worst": "the worst tenth of the devices"}
USED = (RULE, "seed", "finetune_rounds", "energy_j", *FIGURES)
AGAINST = "random-k"


def collect(source: Path, results: Path) -> None:
    """The runs of ``source``, if it has them."""
    if (source / "selection" / "runs.csv").is_file():
        (results / "selection").mkdir(parents=True, exist_ok=True)
        runs = pd.read_csv(source / "selection" / "runs.csv", usecols=list(USED))
        runs.to_csv(results / "selection" / "runs.csv", index=False, float_format="%.6g")


def rules(results: Path) -> dict[str, pd.DataFrame]:
    """The runs of each rule by seed, in the order in which they were varied."""
    runs = pd.read_csv(results / "selection" / "runs.csv")
    return {str(name): group.set_index("seed") for name, group in runs.groupby(RULE, sort=False)}


def gain(results: Path, rule: str) -> Estimate:
    """Test accuracy of ``rule`` less that of drawing at random, seed by seed."""
    runs = rules(results)
    return estimate(paired(runs[rule]["test_accuracy"], runs[AGAINST]["test_accuracy"]))


def picture(results: Path) -> bytes:
    """Test accuracy of each rule, of all devices and of the worst off, as SVG."""
    data = pd.concat(rules(results).values())
    return Figure("selection", "", "", data, _draw, bar_shape(len(FIGURES), data[RULE].nunique())).render("svg")


def _draw(canvas: Canvas, data: pd.DataFrame) -> None:
    names = list(data[RULE].unique())
    look = looks(names)
    for axes, figure in zip(panels(canvas, list(FIGURES.values())), FIGURES, strict=True):
        for row, name in enumerate(names):
            mean, half_width = estimate(data.loc[data[RULE] == name, figure])
            own = look[name]
            axes.errorbar(mean, row, xerr=half_width, fmt=own.marker, color=own.colour, capsize=3)
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_xlabel("test accuracy")
        accuracy(axes.xaxis, 0.0)
        few_ticks(axes)
