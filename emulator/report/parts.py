"""Where energy and time went: stacks per policy, with what was predicted."""

from collections.abc import Iterator, Mapping
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Canvas

from prefine.emulator.report.data import Tables, cases
from prefine.emulator.report.figure import Figure
from prefine.emulator.report.style import PARTS, Part, bar, bar_size, few_ticks, legend_below, mark, panels

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


def figures(tables: Tables) -> Iterator[Figure]:
    """Energy by part and delay by part; nothing where no run finished."""
    if tables.done.empty:
        return
    yield _figure(
        tables,
        "energy-by-part",
        "Energy by part",
        "Mean over seeds; the diamond is the total that the plan predicted.",
        _means(tables, tables.done, [*ENERGY, "predicted_energy_j"]),
        partial(_draw, tables=tables, parts=ENERGY, predicted="predicted_energy_j", name="energy in J"),
    )
    yield _figure(
        tables,
        "delay-by-part",
        "Delay by part",
        "Mean over seeds. A fine-tuning round is split along its last device to arrive; waiting is what remains: for "
        "the channel, a deadline, or a round that was cut off. The diamond is the total that the plan predicted.",
        _means(tables, _delays(tables), [*DELAY, "predicted_delay_s"]),
        partial(_draw, tables=tables, parts=DELAY, predicted="predicted_delay_s", name="delay in s"),
    )


def _figure(tables: Tables, name: str, title: str, caption: str, data: pd.DataFrame, draw: "partial[None]") -> Figure:
    count = len(list(cases(data, tables.keys)))
    return Figure(name, title, caption, data, draw, bar_size(count, len(tables.policies)))


def _means(tables: Tables, runs: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    return runs.groupby([*tables.keys, "policy"], sort=False, dropna=False)[columns].mean().reset_index()


def _delays(tables: Tables) -> pd.DataFrame:
    """One row per finished run: its delay by part."""
    rounds = tables.rounds.assign(length_s=tables.rounds["end_s"] - tables.rounds["start_s"])
    tuning = rounds[rounds["stage"] == "finetune"].merge(_last_to_arrive(tables.devices), on=["run_id", "round"])
    split = pd.DataFrame(
        {
            "run_id": tuning["run_id"],
            "download_s": tuning["download_end_s"] - tuning["start_s"],
            "compute_s": tuning["compute_end_s"] - tuning["compute_start_s"],
            "upload_s": tuning["upload_end_s"] - tuning["upload_start_s"],
        }
    )
    pretrain = rounds[rounds["stage"] == "pretrain"].groupby("run_id")["length_s"].sum().rename("pretrain_s")
    sums = split.groupby("run_id").sum().join(pretrain, how="outer").fillna(0.0)
    delays = tables.done.merge(sums.reset_index(), on="run_id", how="left").fillna(dict.fromkeys(sums.columns, 0.0))
    known = delays[list(sums.columns)].sum(axis="columns")
    return delays.assign(waiting_s=np.maximum(delays["delay_s"] - known, 0.0))


def _last_to_arrive(devices: pd.DataFrame) -> pd.DataFrame:
    """The row of the device that delivered last, of each round in which any did."""
    arrived = devices[devices["outcome"] == "delivered"]
    return arrived.loc[arrived.groupby(["run_id", "round"], sort=False)["upload_end_s"].idxmax()]


def _draw(
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
    legend_below(canvas, grid, columns=6)
