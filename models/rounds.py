"""The aggregate of one fine-tuning round, (P,): fused where that is exact, device by device where it is not."""

from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.func import grad, vmap

from prefine.emulator.types import FloatArray, IntArray
from prefine.models.objective import Batch, Objective, weighted_loss
from prefine.models.uploads import Upload

HELD = 2**24
"""Numbers held at once for the devices' own models and activations: more devices than fit go in chunks."""


class Round(Protocol):
    """One fine-tuning round over the devices that take part."""

    local_steps: int
    """Mini-batches each device processes."""

    def aggregate(self, devices: IntArray, rows: list[IntArray], weights: FloatArray, rate: float) -> Tensor:
        """sum_k weights_k (update of device k), (P,); ``rows[k]`` are the task rows of all its mini-batches."""
        ...


class FusedRound:
    """One step, exact uploads: the mean of the devices' gradients is the gradient of one weighted mini-batch."""

    local_steps = 1

    def __init__(self, objective: Objective, task: Batch) -> None:
        self._objective, self._task = objective, task
        self._dtype = objective.weights.numpy().dtype

    def aggregate(self, devices: IntArray, rows: list[IntArray], weights: FloatArray, rate: float) -> Tensor:
        """See `Round`; the step size plays no part."""
        sizes = [len(own) for own in rows]
        share = np.repeat((weights / sizes).astype(self._dtype), sizes)
        self._objective.differentiate(self._task.take(torch.from_numpy(np.concatenate(rows)), torch.from_numpy(share)))
        self._objective.regularise(float(weights.sum()))
        return self._objective.gradient


class DeviceRound:
    """Each device takes its own ``local_steps`` of SGD (McMahan et al., 2017) and uploads (w - w_k) / rate,
    which is the sum of its gradients. All devices of a chunk run at once, their mini-batches padded with samples of
    share zero.
    """

    def __init__(self, objective: Objective, task: Batch, local_steps: int, upload: Upload) -> None:
        self._objective, self._task, self._upload = objective, task, upload
        self.local_steps = local_steps
        gradient = grad(weighted_loss(objective))
        self._common = vmap(gradient, in_dims=(None, 0, 0, 0))  # at the first step all have the same weights
        self._own = vmap(gradient)

    def aggregate(self, devices: IntArray, rows: list[IntArray], weights: FloatArray, rate: float) -> Tensor:
        """See `Round`."""
        total = torch.zeros_like(self._objective.weights)
        largest = max(len(own) for own in rows)
        held = len(self._objective.weights) + largest * self._task.x[0].numel()
        at_once = max(1, HELD // held)
        for start in range(0, len(rows), at_once):
            chunk = slice(start, start + at_once)
            updates = self._updates(rows[chunk], rate)
            shares = torch.from_numpy(weights[chunk]).to(total.dtype)
            total += shares @ self._upload.send(updates, devices[chunk])
        return total

    def _updates(self, rows: list[IntArray], rate: float) -> Tensor:
        """(k, P) updates of some devices."""
        batches = [own.reshape(self.local_steps, -1) for own in rows]
        start = self._objective.weights
        first = self._padded([own[0] for own in batches])
        updates: Tensor = self._common(start, first.x, first.y, first.share)
        for step in range(1, self.local_steps):
            batch = self._padded([own[step] for own in batches])
            updates = updates + self._own(start - rate * updates, batch.x, batch.y, batch.share)
        return updates

    def _padded(self, rows: list[IntArray]) -> Batch:
        """(k, largest mini-batch, ...) samples, each device's shares summing to one."""
        sizes = np.array([len(own) for own in rows])
        filled = np.arange(sizes.max()) < sizes[:, None]
        index = torch.zeros(filled.shape, dtype=torch.int64)
        index[torch.from_numpy(filled)] = torch.from_numpy(np.concatenate(rows))
        share = torch.from_numpy(filled / sizes[:, None]).to(self._objective.weights.dtype)
        return Batch(self._task.x[index], self._task.y[index], share)
