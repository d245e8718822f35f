"""One plot: its data as a table, a drawing of that table, and how drawings look.

Colours are Okabe and Ito's, with a marker, a line style or a hatch besides, so that they can be told apart in grey.
"""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import LogFormatter, MaxNLocator
from numpy.typing import ArrayLike

from prefine.emulator.options import FigureFormat

# Without a date in it, the same data give the same bytes.
_METADATA: dict[FigureFormat, dict[str, None]] = {
    "svg": {"Date": None},
    "pdf": {"CreationDate": None, "ModDate": None},
    "png": {"Software": None},
}
_CANVASES = {"svg": FigureCanvasSVG, "pdf": FigureCanvasPdf, "png": FigureCanvasAgg}
_PNG_DPI = 200
SCREEN_DPI = 100
_COORDINATES = re.compile(rb'(?: d| x| y)="[^"]*"')
_DECIMALS = re.compile(rb"(\.\d\d)\d+")

# Okabe & Ito (2008), without yellow, which is hard to see on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<")
LINES = ("-", "--", "-.", ":")

_BAND_ROOM = 0.3

SETTINGS: Any = {  # matplotlib types its keys as one long Literal
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "hatch.linewidth": 0.5,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 5,
    "pdf.fonttype": 42,  # TrueType: publishers refuse matplotlib's own Type 3
    "svg.hashsalt": "prefine",
    "svg.fonttype": "path",
}


@dataclass(frozen=True)
class Figure:
    """A plot named ``name`` (also its files' name); ``draw`` puts ``data`` on an empty canvas of ``size_in``."""

    name: str
    title: str
    caption: str
    data: pd.DataFrame
    draw: Callable[[Canvas, pd.DataFrame], None]
    size_in: tuple[float, float] = (8.4, 3.3)

    def render(self, kind: FigureFormat, dpi: int = _PNG_DPI) -> bytes:
        """The drawing as a file; the same data give the same bytes. ``dpi`` is of PNG."""
        with mpl.rc_context():
            mpl.rcdefaults()  # whatever the user's matplotlibrc says
            mpl.rcParams.update(SETTINGS)
            canvas = Canvas(figsize=self.size_in, layout="constrained")
            _CANVASES[kind](canvas)
            self.draw(canvas, self.data)
            buffer = io.BytesIO()
            canvas.savefig(buffer, format=kind, dpi=dpi, metadata=_METADATA[kind])
        drawn = buffer.getvalue()
        return drawn if kind != "svg" else _COORDINATES.sub(_shortened, drawn)


def _shortened(coordinates: re.Match[bytes]) -> bytes:
    """To a hundredth of a point, which nobody can see."""
    return _DECIMALS.sub(rb"\1", coordinates[0])


class Look(NamedTuple):
    """One policy's colour, marker and line style."""

    colour: str
    marker: str
    line: str


class Band(NamedTuple):
    """An interval along a line, to be shaded on ``axes``."""

    axes: Axes
    x: ArrayLike
    low: ArrayLike
    high: ArrayLike
    colour: str


class Part(NamedTuple):
    """One part of a stack: its name for the reader, colour and hatch."""

    name: str
    colour: str
    hatch: str


PARTS: Mapping[str, Part] = {
    "server": Part("server", "#0072B2", ""),
    "download": Part("download", "#CC79A7", "xx"),
    "compute": Part("compute on devices", "#E69F00", "//"),
    "upload": Part("upload", "#009E73", ".."),
    "waiting": Part("waiting", "#e8e8e8", ""),
    "pretrain": Part("pre-training", "#0072B2", ""),
    "finetune": Part("fine-tuning", "#E69F00", "//"),
}


def looks(policies: Sequence[str]) -> dict[str, Look]:
    """A look for each policy, all different, by order."""
    return {
        policy: Look(COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)], LINES[i % len(LINES)])
        for i, policy in enumerate(policies)
    }


