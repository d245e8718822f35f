"""Axes that place their ticks and measure their labels once for each place and size, and not a dozen times.

matplotlib's layout asks an axis for its extent on behalf of the axis, its label, the title and both spines, and each
time ticks are placed and their labels measured anew. Where a method below is gone, only the time is lost.
"""

from collections.abc import Callable
from typing import Any

from matplotlib.axis import Axis
from matplotlib.figure import Figure as Canvas

_QUESTIONS = ("_update_ticks", "_get_ticklabel_bboxes", "_update_label_position", "get_tightbbox")


def settle(canvas: Canvas) -> None:
    """Let the axes of ``canvas`` remember their last answers; from here on, only places and sizes may change."""
    for axes in canvas.axes:
        for axis in (axes.xaxis, axes.yaxis):
            memory = _Memory(axis)
            for name in _QUESTIONS:
                if hasattr(axis, name):
                    setattr(axis, name, memory.of(name, getattr(axis, name)))


class _Memory:
    """The last answer of ``axis`` to each question, forgotten when it is moved."""

    def __init__(self, axis: Axis) -> None:
        self._axis = axis
        self._place: tuple[object, ...] = ()
        self._answers: dict[str, tuple[object, object, Any]] = {}

    def of(self, name: str, ask: Callable[..., Any]) -> Callable[..., Any]:
        """``ask``, asked only once for the same place and the same words."""

        def answer(*words: object, **more: object) -> Any:
            self._look_around()
            known = self._answers.get(name)
            if known is None or known[:2] != (words, more):
                known = self._answers[name] = (words, more, ask(*words, **more))
            return known[2]

        return answer

    def _look_around(self) -> None:
        bounds: tuple[float, ...] = self._axis.axes.bbox.bounds
        place = (*bounds, *self._axis.get_view_interval())
        if place != self._place:
            self._place = place
            self._answers.clear()
