"""A step function made of continuous processes: constant on [i s, (i + 1) s), its value taken in the middle."""

from typing import Any

import numpy as np
from numpy import count_nonzero
from numpy.typing import NDArray

from prefine.emulator.channel.base import ROW, Channel, Grid, Process, RowProcess, StaticChannel, Steps
from prefine.emulator.types import FloatArray, IntArray

CHUNK = ROW * ROW
"""Steps in one grid; values are aligned to chunks, so they never depend on what was asked before."""

ROW_BITS, CHUNK_BITS = ROW.bit_length() - 1, CHUNK.bit_length() - 1
IN_ROW = np.arange(ROW)


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
        self._slow_gain = np.empty((0, CHUNK // hold))
        self._slow_chunk = np.empty(0, dtype=np.int64)
        """Of which chunk `_slow_gain` is; rows and chunks are counted from time 0."""
        self._gain = np.empty((0, ROW))
        """Of each device `ROW` rows, each in the place that its number has in its chunk."""
        self._known = np.empty(0, dtype=np.int64)
        """The number of the row in each of these places; -1 where there is none."""

    def gain(self, device: int, time_s: float) -> float:
        """Linear power gain of the step that holds at ``time_s``."""
        return float(self.steps(device, time_s, 1).gain[0])

    def steps(self, device: int, start_s: float, count: int) -> Steps:
        """The steps from ``start_s`` on, at most to the end of the chunk they lie in; ends are (index + 1) step_s."""
        index = self._index(start_s)
        last = min(index + (count - 1), index | CHUNK - 1)
        place = device * ROW
        rows = range(index >> ROW_BITS, (last >> ROW_BITS) + 1)
        if place >= len(self._known) or any(self._known[place + (row & ROW - 1)] != row for row in rows):
            self._know(*(np.array([number]) for number in (device, index, last)))
        first = device * CHUNK + (index & CHUNK - 1)
        end_s = np.asarray(np.arange(index + 1, last + 2) * self._step_s, dtype=np.float64)
        return Steps(end_s, self._gain.ravel()[first : first + len(end_s)].copy())

    def ahead(self, devices: IntArray, time_s: FloatArray, count: int) -> Steps:
        """As for any channel, all devices at once."""
        index = self._indices(time_s)
        last = np.minimum(index + (count - 1), index | CHUNK - 1)
        self._know(devices, index, last)
        most = int((last - index).max(initial=0))
        step, filling = index[:, None] + np.arange(most + 1), None
        if count_nonzero(last - index < most):
            filling = step > last[:, None]
            step = np.minimum(step, last[:, None])
        gain = self._gain.ravel().take(devices[:, None] * CHUNK + (step & CHUNK - 1))
        if filling is not None:
            gain[filling] = 0.0
        return Steps(np.asarray((step + 1) * self._step_s, dtype=np.float64), gain)

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

    def _know(self, devices: IntArray, first: IntArray, last: IntArray) -> None:
        """Evaluate what is not there of steps ``first`` to ``last``, in one chunk, of ``devices``, all (n,)."""
        self._make_room(int(devices.max(initial=-1)) + 1)
        row, end = first >> ROW_BITS, last >> ROW_BITS
        which = np.flatnonzero(self._lacks(devices, row))
        number = row[which]
        while count_nonzero(more := row < end):
            row = np.minimum(row + 1, end)
            new = np.flatnonzero(more & self._lacks(devices, row))
            which, number = np.concatenate((which, new)), np.concatenate((number, row[new]))
        if len(which):
            self._evaluate(devices, first >> CHUNK_BITS, which, number)

    def _lacks(self, devices: IntArray, row: IntArray) -> NDArray[np.bool_]:
        """Whether row ``row`` (n,) of each of ``devices`` (n,) is not there."""
        lacking: NDArray[np.bool_] = self._known.take(devices * ROW + (row & ROW - 1)) != row
        return lacking

    def _evaluate(self, devices: IntArray, chunk: IntArray, which: IntArray, number: IntArray) -> None:
        """Evaluate at least row ``number`` (m,), in its ``chunk`` (n,), of each of ``devices[which]``, (m,)."""
        start_s = np.asarray((chunk * CHUNK + 0.5) * self._step_s, dtype=np.float64)
        if self._rows is not None:
            fast = self._rows(devices, start_s, self._step_s, which, number & ROW - 1)
        else:
            some = np.unique(which)
            which, number = np.repeat(some, ROW), ((chunk[some] << ROW_BITS)[:, None] + IN_ROW).ravel()
            each = zip(devices[some].tolist(), start_s[some].tolist(), strict=True)
            whole = [self._fast.sample(device, Grid(from_s, self._step_s, CHUNK)) for device, from_s in each]
            fast = np.reshape(whole, (len(which), ROW))
        of = devices[which]
        place = of * ROW + (number & ROW - 1)
        self._gain[place] = self._slowly(of, chunk[which], number) * fast
        self._known[place] = number

    def _slowly(self, of: IntArray, chunk: IntArray, number: IntArray) -> FloatArray:
        """The slow gain (m, `ROW`) or (m, 1) of devices ``of`` in row ``number``, in ``chunk``, all (m,)."""
        if isinstance(self._slow, StaticChannel):
            return self._slow.gains[of, None]
        turned = np.flatnonzero(self._slow_chunk[of] != chunk)
        for device, at in dict(zip(of[turned].tolist(), chunk[turned].tolist(), strict=True)).items():
            start_s, hold_s = (at * CHUNK + 0.5 * self._hold) * self._step_s, self._hold * self._step_s
            self._slow_gain[device] = self._slow.sample(device, Grid(start_s, hold_s, CHUNK // self._hold))
            self._slow_chunk[device] = at
        held = ((number & ROW - 1)[:, None] * ROW + IN_ROW) // self._hold
        return np.asarray(self._slow_gain[of[:, None], held], dtype=np.float64)

    def _make_room(self, devices: int) -> None:
        """Keep room for so many devices, with some to spare."""
        have = len(self._slow_chunk)
        if devices <= have:
            return
        more = max(devices, 2 * have) - have
        self._slow_chunk, self._slow_gain = (_longer(kept, more) for kept in (self._slow_chunk, self._slow_gain))
        self._known, self._gain = (_longer(kept, more * ROW) for kept in (self._known, self._gain))


def _longer(kept: NDArray[Any], rows: int) -> NDArray[Any]:
    """``kept`` with so many more rows of -1."""
    return np.concatenate((kept, np.full((rows, *kept.shape[1:]), -1, kept.dtype)))
