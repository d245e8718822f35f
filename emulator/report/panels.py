"""The axes of a plot: panels side by side, their legend, their scales, and how far these may reach."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure as Canvas
from matplotlib.legend_handler import HandlerTuple
from matplotlib.ticker import LogFormatter, MaxNLocator
from numpy.typing import ArrayLike

from prefine.emulator.report.figure import Part
from prefine.emulator.report.shape import across

_LETTER_EM = 0.62
_HANDLE_EM = 5.0
"""Room in a legend for a letter of DejaVu Sans, and for the sign with the space around it."""

_MOST_TICKS = 7
_TICKS_PER_IN = 1.8

Same = Sequence[tuple[str, ...]]
"""Policies whose curves lie upon each other, by groups."""


def panels(
    canvas: Canvas, titles: Sequence[str], columns: int = 3, *, sharey: bool = True, group: int = 1
) -> list[Axes]:
    """One axes per title, ``columns`` to a row at most and as many as the width has room for (`Shape`)."""
    width = across(canvas.get_figwidth(), min(columns, len(titles)), group)
    rows = -(-len(titles) // width)
    grid = canvas.subplots(rows, width, squeeze=False, sharey=sharey).ravel()
    for axes, title in zip(grid, titles, strict=False):
        axes.set_title(title)
    for axes in grid[len(titles) :]:
        axes.remove()
    return list(grid[: len(titles)])


def name_rows(grid: Sequence[Axes], name: str) -> None:
    """``name`` beside the first panel of each row."""
    for axes in grid:
        place = axes.get_subplotspec()
        if place is not None and place.is_first_col():
            axes.set_ylabel(name)


def legend_below(canvas: Canvas, grid: Sequence[Axes], columns: int = 6, same: Same = ()) -> None:
    """One legend for all panels, under them; what several panels show is named once, and so is what is the ``same``."""
    handles: dict[str, Any] = {
        name: handle for axes in grid for handle, name in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    if not handles:
        return
    names: dict[str, Any] = {}
    groups = {name: group for group in same for name in group}
    for name in handles:
        group = groups.get(name, (name,))
        names[" = ".join(group)] = handles[name] if len(group) == 1 else tuple(handles[each] for each in group)
    room_em = canvas.get_figwidth() * 72.0 / float(rcParams["font.size"])
    canvas.legend(
        list(names.values()),
        list(names),
        loc="outside lower center",
        ncols=evenly([_LETTER_EM * len(name) + _HANDLE_EM for name in names], columns, room_em),
        handler_map={tuple: HandlerTuple(ndivide=None, pad=0.3)},
    )


def evenly(widths: Sequence[float], most: int, room: float) -> int:
    """How many columns, up to ``most``, entries of these ``widths`` stand in, with none left alone in the last row.

    >>> [evenly([1.0] * count, most, 9.0) for count, most in ((4, 6), (6, 5), (4, 3), (5, 4), (3, 2), (1, 6))]
    [4, 3, 2, 3, 2, 1]
    >>> evenly([4.0, 4.0, 1.0, 1.0], 6, 9.0)
    2
    """
    fits = next(
        (tried for tried in range(min(len(widths), most), 1, -1) if _width_of(widths, tried) <= room), 1
    )  # fmt: skip
    rows = -(-len(widths) // fits)
    fewest = -(-len(widths) // rows)
    return next((tried for tried in range(fewest, 1, -1) if len(widths) % tried != 1), fewest)


def _width_of(widths: Sequence[float], columns: int) -> float:
    """The width of a legend, which is filled column by column, the first ones first with one entry more."""
    rows, longer = divmod(len(widths), columns)
    ends = np.cumsum([0] + [rows + 1] * longer + [rows] * (columns - longer))
    return sum(max(widths[start:end]) for start, end in pairwise(ends))


class _Plain(LogFormatter):
    """The numbers LogFormatter would label, written plainly: 0.02 instead of 2e-02."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return f"{x:g}" if super().__call__(x, pos) else ""


def logarithmic(axis: Axis) -> None:
    """A logarithmic scale with plain numbers."""
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})  # type: ignore[attr-defined]  # x or y; not in the stubs
    for formatter in (axis.set_major_formatter, axis.set_minor_formatter):
        formatter(_Plain(labelOnlyBase=False, minor_thresholds=(1.5, 0.4)))


def within(axis: Axis, low: float = 0.0, high: float = np.inf) -> None:
    """Let ``axis`` show nothing below ``low`` and above ``high``, which its quantity cannot be."""
    start, end = sorted(axis.get_view_interval())
    axis.axes.set(**{f"{axis.axis_name}lim": (max(start, low), min(end, high))})  # type: ignore[attr-defined]  # as above


def accuracy(axis: Axis, least: float) -> None:
    """``axis`` shows accuracies down to ``least``: 0 to 1, or below where one is a coefficient of determination."""
    within(axis, 0.0 if least >= 0.0 else -np.inf, 1.0)


def few_ticks(axes: Axes) -> None:
    """Room between the numbers under a narrow panel."""
    place, figure = axes.get_subplotspec(), axes.get_figure(root=True)
    if place is not None and figure is not None:
        width_in = figure.get_figwidth() / place.get_gridspec().ncols
        axes.xaxis.set_major_locator(MaxNLocator(min(_MOST_TICKS, int(_TICKS_PER_IN * width_in))))


def bar(axes: Axes, rows: ArrayLike, left: ArrayLike, width: ArrayLike, part: Part, height: float = 0.65) -> None:
    """Horizontal bars of one part, from ``left`` on, one per row; a part of no width at all is not in the legend."""
    widths = np.asarray(width, dtype=np.float64)
    axes.barh(
        np.asarray(rows),
        widths,
        left=np.asarray(left, dtype=np.float64),
        height=height,
        color=part.colour,
        hatch=part.hatch,
        edgecolor="white",
        linewidth=0.4,
        label=part.name if (widths > 0.0).any() else "_",
    )


def mark(axes: Axes, x: ArrayLike, rows: ArrayLike, name: str, *, filled: bool = False) -> None:
    """Diamonds on horizontal bars, in front of the frame."""
    face = "black" if filled else "white"
    axes.plot(x, rows, "D", color="black", markerfacecolor=face, label=name, clip_on=False, zorder=3)
