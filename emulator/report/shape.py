"""How large a drawing is: the widths that journals print, and the rows of panels that fit into them."""

from collections.abc import Mapping
from dataclasses import dataclass

from prefine.emulator.options import FigureWidth

WIDTHS_IN: Mapping[FigureWidth, float] = {"column": 3.5, "page": 7.16}
"""Of a column and of a page with two of them (IEEE, Preparation of Graphics); letters are 8 points on both."""

_LEAST_PANEL_IN = 1.7
_LEGEND_IN = 0.4

_ALONE = 0.62
_BESIDE_OTHERS = 0.95
"""How many times as high as wide a panel of curves may be, one to a row and several."""


def across(width_in: float, columns: int, group: int = 1) -> int:
    """How many panels stand side by side: as many as fit, ``columns`` at most, no ``group`` torn apart at random.

    >>> [across(7.16, 3), across(3.5, 3), across(3.5, 3, group=3), across(3.5, 4, group=2)]
    [3, 2, 1, 2]
    """
    most = max(1, min(columns, int(width_in / _LEAST_PANEL_IN)))
    return next(count for count in range(most, 0, -1) if count % group == 0 or group % count == 0)


@dataclass(frozen=True)
class Shape:
    """So many ``panels``, ``columns`` to a row at most, each row ``height_in``; every ``group`` belongs together.

    Rows of bars are as high as they need to be, panels of curves (``free``) no higher than looks well.
    """

    panels: int = 1
    columns: int = 3
    height_in: float = 2.6
    group: int = 1
    free: bool = True

    def size_in(self, width: FigureWidth) -> tuple[float, float]:
        """Width and height in inches."""
        width_in = WIDTHS_IN[width]
        beside = across(width_in, min(self.columns, self.panels), self.group)
        ratio = _ALONE if beside == 1 else _BESIDE_OTHERS
        height_in = min(self.height_in, ratio * width_in / beside) if self.free else self.height_in
        return width_in, height_in * -(-self.panels // beside) + _LEGEND_IN


def bar_shape(panels: int, bars: int, columns: int = 3, group: int = 1) -> Shape:
    """Panels of ``bars`` horizontal bars."""
    return Shape(panels, columns, 0.75 + 0.24 * bars, group, free=False)
