"""The records the learners hand out; the same fields as the protocols of the emulator.

`models` imports nothing of the emulator, so a learner can be used, tested and replaced without it.
"""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Kind = Literal["classification", "regression"]


class Evaluation(NamedTuple):
    """The task as the model does now: loss and squared gradient norm on the training set, score on the test set.

    ``test_accuracy`` is the share of right classes, or the coefficient of determination of a regression.
    """

    train_loss: float
    test_accuracy: float
    grad_norm_sq: float


class WorkloadCost(NamedTuple):
    """Operations per sample (forward and backward), mini-batches a round, bits of an upload and of the model."""

    flops_per_sample: float
    local_steps: int
    uplink_bits: float
    model_bits: float


class Constants(NamedTuple):
    """Constants of the convergence bound (docs/learning.md); ``device_variance`` has one value per device."""

    smoothness: float
    learning_rate: float
    initial_gap: float
    discrepancy: float
    server_variance: float
    device_variance: tuple[float, ...]
    pretrain_contraction: float
    pretrain_floor: float


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
        """The given rows, in the given order."""
        return Samples(self.x[rows], self.y[rows], self.source[rows] if len(self.source) else self.source)


@dataclass(frozen=True)
class DataPair:
    """General data to pre-train on, task data to fine-tune on, and held-out task data to score on.

    ``outputs`` is the number of network outputs: classes, or 1 for a regression. ``name`` is for people.
    """

    name: str
    kind: Kind
    outputs: int
    general: Samples
    task: Samples
    test: Samples
