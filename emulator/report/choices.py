"""What each policy chose: rounds of both stages, and every device's batch, frequency and power."""

from collections.abc import Iterator
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Canvas

from emulator.report.data import Tables, cases
from emulator.report.figure import Figure
from emulator.report.style import PARTS, bar, bar_size, few_ticks, legend_below, looks, panels

_ROUNDS = ("pretrain_rounds", "finetune_rounds", "planned_pretrain_rounds", "planned_finetune_rounds")
_CHOSEN = {
    "batch": ("batch in samples", 1.0),
    "frequency_hz": ("frequency in GHz", 1e9),
    "power_w": ("power in W", 1.0),
}


def figures(tables: Tables) -> Iterator[Figure]:
    """Rounds chosen; and, where anyone fine-tuned, what devices did."""
    if tables.done.empty:
        return
    rounds = tables.done.groupby([*tables.keys, "policy"], sort=False, dropna=False)[list(_ROUNDS)].mean().reset_index()
    yield Figure(
        name="rounds-chosen",
        title="Rounds of each stage",
        caption="Bars: rounds carried out, mean over seeds. Diamonds: planned, pre-training hollow, all filled.",
        data=rounds,
        draw=partial(_draw_rounds, tables=tables),
        size_in=bar_size(len(list(cases(rounds, tables.keys))), len(tables.policies)),
    )
    devices = tables.with_run(tables.devices)
    keys = [*tables.keys, "policy", "device"]
    chosen = devices.groupby(keys, sort=False, dropna=False)[list(_CHOSEN)].mean().reset_index()
    if not chosen.empty:
        count = len(list(cases(chosen, tables.keys)))
        yield Figure(
            name="device-choices",
            title="Batch, frequency and power of the devices",
            caption="One mark per device: its mean over fine-tuning rounds and seeds.",
            data=chosen,
            draw=partial(_draw_devices, tables=tables),
            size_in=bar_size(3 * count, len(tables.policies)),
        )


def _draw_rounds(canvas: Canvas, data: pd.DataFrame, tables: Tables) -> None:
    split = list(cases(data, tables.keys))
    grid = panels(canvas, [title for title, _ in split])
    for axes, (_, case) in zip(grid, split, strict=True):
        done = case["pretrain_rounds"]
        bar(axes, case["policy"], np.zeros(len(case)), done, PARTS["pretrain"])
        bar(axes, case["policy"], done, case["finetune_rounds"], PARTS["finetune"])
        planned = case["planned_pretrain_rounds"]
        axes.plot(planned, case["policy"], "D", color="black", markerfacecolor="white", label="planned pre-training")
        axes.plot(planned + case["planned_finetune_rounds"], case["policy"], "D", color="black", label="planned in all")
        axes.set_xlabel("rounds")
        few_ticks(axes)
        axes.grid(visible=False, axis="y")
    grid[0].invert_yaxis()
    legend_below(canvas, grid)


def _draw_devices(canvas: Canvas, data: pd.DataFrame, tables: Tables) -> None:
    split = list(cases(data, tables.keys))
    style = looks(tables.policies)
    grid = panels(canvas, [title for title, _ in split for _ in _CHOSEN])
    for index, (_, case) in enumerate(split):
        present = [policy for policy in tables.policies if policy in set(case["policy"])]
        for axes, (column, (name, unit)) in zip(grid[3 * index :], _CHOSEN.items(), strict=False):
            for row, policy in enumerate(present):
                values = case.loc[case["policy"] == policy, column].to_numpy(float) / unit
                look = style[policy]
                axes.plot(values, np.full(len(values), row), look.marker, color=look.colour, alpha=0.6)
            axes.set_yticks(range(len(present)), present)
            axes.set_xlabel(name)
            few_ticks(axes)
    grid[0].set_ylim(len(tables.policies) - 0.5, -0.5)
