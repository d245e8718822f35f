"""Labelled samples, and the pair of data sets that a learning task is made of."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from prefine.emulator.types import IntArray

Kind = Literal["classification", "regression"]


@dataclass(frozen=True)
class Samples:
    """``x`` float32 (n, ...) and ``y``: classes int64 (n,), or targets float32 (n,) of a regression.

    ``source`` int64 (n,) says where each sample comes from (a writer, a model year); empty where nobody knows.
    """

    x: NDArray[np.float32]
    y: NDArray[np.int64] | NDArray[np.float32]
    source: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.x)

    def take(self, rows: IntArray) -> "Samples":
        """The samples at ``rows`` (m,), in that order, with their sources."""
        return Samples(self.x[rows], self.y[rows], self.source[rows] if len(self.source) else self.source)


@dataclass(frozen=True)
class DataPair:
    """General data to pre-train on, task data to fine-tune on, and held-out task data to score on.

    ``outputs`` is the number of network outputs: classes, or 1 for a regression. ``name`` is what tables and the
    manifest call the pair.
    """

    name: str
    kind: Kind
    outputs: int
    general: Samples
    task: Samples
    test: Samples
