"""Means with what lies around them: the interval of three seeds and more, and of two seeds the two values themselves.

Of two values the interval is 13 times as wide as they are apart, which tells nobody anything.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray

from prefine.emulator.analysis.statistics import both
from prefine.emulator.report.figure import Look
from prefine.emulator.report.panels import Same, accuracy, logarithmic, within

Values = NDArray[np.float64]

FEW = 3
"""From so many seeds on an interval is shown."""

_BAND_ROOM = 0.3
_DASH = 4.0
_SAME = 1e-6
"""Curves this near to each other, relatively, cannot be told apart."""


class Curve(NamedTuple):
    """A policy's means over ``seeds`` seeds along ``x``, with what is shown around them, all (n,)."""

    policy: str
    x: Values
    mean: Values
    low: Values
    high: Values
    seeds: int

    @classmethod
    def of(cls, policy: str, x: ArrayLike, mean: Values, half_width: Values, seeds: int) -> "Curve":
        """Of means and the half-widths of their 95 % intervals."""
        low, high = around(mean, half_width, seeds)
        return cls(policy, np.asarray(x), mean, low, high, seeds)


def around(mean: Values, half_width: Values, seeds: int) -> tuple[Values, Values]:
    """What is shown around each mean: the ends of its interval, or the values of two seeds."""
    return both(mean, half_width) if seeds < FEW else (mean - half_width, mean + half_width)


def draw_curves(
    grid: Sequence[Axes],
    curves: Sequence[Sequence[Curve]],
    look: Mapping[str, Look],
    *,
    mark_every: int = 1,
    of_accuracy: bool = False,
    log: bool = False,
) -> Same:
    """Draw the curves of each panel with what is around them; answers whose lie upon each other, for the legend.

    Those are drawn in turns, a dash of each. They are ``of_accuracy``, or else of something that is never below zero.
    """
    same = coinciding(curves)
    for axes, panel in zip(grid, curves, strict=True):
        for curve in panel:
            own, every = look[curve.policy], (_start(curve.policy, look, mark_every), mark_every)
            axes.plot(
                curve.x, curve.mean, linestyle=_line(curve.policy, own, same), color=own.colour, marker=own.marker,
                markevery=every, label=curve.policy,
            )  # fmt: skip
            if curve.seeds == FEW - 1:
                _points(axes, curve, own, slice(*every[:1], None, mark_every))
        if log and any((curve.mean > 0.0).any() for curve in panel):
            logarithmic(axes.yaxis)
    _bands(grid, curves, look, of_accuracy=of_accuracy)
    return same


def _start(policy: str, look: Mapping[str, Look], mark_every: int) -> int:
    """At which of its points a curve has its first mark: so that no mark hides another's."""
    return list(look).index(policy) * mark_every // len(look)


def _line(policy: str, own: Look, same: Same) -> str | tuple[float, tuple[float, float]]:
    for group in same:
        if policy in group:
            return group.index(policy) * _DASH, (_DASH, (len(group) - 1) * _DASH)
    return own.line


def _points(axes: Axes, curve: Curve, own: Look, chosen: slice) -> None:
    """The values of both seeds, hollow."""
    for values in (curve.low, curve.high):
        axes.plot(
            curve.x[chosen], values[chosen], own.marker, color=own.colour, markersize=2.5, markerfacecolor="white",
            markeredgewidth=0.7,
        )  # fmt: skip


def coinciding(curves: Sequence[Sequence[Curve]]) -> Same:
    """The policies whose curves are the same in every panel, two at least in each group."""
    of: dict[str, dict[int, Curve]] = {}
    for number, panel in enumerate(curves):
        for curve in panel:
            of.setdefault(curve.policy, {})[number] = curve
    groups: list[list[str]] = []
    for policy, mine in of.items():
        found = next((group for group in groups if _equal(of[group[0]], mine)), None)
        if found is None:
            groups.append([policy])
        else:
            found.append(policy)
    return [tuple(group) for group in groups if len(group) > 1]


def _equal(one: Mapping[int, Curve], other: Mapping[int, Curve]) -> bool:
    return one.keys() == other.keys() and all(
        len(curve.x) == len(other[panel].x)
        and bool((curve.x == other[panel].x).all() or _close(curve.x, other[panel].x))
        and _close(curve.mean, other[panel].mean)
        for panel, curve in one.items()
    )


def _close(one: Values, other: Values) -> bool:
    return one.dtype.kind in "iuf" and np.allclose(one, other, rtol=_SAME, atol=0.0, equal_nan=True)


def _bands(
    grid: Sequence[Axes], curves: Sequence[Sequence[Curve]], look: Mapping[str, Look], *, of_accuracy: bool
) -> None:
    """Shade intervals behind the lines already drawn, which keep the say over the height of the panels.

    Three seeds have intervals so wide that they would press every line flat; what sticks out is cut.
    """
    lines = grid[0].get_ylim()
    for axes, panel in zip(grid, curves, strict=True):
        for curve in panel:
            if curve.seeds >= FEW:
                colour = look[curve.policy].colour
                axes.fill_between(curve.x, curve.low, curve.high, color=colour, alpha=0.15, linewidth=0)
    transform = grid[0].yaxis.get_transform()
    (bottom, top), (lowest, highest) = transform.transform(lines), transform.transform(grid[0].get_ylim())
    room = _BAND_ROOM * (top - bottom)
    limits = [max(lowest, bottom - room), min(highest, top + room)]
    grid[0].set_ylim(*transform.inverted().transform(limits))
    if of_accuracy:
        means = [curve.mean for panel in curves for curve in panel]
        accuracy(grid[0].yaxis, float(np.nanmin(np.concatenate(means))))
    else:
        within(grid[0].yaxis)


def interval(axes: Axes, mean: float, row: float, half_width: float, seeds: int, own: Look) -> None:
    """A mean on a row of its own, with its interval or the values of two seeds beside it."""
    if seeds >= FEW:
        axes.errorbar(mean, row, xerr=np.nan_to_num(half_width), fmt=own.marker, color=own.colour, capsize=3)
        return
    axes.plot(mean, row, own.marker, color=own.colour)
    if seeds == FEW - 1:
        axes.plot(both(mean, half_width), [row, row], "|", color=own.colour, markersize=7)
