"""What every channel is: the power gain of each device's link, a step function of virtual time."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from prefine.emulator.types import FloatArray, IntArray


class Steps(NamedTuple):
    """Consecutive steps of one device's gain: step i lasts until ``end_s[i]`` with linear power gain ``gain[i]``.

    Both have shape (n,), n >= 1; ``end_s`` is strictly increasing and may close with ``inf`` (the gain holds for good).
    """

    end_s: FloatArray
    gain: FloatArray


class Channel(Protocol):
    """Gain at any time, in any order of asking, without stepping: the same question always has the same answer.

    Implementations derive from this class for what it answers in terms of the rest.
    """

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

    def ahead(self, devices: IntArray, time_s: FloatArray, count: int) -> Steps:
        """`steps` of many ``devices`` (n,), each from its own instant of ``time_s`` (n,): ends and gains are (n, m).

        Rows with fewer steps than others are filled up with steps that last no time.
        Raises TraceEndError as `steps` does.
        """
        each = [self.steps(k, at_s, count) for k, at_s in zip(devices.tolist(), time_s.tolist(), strict=True)]
        width = max(len(one.gain) for one in each)
        end_s, gain = np.empty((len(each), width)), np.zeros((len(each), width))
        for row, one in enumerate(each):
            known = len(one.gain)
            end_s[row, :known], gain[row, :known] = one
            end_s[row, known:] = one.end_s[-1]
        return Steps(end_s, gain)


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
