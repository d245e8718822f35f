"""Which samples a run draws: one sequential stream per device and one for the server, all found by name.

The n-th sample a device draws in a run depends on the run seed, the device and the size of its data alone, whatever
the batch sizes are and whoever else takes part: draws of 3 and then 5 are a draw of 8. So two policies with different
batch sizes see the same samples in the same order.
"""

import zlib

import numpy as np

from prefine.models.records import IntArray

BLOCK = 4096


def stream(seed: int, purpose: str, device: int | None = None) -> np.random.Generator:
    """The generator for ``purpose`` (and ``device``) under ``seed``; adding devices leaves the others as they were."""
    name = zlib.crc32(purpose.encode())
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(name,) if device is None else (name, device)))


class Draws:
    """Rows drawn uniformly with replacement out of ``rows``, in one endless order.

    Numbers are made in blocks because a generator's call costs more than its numbers.
    """

    def __init__(self, rows: IntArray, generator: np.random.Generator) -> None:
        self._rows, self._generator = rows, generator
        self._ready = np.zeros(0, dtype=np.int64)
        self._next = 0

    def take(self, count: int) -> IntArray:
        """The next ``count`` rows."""
        end = self._next + count
        if end > len(self._ready):
            left = self._ready[self._next :]
            fresh = self._generator.random(max(BLOCK, count))
            drawn = self._rows[(fresh * len(self._rows)).astype(np.int64)]
            self._ready, self._next, end = np.concatenate([left, drawn]), 0, count
        taken = self._ready[self._next : end]
        self._next = end
        return taken
