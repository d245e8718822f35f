"""What a policy that rehearsed found before it decided: validation score over the rounds of pre-training."""

from collections.abc import Iterator
from functools import partial

import pandas as pd
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure as Canvas

from prefine.emulator.analysis.output import Tables
from prefine.emulator.report.figure import Figure
from prefine.emulator.report.panels import few_ticks, logarithmic, name_rows, panels, within
from prefine.emulator.report.shape import Shape
from prefine.emulator.report.words import cases

_SIZES = (12.0, 60.0)
"""Area in square points of the mark of a candidate with the fewest and with the most rehearsals."""

_HIDDEN = 0.5
"""Share of the candidates, the worst, that a panel leaves out: they would press the best flat."""


def figures(tables: Tables) -> Iterator[Figure]:
    """One panel for each policy that rehearsed, in each scenario; nothing where none did."""
    if tables.rehearsals.empty or (data := tables.rehearsals.dropna(subset="score")).empty:
        return
    yield Figure(
        name="rehearsals",
        title="What was rehearsed before the plan was made",
        caption="One mark per candidate plan: its mean score on validation samples (never the test set), with what all "
        "candidates' samples have in common taken out. Larger marks were rehearsed more often; colour is the server's "
        "batch; the ring is the plan that was chosen, which goes by the score smoothed over its neighbours. The lower "
        "half of the candidates is left out.",
        data=data.reset_index(drop=True),
        draw=partial(_draw, keys=["policy", *tables.keys]),
        shape=Shape(len(list(cases(data, ["policy", *tables.keys]))), 2, 2.4),
        topic="choices",
    )


def _draw(canvas: Canvas, data: pd.DataFrame, keys: list[str]) -> None:
    split = [(title, case[case["score"] >= case["score"].quantile(_HIDDEN)]) for title, case in cases(data, keys)]
    grid = panels(canvas, [title for title, _ in split], columns=2, sharey=False)
    batches = pd.concat([case["server_batch"] for _, case in split]).to_numpy(float)
    colours = LogNorm(batches.min(), max(batches.max(), 2.0 * batches.min()))
    for axes, (_, case) in zip(grid, split, strict=True):
        chosen, share = case.iloc[0], case["rehearsals"] / case["rehearsals"].max()
        marks = axes.scatter(
            case["pretrain_rounds"],
            case["score"],
            s=_SIZES[0] + (_SIZES[1] - _SIZES[0]) * share,
            c=case["server_batch"].to_numpy(float),
            norm=colours,
            cmap="viridis",
            linewidth=0,
        )
        axes.plot(chosen["pretrain_rounds"], chosen["score"], "o", color="black", markersize=12, markerfacecolor="none")
        few_ticks(axes)
        within(axes.xaxis)
        axes.set_xlabel("pre-training rounds")
    name_rows(grid, "validation score")
    bar = canvas.colorbar(marks, ax=grid, label="server batch")
    logarithmic(bar.ax.yaxis)
