"""A step function made of continuous processes: constant on [i s, (i + 1) s), its value taken in the middle."""

import numpy as np

from prefine.emulator.channel.base import Channel, Grid, Process, Steps
from prefine.emulator.types import FloatArray, frozen_array

CHUNK = 256
"""Steps evaluated in one call; values are aligned to chunks, so they never depend on what was asked before."""


class SampledChannel(Channel):
    """The product of a slowly and a fast varying process on a grid of ``step_s``.

    ``hold`` is how many steps the slow one keeps its value; it divides `CHUNK`. The last chunk of each device is kept.
    """

    def __init__(self, slow: Process, fast: Process, step_s: float, hold: int = CHUNK) -> None:
        self._slow = slow
        self._fast = fast
        self._step_s = step_s
        self._hold = hold
        self._last: dict[int, tuple[int, FloatArray, FloatArray]] = {}

    def gain(self, device: int, time_s: float) -> float:
        """Linear power gain of the step that holds at ``time_s``."""
        chunk, offset = divmod(self._index(time_s), CHUNK)
        return float(self._chunk(device, chunk)[1][offset])

    def steps(self, device: int, start_s: float, count: int) -> Steps:
        """The steps from ``start_s`` on, at most to the end of the chunk they lie in; ends are (index + 1) step_s."""
        chunk, offset = divmod(self._index(start_s), CHUNK)
        end_s, gain = self._chunk(device, chunk)
        return Steps(end_s[offset : offset + count], gain[offset : offset + count])

    def _index(self, time_s: float) -> int:
        """The step with index * step_s <= time_s < (index + 1) * step_s, whatever the division rounded to."""
        index = int(time_s / self._step_s)
        while (index + 1) * self._step_s <= time_s:
            index += 1
        while index * self._step_s > time_s:
            index -= 1
        return index

    def _chunk(self, device: int, chunk: int) -> tuple[FloatArray, FloatArray]:
        last = self._last.get(device)
        if last is None or last[0] != chunk:
            last = (chunk, *self._evaluate(device, chunk))
            self._last[device] = last
        return last[1], last[2]

    def _evaluate(self, device: int, chunk: int) -> tuple[FloatArray, FloatArray]:
        first, step_s, hold = chunk * CHUNK, self._step_s, self._hold
        end_s = frozen_array((first + 1 + np.arange(CHUNK)) * step_s)
        slow = self._slow.sample(device, Grid((first + 0.5 * hold) * step_s, hold * step_s, CHUNK // hold))
        fast = self._fast.sample(device, Grid((first + 0.5) * step_s, step_s, CHUNK))
        return end_s, frozen_array(np.repeat(slow, hold) * fast)
