"""The data of a scenario as server and devices hold it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from prefine.emulator.types import IntArray
from prefine.models.data.samples import DataPair
from prefine.models.objective import Batch


def stretches(parts: Sequence[IntArray]) -> tuple[IntArray, ...]:
    """Rows of each device where the samples of ``parts`` lie one part after the other."""
    ends = np.cumsum([len(part) for part in parts])
    return tuple(np.arange(end - len(part), end) for part, end in zip(parts, ends, strict=True))


@dataclass(frozen=True)
class Federation:
    """General, task and test data as tensors, and which task rows each device holds; of the test rows too, if known.

    Device k's share of the task loss is rho_k = n_k / n, so the task loss F is the plain mean over all task samples.
    """

    general: Batch
    task: Batch
    test: Batch
    parts: tuple[IntArray, ...]
    test_parts: tuple[IntArray, ...] = ()

    @classmethod
    def of(
        cls,
        pair: DataPair,
        parts: tuple[IntArray, ...],
        dtype: torch.dtype = torch.float32,
        test_parts: tuple[IntArray, ...] = (),
    ) -> "Federation":
        """Tensors of ``dtype`` for a pair and its partition."""
        general, task, test = (Batch.of(part, dtype=dtype) for part in (pair.general, pair.task, pair.test))
        return cls(general, task, test, parts, test_parts)

    @property
    def weights(self) -> tuple[float, ...]:
        """Share rho_k of each device in the task loss; sums to one."""
        return tuple(len(part) / len(self.task) for part in self.parts)
