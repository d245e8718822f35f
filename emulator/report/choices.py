"""What each policy chose: rounds of both stages, batches, frequencies and powers."""

from collections.abc import Iterator, Mapping
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Canvas

from prefine.emulator.report.data import Tables, cases
from prefine.emulator.report.figure import Figure
from prefine.emulator.report.style import PARTS, bar, bar_size, few_ticks, legend_below, looks, mark, panels

Columns = Mapping[str, tuple[str, float]]
"""Column names, each with its name for the reader and the unit it is shown in."""

_ROUNDS = ("pretrain_rounds", "finetune_rounds", "planned_pretrain_rounds", "planned_finetune_rounds")
_DEVICES = {
    "batch": ("batch in samples", 1.0),
    "frequency_hz": ("frequency in GHz", 1e9),
    "power_w": ("power in W", 1.0),
}
_SERVER = {"server_batch": ("batch in samples", 1.0), "server_frequency_hz": ("frequency in GHz", 1e9)}


def figures(tables: Tables) -> Iterator[Figure]:
    """Rounds chosen; what the server did in pre-training rounds and the devices in fine-tuning rounds."""
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
    pretrain = tables.with_run(tables.rounds[tables.rounds["stage"] == "pretrain"])
    yield from _chosen(
        tables,
        "server-choices",
        "Batch and frequency of the server",
        "One mark per seed: its mean over pre-training rounds.",
        _means(tables, pretrain, "seed", _SERVER),
        _SERVER,
    )
    yield from _chosen(
        tables,
        "device-choices",
        "Batch, frequency and power of the devices",
        "One mark per device: its mean over fine-tuning rounds and seeds.",
        _means(tables, tables.with_run(tables.devices), "device", _DEVICES),
        _DEVICES,
    )


def _means(tables: Tables, rows: pd.DataFrame, each: str, columns: Columns) -> pd.DataFrame:
    keys = [*tables.keys, "policy", each]
    return rows.groupby(keys, sort=False, dropna=False)[list(columns)].mean().reset_index()


def _chosen(
    tables: Tables, name: str, title: str, caption: str, data: pd.DataFrame, columns: Columns
) -> Iterator[Figure]:
    if not data.empty:
        count = len(list(cases(data, tables.keys)))
        draw = partial(_draw_choices, tables=tables, columns=columns)
        yield Figure(name, title, caption, data, draw, bar_size(3 * count, len(tables.policies)))


def _draw_rounds(canvas: Canvas, data: pd.DataFrame, tables: Tables) -> None:
    split = list(cases(data, tables.keys))
    grid = panels(canvas, [title for title, _ in split])
    for axes, (_, case) in zip(grid, split, strict=True):
        done = case["pretrain_rounds"]
        bar(axes, case["policy"], np.zeros(len(case)), done, PARTS["pretrain"])
        bar(axes, case["policy"], done, case["finetune_rounds"], PARTS["finetune"])
        planned = case["planned_pretrain_rounds"]
        mark(axes, planned, case["policy"], "planned pre-training")
        mark(axes, planned + case["planned_finetune_rounds"], case["policy"], "planned in all", filled=True)
        axes.set_xlabel("rounds")
        few_ticks(axes)
        axes.grid(visible=False, axis="y")
    grid[0].invert_yaxis()
    legend_below(canvas, grid)


def _draw_choices(canvas: Canvas, data: pd.DataFrame, tables: Tables, columns: Columns) -> None:
    split = list(cases(data, tables.keys))
    style = looks(tables.policies)
    width = len(columns)
    grid = panels(canvas, [title for title, _ in split for _ in columns], columns=width)
    for index, (_, case) in enumerate(split):
        for axes, (column, (name, unit)) in zip(grid[width * index :], columns.items(), strict=False):
            for row, policy in enumerate(tables.policies):
                values = case.loc[case["policy"] == policy, column].to_numpy(float) / unit
                look = style[policy]
                axes.plot(values, np.full(len(values), row), look.marker, color=look.colour, alpha=0.6)
            axes.set_yticks(range(len(tables.policies)), tables.policies)
            axes.set_xlabel(name)
            few_ticks(axes)
    grid[0].set_ylim(len(tables.policies) - 0.5, -0.5)
