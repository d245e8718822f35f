"""One fine-tuning round of an algorithm, device by device: each makes its own update and sends it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from prefine.emulator.types import FloatArray, IntArray, Reports
from prefine.models.algorithms.base import Algorithm
from prefine.models.algorithms.round import checked, server_step
from prefine.models.objective import Batch, Objective
from prefine.models.stacked import Stacked
from prefine.models.uploads import Upload

HELD = 2**24
"""Numbers held at once for the devices' own models and activations: more devices than fit go in chunks."""


class DeviceRound:
    """Each device's own update, for which all devices of a chunk compute at once; then its upload, and the mean."""

    def __init__(
        self,
        algorithm: Algorithm,
        objective: Objective,
        task: Batch,
        shares: Sequence[float],
        local_steps: int,
        upload: Upload,
    ) -> None:
        self._shares = objective.weights.new_tensor(shares)
        self._algorithm, self._objective, self._task, self._upload = algorithm, objective, task, upload
        self.local_steps = local_steps
        self._models = Stacked(objective)
        self._reports: list[Reports] = []

    def mean(self, devices: IntArray, batches: IntArray, weights: FloatArray) -> "DeviceMean":
        """See `Round`."""
        return DeviceMean(self, tuple(self._chunks(devices, batches, weights)))

    def _chunks(self, devices: IntArray, batches: IntArray, weights: FloatArray) -> Iterator["Chunk"]:
        counts = self.local_steps * batches
        starts = np.cumsum(counts) - counts
        held = self._objective.weights.numel() + int(counts.max(initial=0)) * self._task.x[0].numel()
        at_once = max(1, HELD // held)
        for first in range(0, len(devices), at_once):
            part = slice(first, first + at_once)
            yield Chunk.of(devices[part], batches[part], starts[part], weights[part], self.local_steps, self._shares)

    def total(self, chunks: tuple["Chunk", ...], rows: IntArray, rate: float) -> Tensor:
        """The weighted sum (P,) of the updates of all devices of ``chunks``; see `Mean` for the rest."""
        start = self._objective.weights
        total = torch.zeros_like(start)
        self._reports = []
        for chunk in chunks:
            clients = Clients(chunk, start, rate, rows[chunk.places], self._task, self._models)
            updates = checked(self._algorithm, "client_step", clients, (len(chunk.numbers), len(start)))
            total += chunk.weights @ self._upload.send(updates, chunk.numbers)
            self._reports.append(clients.reports())
        return total

    def direction(self, total: Tensor) -> Tensor:
        """See `Round`."""
        return server_step(self._algorithm, total)

    def reports(self) -> Reports:
        """See `Round`."""
        return Reports(*(np.concatenate(column) for column in zip(*self._reports, strict=True)))


class DeviceMean:
    """See `Mean`."""

    def __init__(self, apart: DeviceRound, chunks: tuple["Chunk", ...]) -> None:
        self._apart, self._chunks = apart, chunks

    def of(self, rows: IntArray, rate: float) -> Tensor:
        """See `Mean`."""
        return self._apart.total(self._chunks, rows, rate)


class Chunk(NamedTuple):
    """Devices that compute at once: k, each with mini-batches of at most n samples.

    Their ``numbers`` (k,), ``weights`` (k,) in the mean and ``shares`` (k,) of the task loss; ``places`` (local steps,
    k, n) of their samples among the rows of the round, with ``sample_shares`` (k, n). What is beyond a smaller
    mini-batch is its last sample again, with share zero.
    """

    numbers: IntArray
    devices: Tensor
    weights: Tensor
    shares: Tensor
    places: IntArray
    sample_shares: Tensor

    @classmethod
    def of(
        cls, numbers: IntArray, batches: IntArray, starts: IntArray, weights: FloatArray, steps: int, shares: Tensor
    ) -> "Chunk":
        """``starts`` (k,) say where the rows of each device begin, ``shares`` are those of all K devices."""
        devices = torch.from_numpy(numbers).to(shares.device)
        size, sample = batches[:, None], np.arange(batches.max(initial=0))
        places = starts[:, None] + np.arange(steps)[:, None, None] * size + np.minimum(sample, size - 1)
        each = torch.from_numpy((sample < size) / size).to(shares)
        return cls(numbers, devices, torch.from_numpy(weights).to(shares), shares[devices], places, each)


@dataclass
class Clients:
    """See `prefine.models.algorithms.base.Clients`; ``rows`` (local steps, k, n) are the task rows of a round."""

    chunk: Chunk
    start: Tensor
    rate: float
    rows: IntArray
    task: Batch
    models: Stacked
    first: tuple[Tensor, Tensor] | None = None

    @property
    def devices(self) -> Tensor:
        """(k,)."""
        return self.chunk.devices

    @property
    def shares(self) -> Tensor:
        """(k,)."""
        return self.chunk.shares

    @property
    def local_steps(self) -> int:
        """At least 1."""
        return len(self.rows)

    def gradients(self, step: int, weights: Tensor) -> Tensor:
        """(k, P) gradients on the mini-batches number ``step`` at ``weights`` (P,) or (k, P)."""
        rows, share = self.rows[step], self.chunk.sample_shares
        flat = self.task.take(torch.from_numpy(rows.ravel()), share)
        batch = Batch(flat.x.view(*rows.shape, *flat.x.shape[1:]), flat.y.view(rows.shape), share)
        gradients, losses = self.models.gradients(weights, batch)
        self.first = self.first or (losses, share)
        return gradients

    def reports(self) -> Reports:
        """The losses of the first mini-batches that were differentiated; NaN where none was."""
        if self.first is None:
            nothing = np.full(len(self.chunk.numbers), np.nan)
            return Reports(nothing, nothing)
        losses, share = (column.double().cpu().numpy() for column in self.first)
        return Reports(np.sum(losses * share, axis=1), np.sqrt(np.sum(losses**2 * share, axis=1)))
