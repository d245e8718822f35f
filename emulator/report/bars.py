"""Bars and marks of each policy: where its energy and time went, and what it chose."""

from collections.abc import Iterator, Mapping
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Canvas

from prefine.emulator.analysis.output import Tables
from prefine.emulator.analysis.statistics import ROUNDING
from prefine.emulator.report.figure import (
    PARTS,
    Figure,
    Part,
    looks,
)
from prefine.emulator.report.panels import bar, few_ticks, legend_below, mark, panels, within
from prefine.emulator.report.shape import bar_shape
from prefine.emulator.report.words import cases

ENERGY: Mapping[str, Part] = {
    "server_energy_j": PARTS["server"],
    "compute_energy_j": PARTS["compute"],
    "uplink_energy_j": PARTS["upload"],
    "downlink_energy_j": PARTS["download"],
}
DELAY: Mapping[str, Part] = {
    "pretrain_s": PARTS["pretrain"],
    "download_s": PARTS["download"],
    "compute_s": PARTS["compute"],
    "upload_s": PARTS["upload"],
    "waiting_s": PARTS["waiting"],
}
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
    """Energy and delay by part, predicted totals beside them; then rounds, batches, frequencies and powers chosen.

    Nothing where no run finished.
    """
    if tables.done.empty:
        return
    yield from _parts(tables)
    yield from _choices(tables)


def _parts(tables: Tables) -> Iterator[Figure]:
    """Energy by part and delay by part."""
    yield _stack(
        tables,
        "energy-by-part",
        "Energy by part",
        "Mean over seeds; the diamond is the total that the plan predicted.",
        _mean_parts(tables, tables.done, [*ENERGY, "predicted_energy_j"]),
        partial(_draw_stack, tables=tables, parts=ENERGY, predicted="predicted_energy_j", name="energy in J"),
    )
    if tables.devices.empty and tables.done["finetune_rounds"].any():
        return  # [compare] devices = "none": who arrived last is not known
    yield _stack(
        tables,
        "delay-by-part",
        "Delay by part",
        "Mean over seeds. A fine-tuning round is split along its last device to arrive; waiting is what remains: for "
        "the channel, a deadline, or a round that was cut off, and, without a barrier, what passed before that device "
        "was sent out. The diamond is the total that the plan predicted.",
        _mean_parts(tables, _delays(tables), [*DELAY, "predicted_delay_s"]),
        partial(_draw_stack, tables=tables, parts=DELAY, predicted="predicted_delay_s", name="delay in s"),
    )


def _stack(tables: Tables, name: str, title: str, caption: str, data: pd.DataFrame, draw: "partial[None]") -> Figure:
    count = len(list(cases(data, tables.keys)))
    return Figure(name, title, caption, data, draw, bar_shape(count, len(tables.policies)))


