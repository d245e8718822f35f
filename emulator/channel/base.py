"""What every channel is: the power gain of each device's link, a step function of virtual time."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from emulator.types import FloatArray


class Steps(NamedTuple):
    """Consecutive steps of one device's gain: step i lasts until ``end_s[i]`` with linear power gain ``gain[i]``.

    Both have shape (n,), n >= 1; ``end_s`` is strictly increasing and may close with ``inf`` (the gain holds for good).
    """

    end_s: FloatArray
    gain: FloatArray


class Channel(Protocol):
    """Gain at any time, in any order of asking, without stepping: the same question always has the same answer."""

    def gain(self, device: int, time_s: float) -> float:
        """Linear power gain of ``device`` at ``time_s`` >= 0. A new step's gain holds from its very start.

        Raises TraceEndError where a trace has ended and its scenario says so.
        """
        ...

    def steps(self, device: int, start_s: float, count: int) -> Steps:
        """The step that holds at ``start_s`` and up to ``count - 1`` following ones; ``end_s[0] > start_s``.

        Fewer than ``count`` come back where that is cheaper, never none.
        Raises TraceEndError where a trace has ended at ``start_s`` and its scenario says so.
        """
        ...


@dataclass(frozen=True)
class Grid:
    """``count`` evenly spaced instants from ``start_s``, ``step_s`` apart."""

    start_s: float
    step_s: float
    count: int

    def times(self) -> FloatArray:
        """The instants, shape (count,)."""
        return self.start_s + self.step_s * np.arange(self.count, dtype=np.float64)


class Process(Protocol):
    """A factor of the gain as a pure function of continuous time; `SampledChannel` makes steps of it."""

    def sample(self, device: int, grid: Grid) -> FloatArray:
        """Linear power gain at the instants of ``grid``, shape (count,)."""
        ...
