"""How evenly the final model serves the devices: its accuracy on the data of each."""

from collections.abc import Iterator
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Canvas

from prefine.emulator.analysis.output import Tables
from prefine.emulator.report.figure import Figure, looks
from prefine.emulator.report.panels import accuracy, few_ticks, panels
from prefine.emulator.report.shape import bar_shape
from prefine.emulator.report.words import cases

_FEWEST = 2
"""Devices with held-out samples that a spread needs."""

_SHOWN = 200
"""Devices drawn at most for each policy: every n-th in order of accuracy beyond that."""


def figures(tables: Tables) -> Iterator[Figure]:
    """A row of marks per policy, one a device; nothing where fewer than two devices have held-out samples."""
    if tables.clients.empty:
        return
    data = tables.with_run(tables.clients).dropna(subset="test_accuracy")
    keys = [*tables.keys, "policy", "device"]
    data = data.groupby(keys, sort=False)["test_accuracy"].mean().reset_index()
    if data["device"].nunique() < _FEWEST:
        return
    yield Figure(
        name="fairness",
        title="Test accuracy on each device's own data",
        caption="One mark per device: the final model on held-out samples of the classes that the device holds, mean "
        "over seeds. The line joins the worst and the best tenth's means; the large mark is the mean of all devices.",
        data=data,
        draw=partial(_draw, tables=tables),
        shape=bar_shape(len(list(cases(data, tables.keys))), len(tables.policies)),
    )


def _draw(canvas: Canvas, data: pd.DataFrame, tables: Tables) -> None:
    style = looks(tables.policies)
    split = list(cases(data, tables.keys))
    for axes, (_, case) in zip(panels(canvas, [title for title, _ in split]), split, strict=True):
        for row, policy in enumerate(tables.policies):
            scores = np.sort(case.loc[case["policy"] == policy, "test_accuracy"].to_numpy(float))
            if not len(scores):
                continue
            tenth, look = max(1, len(scores) // 10), style[policy]
            shown = scores[:: -(-len(scores) // _SHOWN)]
            axes.plot([scores[:tenth].mean(), scores[-tenth:].mean()], [row, row], color=look.colour, linewidth=1.5)
            axes.plot(shown, np.full(len(shown), row), "|", color=look.colour, markersize=9)
            axes.plot(scores.mean(), row, look.marker, color=look.colour, markersize=7)
        axes.set_yticks(range(len(tables.policies)), tables.policies)
        axes.set_ylim(len(tables.policies) - 0.5, -0.5)
        axes.set_xlabel("test accuracy on the device's data")
        accuracy(axes.xaxis, float(data["test_accuracy"].min()))
        few_ticks(axes)
