"""What every channel is: the power gain of each device's link, a step function of virtual time; and one that stays.

The gain g(t) is received over sent power, linear, so the signal-to-noise ratio at power p in band W is p g / (N0 W).
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from prefine.emulator.types import FloatArray, IntArray, frozen_array


class Steps(NamedTuple):
    """Consecutive steps of one device's gain: step i lasts until ``end_s[i]`` with linear power gain ``gain[i]``.

    Both have shape (n,), n >= 1; ``end_s`` is strictly increasing and may close with ``inf`` (the gain holds for good).
    """

    end_s: FloatArray
    gain: FloatArray


class Channel(ABC):
    """The gains g_k(t) >= 0 of K devices for all t >= 0: right-continuous step functions, finite and known in advance.

    Contract, for every device k and every time t:

    - The same question always has the same answer, at any time and in any order of asking.
    - ``gain(k, t)`` is ``steps(k, t, n).gain[0]``: a new step's gain holds from its very start.
    - Walking on is consistent: ``steps`` asked from ``end_s[i]`` begins with step i + 1.
    - Each device has its own randomness: adding a device leaves the others as they were.

    The clock integrates rates over these steps exactly, so a transfer is as exact as its steps.
    """

    @property
    def undisturbed(self) -> "Channel":
        """The same without what disturbs the uplink alone."""
        return self

    @abstractmethod
    def gain(self, device: int, time_s: float) -> float:
        """Linear power gain of ``device`` at ``time_s`` >= 0.

        Raises TraceEndError where a trace has ended and its scenario says so.
        """

    @abstractmethod
    def steps(self, device: int, start_s: float, count: int) -> Steps:
        """The step that holds at ``start_s`` and up to ``count - 1`` following ones; ``end_s[0] > start_s``.

        Fewer than ``count`` come back where that is cheaper, never none; only the last may end at ``inf``.
        Raises TraceEndError where a trace has ended at ``start_s`` and its scenario says so.
        """

    def ahead(self, devices: IntArray, time_s: FloatArray, count: int) -> Steps:
        """`steps` of ``devices`` (n,), none twice, each from its own instant of ``time_s`` (n,): all are (n, m).

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
        """The instants in seconds, start_s + i step_s, shape (count,)."""
        return self.start_s + self.step_s * np.arange(self.count, dtype=np.float64)


class Process(Protocol):
    """A factor of the gain as a pure function of continuous time; `SampledChannel` makes steps of it.

    As of a channel, the same instant always has the same value, and each device has its own randomness.
    """

    def sample(self, device: int, grid: Grid) -> FloatArray:
        """Linear power gain at the instants of ``grid``, shape (count,)."""
        ...


ROW = 16
"""Instants in a row, and rows in a grid, of a `RowProcess`."""


@runtime_checkable
class RowProcess(Process, Protocol):
    """A process that can be had by rows: of a grid of `ROW` * `ROW` instants, `ROW` at a time, for many devices."""

    def rows(self, devices: IntArray, start_s: FloatArray, step_s: float, which: IntArray, row: IntArray) -> FloatArray:
        """Row ``row`` (m,) of the grids that begin at ``start_s`` (n,), of ``devices[which]``, ``which`` (m,).

        Shape (m, `ROW`), to the last bit what `sample` gives on the whole grid.
        """
        ...


class StaticChannel(Channel):
    """One linear gain per device (K,) for good; also a `Process`, so a factor that does not vary."""

    def __init__(self, gain: FloatArray) -> None:
        self._gain = frozen_array(gain)
        self._for_ever = frozen_array(np.full((len(gain), 1), np.inf))

    @property
    def gains(self) -> FloatArray:
        """Of all devices, (K,)."""
        return self._gain

    def gain(self, device: int, time_s: float) -> float:
        """The gain of ``device``, bit for bit as given."""
        return float(self._gain[device])

    def steps(self, device: int, start_s: float, count: int) -> Steps:
        """One step without end, whatever ``start_s`` and ``count``."""
        return Steps(self._for_ever[0], self._gain[device : device + 1])

    def ahead(self, devices: IntArray, time_s: FloatArray, count: int) -> Steps:
        """One step each, without end."""
        return Steps(self._for_ever[: len(devices)], self._gain[devices, None])

    def sample(self, device: int, grid: Grid) -> FloatArray:
        """The same gain at every instant."""
        return np.full(grid.count, self._gain[device])
