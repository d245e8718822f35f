"""The data of a scenario as server and devices hold it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from prefine.emulator.types import IntArray
from prefine.models.data.samples import DataPair
from prefine.models.objective import Batch, evenly


def stretches(parts: Sequence[IntArray]) -> tuple[IntArray, ...]:
    """Rows of each device where the samples of ``parts`` lie one part after the other."""
    ends = np.cumsum([len(part) for part in parts])
    return tuple(np.arange(end - len(part), end) for part, end in zip(parts, ends, strict=True))


@dataclass(frozen=True)
class Federation:
    """General, task and test data as tensors, and which task rows each device holds; of the test rows too, if known.

    Device k's share of the task loss is rho_k = n_k / n, so the task loss F is the plain mean over all task samples;
    of a population, whose parts are of few of its clients, on the mean over all clients.
    ``validation`` are task samples that were held out of these; None where there are none.
    """

    general: Batch
    task: Batch
    test: Batch
    parts: tuple[IntArray, ...]
    test_parts: tuple[IntArray, ...] = ()
    validation: Batch | None = None

    @property
    def evaluation_samples(self) -> float:
        """What an evaluation passes through: the task's gradient, and answers elsewhere, a third of a gradient each."""
        answered = len(self.test) + (0 if self.validation is None else len(self.validation))
        return len(self.task) + answered / 3.0

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

    def to(self, device: torch.device) -> "Federation":
        """The same data on ``device``."""
        batches = (self.general, self.task, self.test)
        general, task, test = (batch.to(device) for batch in batches)
        validation = None if self.validation is None else self.validation.to(device)
        return replace(self, general=general, task=task, test=test, validation=validation)

    def validated_on(self, rows: IntArray, parts: Sequence[IntArray]) -> "Federation":
        """The same with the task samples ``rows`` as validation samples, and the others on devices as in ``parts``."""
        task = evenly(self.task, np.concatenate(parts))
        return replace(self, task=task, parts=stretches(parts), validation=evenly(self.task, rows))

    @property
    def weights(self) -> tuple[float, ...]:
        """Share rho_k of each device in the task loss; sums to one."""
        held = sum(map(len, self.parts))
        return tuple(len(part) / held for part in self.parts)