def panels(canvas: Canvas, titles: Sequence[str], columns: int = 3, sharey: bool = True) -> list[Axes]:
    """One axes per title, ``columns`` to a row."""
    width = min(columns, len(titles))
    rows = -(-len(titles) // width)
    grid = canvas.subplots(rows, width, squeeze=False, sharey=sharey).ravel()
    for axes, title in zip(grid, titles, strict=False):
        axes.set_title(title)
    for axes in grid[len(titles) :]:
        axes.remove()
    return list(grid[: len(titles)])


def size(panel_count: int, columns: int = 3, height: float = 2.8) -> tuple[float, float]:
    """Inches for a figure of ``panel_count`` panels: as wide as the page."""
    rows = -(-panel_count // columns)
    return (8.4, height * rows + 0.5)


def legend_below(canvas: Canvas, grid: Sequence[Axes], columns: int = 5) -> None:
    """One legend for all panels, under them; what several panels show is named once."""
    handles = {name: handle for axes in grid for handle, name in zip(*axes.get_legend_handles_labels(), strict=True)}
    canvas.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=columns)


def bar_size(panel_count: int, bars: int) -> tuple[float, float]:
    """Inches for panels of ``bars`` horizontal bars, three to a row."""
    return size(panel_count, height=0.9 + 0.28 * bars)


def bar(axes: Axes, rows: ArrayLike, left: ArrayLike, width: ArrayLike, part: Part, height: float = 0.65) -> None:
    """Horizontal bars of one part, from ``left`` on, one per row."""
    axes.barh(
        np.asarray(rows),
        np.asarray(width, dtype=np.float64),
        left=np.asarray(left, dtype=np.float64),
        height=height,
        color=part.colour,
        hatch=part.hatch,
        edgecolor="white",
        linewidth=0.4,
        label=part.name,
    )


class _Plain(LogFormatter):
    """The numbers LogFormatter would label, written plainly: 0.02 instead of 2e-02."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return f"{x:g}" if super().__call__(x, pos) else ""


def logarithmic(axis: Axis) -> None:
    """A logarithmic scale with plain numbers."""
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})  # type: ignore[attr-defined]  # x or y; not in the stubs
    for formatter in (axis.set_major_formatter, axis.set_minor_formatter):
        formatter(_Plain(labelOnlyBase=False, minor_thresholds=(1.5, 0.4)))


def draw_bands(grid: Sequence[Axes], bands: Sequence[Band], accuracy: bool = False) -> None:
    """Shade intervals behind the lines already drawn, which keep the say over the height of the panels.

    Two or three seeds have intervals so wide that they would press every line flat; what sticks out is cut, and so is
    what no ``accuracy`` can be: above one, and below zero unless a line (a coefficient of determination) is there.
    """
    lines = grid[0].get_ylim()
    for axes, x, low, high, colour in bands:
        axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
    transform = grid[0].yaxis.get_transform()
    (bottom, top), (lowest, highest) = transform.transform(lines), transform.transform(grid[0].get_ylim())
    room = _BAND_ROOM * (top - bottom)
    limits = [max(lowest, bottom - room), min(highest, top + room)]
    low, high = transform.inverted().transform(limits)
    if accuracy:
        drawn = np.concatenate([np.asarray(line.get_ydata(), float) for axes in grid for line in axes.get_lines()])
        low, high = (max(low, 0.0) if np.nanmin(drawn) >= 0.0 else low), min(high, 1.0)
    grid[0].set_ylim(low, high)


def few_ticks(axes: Axes) -> None:
    """Room between the numbers under a narrow panel."""
    axes.xaxis.set_major_locator(MaxNLocator(5))


def mark(axes: Axes, x: ArrayLike, rows: ArrayLike, name: str, *, filled: bool = False) -> None:
    """Diamonds on horizontal bars, in front of the frame."""
    face = "black" if filled else "white"
    axes.plot(x, rows, "D", color="black", markerfacecolor=face, label=name, clip_on=False, zorder=3)
