"""A step function made of continuous processes: constant on [i s, (i + 1) s), its value taken in the middle."""

import numpy as np
from numpy import count_nonzero

from prefine.emulator.channel.base import ROW, Channel, Grid, Process, RowProcess, Steps
from prefine.emulator.types import FloatArray, IntArray

CHUNK = ROW * ROW
"""Steps in one grid; values are aligned to chunks, so they never depend on what was asked before."""

CHUNK_BITS = CHUNK.bit_length() - 1

ROWS = np.arange(ROW)


class SampledChannel(Channel):
    """The product of a slowly and a fast varying process on a grid of ``step_s``.

    ``hold`` is how many steps the slow one keeps its value; it divides `CHUNK`. The last chunk of each device is kept;
    of a fast process that can be had by rows, no row is evaluated before it is asked for.
    """

    def __init__(self, slow: Process, fast: Process, step_s: float, hold: int = CHUNK) -> None:
        self._slow = slow
        self._fast = fast
        self._rows = fast.rows if isinstance(fast, RowProcess) else None
        self._step_s = step_s
        self._hold = hold
        self._chunk = np.empty(0, dtype=np.int64)
        self._known = np.empty((0, ROW), dtype=np.int64)
        """The number of the chunk to which each row of `_gain` belongs; -1 where nothing is there."""
        self._slow_gain = np.empty((0, CHUNK // hold))
        self._gain = np.empty((0, ROW, ROW))

    def gain(self, device: int, time_s: float) -> float:
        """Linear power gain of the step that holds at ``time_s``."""
        return float(self.steps(device, time_s, 1).gain[0])

    def steps(self, device: int, start_s: float, count: int) -> Steps:
        """The steps from ``start_s`` on, at most to the end of the chunk they lie in; ends are (index + 1) step_s."""
        chunk, first = divmod(self._index(start_s), CHUNK)
        stop = min(first + count, CHUNK)
        rows = slice(first // ROW, (stop - 1) // ROW + 1)
        if device >= len(self._chunk) or (self._known[device, rows] != chunk).any():
            self._evaluate(*(np.array([number]) for number in (device, chunk, first, stop - 1)))
        end_s = np.asarray((chunk * CHUNK + 1 + np.arange(first, stop)) * self._step_s, dtype=np.float64)
        return Steps(end_s, self._gain[device].ravel()[first:stop].copy())

    def ahead(self, devices: IntArray, time_s: FloatArray, count: int) -> Steps:
        """As for any channel, all devices at once."""
        index = self._indices(time_s)
        chunk, first = index >> CHUNK_BITS, index & CHUNK - 1
        last = np.minimum(first + (count - 1), CHUNK - 1)
        if not self._knows(devices, chunk, first, last):
            self._evaluate(devices, chunk, first, last)
        ahead = np.arange(int((last - first).max(initial=0)) + 1)
        step, filling = first[:, None] + ahead, None
        if count_nonzero(last - first < len(ahead) - 1):
            filling = step > last[:, None]
            step = np.minimum(step, last[:, None])
        gain = self._gain.ravel().take(devices[:, None] * CHUNK + step)
        if filling is not None:
            gain[filling] = 0.0
        return Steps((chunk[:, None] * CHUNK + 1 + step) * self._step_s, gain)

    def _knows(self, devices: IntArray, chunk: IntArray, first: IntArray, last: IntArray) -> bool:
        """Whether all that `_evaluate` is asked for is there; of stretches longer than a row it does not know."""
        if not len(devices) or devices.max() >= len(self._chunk) or (last - first).max() >= ROW:
            return False
        known, row = self._known.ravel(), devices * ROW
        ends = known.take(row + first // ROW) == chunk, known.take(row + last // ROW) == chunk
        return int(count_nonzero(ends[0] & ends[1])) == len(devices)

    def _index(self, time_s: float) -> int:
        """The step with index * step_s <= time_s < (index + 1) * step_s, whatever the division rounded to."""
        index = int(time_s / self._step_s)
        while (index + 1) * self._step_s <= time_s:
            index += 1
        while index * self._step_s > time_s:
            index -= 1
        return index

    def _indices(self, time_s: FloatArray) -> IntArray:
        """`_index` of many instants (n,)."""
        index = (time_s / self._step_s).astype(np.int64)
        while count_nonzero(early := (index + 1) * self._step_s <= time_s):
            index += early
        while count_nonzero(late := index * self._step_s > time_s):
            index -= late
        return index

    def _evaluate(self, devices: IntArray, chunk: IntArray, first: IntArray, last: IntArray) -> None:
        """Know the steps ``first`` to ``last`` of ``chunk`` of each of ``devices``, all (n,), no device twice."""
        self._make_room(int(devices.max(initial=-1)) + 1)
        turned = np.flatnonzero(self._chunk[devices] != chunk)
        for device, number in zip(devices[turned].tolist(), chunk[turned].tolist(), strict=True):
            start_s, hold_s = (number * CHUNK + 0.5 * self._hold) * self._step_s, self._hold * self._step_s
            self._slow_gain[device] = self._slow.sample(device, Grid(start_s, hold_s, CHUNK // self._hold))
            self._chunk[device] = number
        wanted = (first // ROW)[:, None] <= ROWS
        wanted &= (last // ROW)[:, None] >= ROWS
        wanted &= self._known[devices] != chunk[:, None]
        which, row = np.nonzero(wanted)
        if len(which):
            self._evaluate_rows(devices, chunk, which, row)

    def _evaluate_rows(self, devices: IntArray, chunk: IntArray, which: IntArray, row: IntArray) -> None:
        """Evaluate at least row ``row`` (m,) of each of ``devices[which]``, ``which`` (m,)."""
        start_s = np.asarray((chunk * CHUNK + 0.5) * self._step_s, dtype=np.float64)
        if self._rows is not None:
            fast = self._rows(devices, start_s, self._step_s, which, row)
        else:
            some = np.unique(which)
            which, row = np.repeat(some, ROW), np.tile(ROWS, len(some))
            each = zip(devices[some].tolist(), start_s[some].tolist(), strict=True)
            whole = [self._fast.sample(device, Grid(from_s, self._step_s, CHUNK)) for device, from_s in each]
            fast = np.reshape(whole, (len(which), ROW))
        of = devices[which]
        held = (row[:, None] * ROW + ROWS) // self._hold
        self._gain[of, row] = self._slow_gain[of[:, None], held] * fast
        self._known[of, row] = chunk[which]

    def _make_room(self, devices: int) -> None:
        """Keep room for so many devices, with some to spare."""
        if devices <= len(self._chunk):
            return
        more = max(devices, 2 * len(self._chunk)) - len(self._chunk)
        self._chunk, self._known, self._slow_gain, self._gain = (
            np.concatenate((kept, np.full((more, *kept.shape[1:]), -1, kept.dtype)))
            for kept in (self._chunk, self._known, self._slow_gain, self._gain)
        )
