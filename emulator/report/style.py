"""How plots look: Okabe and Ito's colours, a marker and a line style besides, so that print and any eye can tell."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

# Okabe & Ito (2008), without yellow, which is hard to see on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<")
LINES = ("-", "--", "-.", ":")

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
    "svg.hashsalt": "prefine",
    "svg.fonttype": "path",
}


class Look(NamedTuple):
    """One policy's colour, marker and line style."""

    colour: str
    marker: str
    line: str


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
}


def looks(policies: Sequence[str]) -> dict[str, Look]:
    """A look for each policy, all different, by order."""
    return {
        policy: Look(COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)], LINES[i // len(COLOURS) % len(LINES)])
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
