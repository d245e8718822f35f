"""What a policy that rehearsed found before it decided: validation score over the rounds of pre-training."""

from collections.abc import Iterator
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Canvas

from prefine.emulator.analysis.output import Tables
from prefine.emulator.report.figure import Figure, panels, size
from prefine.emulator.report.words import cases

_SIZES = (12.0, 60.0)
"""Area in square points of the mark of a candidate with the fewest and with the most rehearsals."""

_WORST = 0.5
"""Share of the candidates that a panel shows at least: the worst would press the best flat."""


def figures(tables: Tables) -> Iterator[Figure]:
    """One panel for each policy that rehearsed, in each scenario; nothing where none did."""
    data = tables.rehearsals
    if data.empty:
        return
    yield Figure(
        name="rehearsals",
        title="What was rehearsed before the plan was made",
        caption="One mark per candidate plan: its mean score on validation samples (never the test set), with what all "
        "candidates' samples have in common taken out. Larger marks were rehearsed more often; colour is the server's "
        "batch; the ring is the plan that was chosen, which goes by the score smoothed over its neighbours. The lower "
        "half of the candidates may lie below the panel.",
        data=data.reset_index(drop=True),
        draw=partial(_draw, keys=["policy", *tables.keys]),
        size_in=size(len(list(cases(data, ["policy", *tables.keys]))), columns=2, height=3.0),
    )


def _draw(canvas: Canvas, data: pd.DataFrame, keys: list[str]) -> None:
    split = list(cases(data, keys))
    grid = panels(canvas, [title for title, _ in split], columns=2, sharey=False)
    batches = np.log2(data["server_batch"].to_numpy(float))
    for axes, (_, case) in zip(grid, split, strict=True):
        share = case["rehearsals"] / max(1, case["rehearsals"].max())
        marks = axes.scatter(
            case["pretrain_rounds"],
            case["score"],
            s=_SIZES[0] + (_SIZES[1] - _SIZES[0]) * share,
            c=np.log2(case["server_batch"].to_numpy(float)),
            vmin=batches.min(),
            vmax=max(batches.max(), batches.min() + 1.0),
            cmap="viridis",
            alpha=0.8,
            linewidth=0,
        )
        chosen = case.iloc[0]
        axes.scatter(
            [chosen["pretrain_rounds"]], [chosen["score"]], s=140, facecolors="none", edgecolors="black", linewidth=1.4
        )
        axes.set_xscale("symlog", linthresh=1.0)
        best, middle = case["score"].max(), case["score"].quantile(_WORST)
        if np.isfinite(middle) and best > middle:
            axes.set_ylim(middle - 0.05 * (best - middle), best + 0.1 * (best - middle))
        axes.set_xlabel("pre-training rounds")
        axes.set_ylabel("validation score")
    bar = canvas.colorbar(marks, ax=grid)
    bar.set_label("server batch")
    ticks = np.arange(np.floor(batches.min()), np.ceil(batches.max()) + 1.0)
    bar.set_ticks(ticks.tolist(), labels=[f"{2.0**tick:g}" for tick in ticks])
