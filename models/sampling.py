"""Which samples a run draws: one sequential stream per device and one for the server.

The n-th sample a device draws in a run depends on the run seed, the device and the size of its data alone, whatever
the batch sizes are and whoever else takes part: draws of 3 and then 5 are a draw of 8. So two policies with different
batch sizes see the same samples in the same order.
"""

from typing import Protocol

import numpy as np

from prefine.emulator.types import IntArray

BLOCK = 4096
"""Random numbers made at once, because a generator's call costs more than its numbers."""


class Drawing(Protocol):
    """Rows that a device draws."""

    def take(self, count: int) -> IntArray:
        """The next ``count`` rows, (count,)."""
        ...


class Draws:
    """Rows drawn uniformly with replacement out of ``rows`` (n,), in one endless order that ``generator`` fixes."""

    def __init__(self, rows: IntArray, generator: np.random.Generator) -> None:
        self._rows, self._generator = rows, generator
        self._ready = np.zeros(0, dtype=np.int64)
        self._next = 0

    def take(self, count: int) -> IntArray:
        """The next ``count`` rows, (count,)."""
        end = self._next + count
        if end > len(self._ready):
            left = self._ready[self._next :]
            fresh = self._generator.random(max(BLOCK, count))
            drawn = self._rows[(fresh * len(self._rows)).astype(np.int64)]
            self._ready, self._next, end = np.concatenate([left, drawn]), 0, count
        taken = self._ready[self._next : end]
        self._next = end
        return taken
