"""One plot: its data as a table, and a drawing of that table."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import matplotlib as mpl
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as Canvas

from prefine.emulator.report.style import SETTINGS

Format = Literal["svg", "pdf", "png"]
# Without a date in it, the same data give the same bytes.
_METADATA: dict[Format, dict[str, None]] = {
    "svg": {"Date": None},
    "pdf": {"CreationDate": None, "ModDate": None},
    "png": {"Software": None},
}
_CANVASES = {"svg": FigureCanvasSVG, "pdf": FigureCanvasPdf, "png": FigureCanvasAgg}
_PNG_DPI = 200


@dataclass(frozen=True)
class Figure:
    """A plot named ``name`` (also its files' name); ``draw`` puts ``data`` on an empty canvas of ``size_in``."""

    name: str
    title: str
    caption: str
    data: pd.DataFrame
    draw: Callable[[Canvas, pd.DataFrame], None]
    size_in: tuple[float, float] = (8.4, 3.3)

    def render(self, kind: Format) -> bytes:
        """The drawing as a file; the same data give the same bytes."""
        with mpl.rc_context(SETTINGS):
            canvas = Canvas(figsize=self.size_in, layout="constrained")
            _CANVASES[kind](canvas)
            self.draw(canvas, self.data)
            buffer = io.BytesIO()
            canvas.savefig(buffer, format=kind, dpi=_PNG_DPI, metadata=_METADATA[kind])
        return buffer.getvalue()
