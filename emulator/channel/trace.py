"""A measured or synthetic gain over time, and its replay."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from prefine.emulator.channel.base import Channel, Steps
from prefine.emulator.errors import TraceEndError
from prefine.emulator.types import FloatArray, IntArray, frozen_array


@dataclass(frozen=True)
class Trace:
    """What a canonical trace file says: per device the times its gain changes, the gains, and where the trace ends.

    ``time_s[d]`` (n_d,) rises strictly from 0, ``gain_db[d]`` (n_d,) holds from there to the next time, the last one to
    ``end_s[d]``, which is ``inf`` where a single row holds for good. ``provenance`` is the header comment's lines.
    """

    time_s: tuple[FloatArray, ...]
    gain_db: tuple[FloatArray, ...]
    end_s: tuple[float, ...]
    source: str = ""
    sha256: str = ""
    provenance: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.time_s)


def natural_end_s(time_s: FloatArray) -> float:
    """Where a device's trace ends if nothing says so: its last row lasts as long as the one before it."""
    return float(2.0 * time_s[-1] - time_s[-2]) if len(time_s) > 1 else float("inf")


class TraceChannel(Channel):
    """Device k replays column k modulo the trace's devices, from ``start_s[k]`` into it.

    After the end it starts over (``wrap``), keeps the last gain (``hold``), or raises TraceEndError (``error``).
    """

    def __init__(self, trace: Trace, start_s: FloatArray, on_end: Literal["wrap", "hold", "error"]) -> None:
        self._columns = [_Column(trace, k % len(trace), float(start), on_end) for k, start in enumerate(start_s)]

    def gain(self, device: int, time_s: float) -> float:
        """Linear power gain at ``time_s``."""
        return self._columns[device].gain(time_s)

    def steps(self, device: int, start_s: float, count: int) -> Steps:
        """The step at ``start_s`` and up to ``count - 1`` following ones."""
        return self._columns[device].steps(start_s, count)


class _Column:
    """One device's replay. Its steps are numbered on through the repetitions: step j is row j mod n of lap j div n."""

    def __init__(self, trace: Trace, column: int, start_s: float, on_end: str) -> None:
        self._where = f"{trace.source}: device {column}"
        self._row_s = trace.time_s[column]
        self._gain = frozen_array(10.0 ** (trace.gain_db[column] / 10.0))
        self._end_s = trace.end_s[column]
        self._on_end = "hold" if np.isinf(self._end_s) else on_end
        self._start_s = start_s % self._end_s if self._on_end == "wrap" else start_s

    def gain(self, time_s: float) -> float:
        return float(self._gain[self._step(time_s) % len(self._gain)])

    def steps(self, start_s: float, count: int) -> Steps:
        first = self._step(start_s)
        last = first + count if self._on_end == "wrap" else min(first + count, len(self._row_s))
        step = np.arange(first, last)
        end_s = self._begin_s(step + 1)
        lasting = np.concatenate(([True], end_s[1:] > end_s[:-1]))  # far out, a short step can round to nothing
        return Steps(end_s[lasting], self._gain[step[lasting] % len(self._gain)])

    def _step(self, time_s: float) -> int:
        """The last step that begins at or before ``time_s``; corrected for what the division rounded away."""
        period_s = self._end_s if self._on_end == "wrap" else np.inf
        lap, local_s = divmod(time_s + self._start_s, period_s)
        step = int(lap) * len(self._row_s) + max(int(np.searchsorted(self._row_s, local_s, "right")) - 1, 0)
        while step > 0 and self._begins(step) > time_s:
            step -= 1
        while self._begins(step + 1) <= time_s:
            step += 1
            if self._on_end == "error" and step == len(self._row_s):
                raise TraceEndError(
                    f"{self._where} ended at {self._end_s:g} s (run time {self._begins(step):g} s) and "
                    'on_end = "error"; use a longer trace, or on_end = "wrap" or "hold"'
                )
        return step

    def _begins(self, step: int) -> float:
        return float(self._begin_s(np.array([step]))[0])

    def _begin_s(self, step: IntArray) -> FloatArray:
        """When each of ``step`` begins on the run's clock; without ``wrap``, the step after the last is the end."""
        lap, row = np.divmod(step, len(self._row_s))
        if self._on_end == "wrap":
            begin_s: FloatArray = (lap * self._end_s + self._row_s[row]) - self._start_s
            return begin_s
        return np.where(lap > 0, np.inf if self._on_end == "hold" else self._end_s, self._row_s[row]) - self._start_s