def _mean_parts(tables: Tables, runs: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    return runs.groupby([*tables.keys, "policy"], sort=False, dropna=False)[columns].mean().reset_index()


def _delays(tables: Tables) -> pd.DataFrame:
    """One row per finished run: its delay by part."""
    rounds = tables.rounds.assign(length_s=tables.rounds["end_s"] - tables.rounds["start_s"])
    tuning = rounds.loc[rounds["stage"] == "finetune", ["run_id", "round", "start_s", "end_s"]].merge(
        _last_to_arrive(tables.devices), on=["run_id", "round"]
    )

    def within(start: str, end: str) -> "pd.Series[float]":
        """How much of it lies in the round itself: without a barrier, a device may have begun long before."""
        return (tuning[end].clip(upper=tuning["end_s"]) - tuning[start].clip(lower=tuning["start_s"])).clip(lower=0.0)

    split = pd.DataFrame(
        {
            "run_id": tuning["run_id"],
            "download_s": within("download_start_s", "download_end_s"),
            "compute_s": within("compute_start_s", "compute_end_s"),
            "upload_s": within("upload_start_s", "upload_end_s"),
        }
    )
    pretrain = rounds[rounds["stage"] == "pretrain"].groupby("run_id")["length_s"].sum().rename("pretrain_s")
    sums = split.groupby("run_id").sum().join(pretrain, how="outer").fillna(0.0)
    delays = tables.done.merge(sums.reset_index(), on="run_id", how="left").fillna(dict.fromkeys(sums.columns, 0.0))
    known = delays[list(sums.columns)].sum(axis="columns")
    waiting_s = delays["delay_s"] - known
    return delays.assign(waiting_s=waiting_s.where(waiting_s > ROUNDING * delays["delay_s"], 0.0))


def _last_to_arrive(devices: pd.DataFrame) -> pd.DataFrame:
    """The row of the device that delivered last, of each round in which any did."""
    arrived = devices[devices["outcome"] == "delivered"]
    return arrived.loc[arrived.groupby(["run_id", "round"], sort=False)["upload_end_s"].idxmax()]


def _draw_stack(
    canvas: Canvas, data: pd.DataFrame, tables: Tables, parts: Mapping[str, Part], predicted: str, name: str
) -> None:
    split = list(cases(data, tables.keys))
    grid = panels(canvas, [title for title, _ in split])
    for axes, (_, case) in zip(grid, split, strict=True):
        left = np.zeros(len(case))
        for column, part in parts.items():
            width = case[column].to_numpy(float)
            bar(axes, case["policy"], left, width, part)
            left += width
        mark(axes, case[predicted], case["policy"], "predicted total")
        axes.set_xlabel(name)
        few_ticks(axes)
        axes.grid(visible=False, axis="y")
    grid[0].invert_yaxis()
    legend_below(canvas, grid)


def _choices(tables: Tables) -> Iterator[Figure]:
    """Rounds chosen; what the server did in pre-training rounds and the devices in fine-tuning rounds."""
    rounds = tables.done.groupby([*tables.keys, "policy"], sort=False, dropna=False)[list(_ROUNDS)].mean().reset_index()
    yield Figure(
        name="rounds-chosen",
        title="Rounds of each stage",
        caption="Bars: rounds carried out, mean over seeds. Diamonds: planned, pre-training hollow, all filled.",
        data=rounds,
        draw=partial(_draw_rounds, tables=tables),
        shape=bar_shape(len(list(cases(rounds, tables.keys))), len(tables.policies)),
        topic="choices",
    )
    pretrain = tables.with_run(tables.rounds[tables.rounds["stage"] == "pretrain"])
    yield from _chosen(
        tables,
        "server-choices",
        "Batch and frequency of the server",
        "One mark per seed: its mean over pre-training rounds.",
        _mean_choices(tables, pretrain, "seed", _SERVER),
        _SERVER,
    )
    yield from _chosen(
        tables,
        "device-choices",
        "Batch, frequency and power of the devices",
        "One mark per device: its mean over fine-tuning rounds and seeds.",
        _mean_choices(tables, tables.with_run(tables.devices[["run_id", "device", *_DEVICES]]), "device", _DEVICES),
        _DEVICES,
    )


def _mean_choices(tables: Tables, rows: pd.DataFrame, each: str, columns: Columns) -> pd.DataFrame:
    keys = [*tables.keys, "policy", each]
    return rows.groupby(keys, sort=False, dropna=False)[list(columns)].mean().reset_index()


def _chosen(
    tables: Tables, name: str, title: str, caption: str, data: pd.DataFrame, columns: Columns
) -> Iterator[Figure]:
    if not data.empty:
        count = len(list(cases(data, tables.keys)))
        draw = partial(_draw_choices, tables=tables, columns=columns)
        width = len(columns)
        shape = bar_shape(width * count, len(tables.policies), width, group=width)
        yield Figure(name, title, caption, data, draw, shape, "choices")


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
    grid = panels(canvas, [title for title, _ in split for _ in columns], columns=width, group=width)
    for index, (_, case) in enumerate(split):
        for axes, (column, (name, unit)) in zip(grid[width * index :], columns.items(), strict=False):
            for row, policy in enumerate(tables.policies):
                values = case.loc[case["policy"] == policy, column].to_numpy(float) / unit
                look = style[policy]
                axes.plot(values, np.full(len(values), row), look.marker, color=look.colour, alpha=0.6)
            axes.set_yticks(range(len(tables.policies)), tables.policies)
            axes.set_xlabel(name)
            within(axes.xaxis)
            few_ticks(axes)
    grid[0].set_ylim(len(tables.policies) - 0.5, -0.5)
