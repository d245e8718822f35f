"""A few fine-tuning rounds as they happened: who downloaded, computed and uploaded when, and for whom all waited."""

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import pandas as pd
from matplotlib.figure import Figure as Canvas

from prefine.emulator.report.data import Tables
from prefine.emulator.report.figure import Figure
from prefine.emulator.report.style import PARTS, bar, legend_below, panels

ROUNDS = 3
MAX_DEVICES = 12
MAX_POLICIES = 6


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
    """One timeline: for each policy that fine-tunes, the first rounds of its first finished run."""
    shown = [group for _, group in _first_runs(tables).groupby("policy", sort=False)][:MAX_POLICIES]
    if not shown:
        return
    data = pd.concat(shown, ignore_index=True)
    rows = -(-len(shown) // 2)
    yield Figure(
        name="timeline",
        title=f"Timeline of the first {ROUNDS} fine-tuning rounds",
        caption="First seed (and first varied scenario) of each policy, from the start of its first fine-tuning round; "
        f"at most {MAX_POLICIES} policies and {MAX_DEVICES} devices. The line is the barrier: the round ends when the "
        "last device has arrived, and a cross marks an update that did not.",
        data=data,
        draw=partial(_draw, policies=list(data["policy"].drop_duplicates())),
        size_in=(8.4, (1.0 + 0.17 * data["device"].nunique()) * rows + 0.5),
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
    return pd.concat([devices[["policy", "run_id", "round", "device"]], shifted, devices[["outcome"]]], axis="columns")


def _draw(canvas: Canvas, data: pd.DataFrame, policies: list[str]) -> None:
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
        axes.plot(last, lost.loc[last.index, "device"], "X", color="black", markersize=6, label="did not arrive")
        axes.set_xlabel("time in s")
        axes.grid(visible=False, axis="y")
        axes.set_yticks(sorted(rows["device"].unique()))
    grid[0].set_ylabel("device")
    if len(grid) > 2:
        grid[2].set_ylabel("device")
    grid[0].invert_yaxis()
    legend_below(canvas, grid)
