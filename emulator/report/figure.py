"""One plot: its data as a table, a drawing of that table, and how drawings look.

Colours are Okabe and Ito's, with a marker, a line style or a hatch besides, so that they can be told apart in grey.
"""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal, NamedTuple

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure as Canvas
from matplotlib.layout_engine import ConstrainedLayoutEngine

from prefine.emulator.options import FigureFormat, FigureWidth
from prefine.emulator.report.settled import settle
from prefine.emulator.report.shape import Shape

# Without a date in it, the same data give the same bytes.
_METADATA: dict[FigureFormat, dict[str, None]] = {
    "svg": {"Date": None},
    "pdf": {"CreationDate": None, "ModDate": None},
    "png": {"Software": None},
}
_BACKENDS: Mapping[FigureFormat, tuple[str, str]] = {
    "svg": ("backend_svg", "FigureCanvasSVG"),
    "pdf": ("backend_pdf", "FigureCanvasPdf"),
    "png": ("backend_agg", "FigureCanvasAgg"),
}
"""Where each format's canvas is: that of PDF loads a library of fonts, a tenth of a second."""

_PNG_DPI = 200
SCREEN_DPI = 100
_COORDINATES = re.compile(rb'(?: d| x| y)="[^"]*"')
_DECIMALS = re.compile(rb"(\.\d\d)\d+")

# Okabe & Ito (2008), without yellow, which is hard to see on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<")
LINES = ("-", "--", "-.", ":")

Topic = Literal["results", "choices", "bound"]
"""What a plot tells: how it went, what policies chose, or what the theory says of it."""

SETTINGS: Any = {  # matplotlib types its keys as one long Literal
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "hatch.linewidth": 0.5,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "lines.markersize": 4.5,
    "pdf.fonttype": 42,  # TrueType: publishers refuse matplotlib's own Type 3
    "svg.hashsalt": "prefine",
    "svg.fonttype": "path",
}


@dataclass(frozen=True)
class Figure:
    """A plot named ``name`` (also its files' name); ``draw`` puts ``data`` on an empty canvas of ``shape``."""

    name: str
    title: str
    caption: str
    data: pd.DataFrame
    draw: Callable[[Canvas, pd.DataFrame], None]
    shape: Shape = Shape()  # noqa: RUF009  # frozen
    topic: Topic = "results"

    def render(self, kind: FigureFormat, dpi: int = _PNG_DPI, width: FigureWidth = "page") -> bytes:
        """The drawing as a file; the same data give the same bytes. ``dpi`` is of PNG."""
        with mpl.rc_context():
            mpl.rcdefaults()  # whatever the user's matplotlibrc says
            mpl.rcParams.update(SETTINGS)
            canvas = Canvas(figsize=self.shape.size_in(width), dpi=dpi, layout="constrained")
            layout = ConstrainedLayoutEngine()
            module, name = _BACKENDS[kind]
            getattr(import_module(f"matplotlib.backends.{module}"), name)(canvas)
            self.draw(canvas, self.data)
            settle(canvas)
            layout.execute(canvas)
            canvas.set_layout_engine(None)  # else savefig would draw everything once more before it draws
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
