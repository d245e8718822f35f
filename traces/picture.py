"""A trace as a picture: the gain of every device over time."""

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator

from prefine.emulator.channel.trace import Trace
from prefine.emulator.report.figure import COLOURS, Figure
from prefine.emulator.report.shape import Shape
from prefine.emulator.types import FloatArray

MOST_PANELS = 12
"""Devices that have a panel each; more share a map of colours."""
PIXELS = 600
_PANEL_IN, _ROW_IN, _MARGIN_IN, _TALLEST_IN = 0.75, 0.12, 0.8, 9.0


def picture(trace: Trace, name: str) -> Figure:
    """All devices of ``trace``: panels under each other, or one row each of a map where there are many.

    Time is cut into `PIXELS` stretches; a line shows each one's range, a map the middle of it. White is no signal.
    """
    devices, mapped = len(trace), len(trace) > MOST_PANELS
    height_in = min(_MARGIN_IN + devices * (_ROW_IN if mapped else _PANEL_IN), _TALLEST_IN)
    return Figure(
        "gain", f"Gain of {name}", "", _seen(trace), _map if mapped else _panels, Shape(height_in=height_in, free=False)
    )


def _seen(trace: Trace) -> pd.DataFrame:
    """Lowest, middle and highest gain of each device in each stretch of the longest trace; none after its end."""
    ends_s = [
        end_s if np.isfinite(end_s) else 2.0 * at_s[-1] for at_s, end_s in zip(trace.time_s, trace.end_s, strict=True)
    ]
    edge_s = np.linspace(0.0, max(ends_s) or 1.0, PIXELS + 1)
    columns = [
        _stretches(time_s, np.where(np.isneginf(gain_db), np.nan, gain_db), edge_s, end_s)
        for time_s, gain_db, end_s in zip(trace.time_s, trace.gain_db, trace.end_s, strict=True)
    ]
    return pd.concat(
        pd.DataFrame({"device": device, "time_s": edge_s[:-1], "low": low, "middle": middle, "high": high})
        for device, (low, middle, high) in enumerate(columns)
    )


def _stretches(
    time_s: FloatArray, gain_db: FloatArray, edge_s: FloatArray, end_s: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The range of the gains in each stretch and that in its middle, (n,); NaN where there is no signal at all."""
    at = np.searchsorted(time_s, edge_s, "right") - 1
    first, last = at[:-1], np.maximum(np.searchsorted(time_s, edge_s[1:], "left"), at[:-1] + 1)
    starts = np.column_stack((first, last)).ravel()
    padded = np.append(gain_db, np.nan)
    low, high = (over.reduceat(padded, starts)[::2] for over in (np.fmin, np.fmax))
    middle = gain_db[np.searchsorted(time_s, (edge_s[:-1] + edge_s[1:]) / 2.0, "right") - 1]
    over = edge_s[:-1] >= end_s
    return tuple(np.where(over, np.nan, each) for each in (low, middle, high))  # type: ignore[return-value]  # three


def _panels(canvas: Canvas, seen: pd.DataFrame) -> None:
    devices = list(seen.groupby("device"))
    panels = canvas.subplots(len(devices), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for axes, (device, one) in zip(panels, devices, strict=True):
        axes.fill_between(one["time_s"], one["low"], one["high"], step="post", color=COLOURS[0], alpha=0.3, linewidth=0)
        axes.step(one["time_s"], one["middle"], where="post", color=COLOURS[0], linewidth=0.8)
        axes.set_ylabel(f"{device}", rotation=0, ha="right", va="center")
    panels[-1].set_xlabel("time (s)")
    canvas.supylabel("device: gain (dB)", fontsize=mpl.rcParams["font.size"])


def _map(canvas: Canvas, seen: pd.DataFrame) -> None:
    axes = canvas.subplots()
    grid = seen.pivot_table(index="device", columns="time_s", values="middle", dropna=False)
    time_s = grid.columns.to_numpy()
    extent = (0.0, float(time_s[-1] + time_s[1]), len(grid) - 0.5, -0.5)
    drawn = axes.imshow(grid.to_numpy(), aspect="auto", extent=extent, cmap="viridis", interpolation="nearest")
    axes.grid(visible=False)
    axes.set(xlabel="time (s)", ylabel="device")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    canvas.colorbar(drawn, ax=axes, label="gain (dB)", fraction=0.05, pad=0.02)
