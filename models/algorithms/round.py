"""One fine-tuning round of an algorithm: device by device, or as one mini-batch where that is the same."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from prefine.emulator.errors import InputError
from prefine.emulator.loading import foreign
from prefine.emulator.types import FloatArray, IntArray, Reports
from prefine.models.algorithms.base import Algorithm
from prefine.models.algorithms.fedavg import FedAvg
from prefine.models.objective import Batch, Objective
from prefine.models.stacked import Stacked
from prefine.models.uploads import Exact, Upload

HELD = 2**24
"""Numbers held at once for the devices' own models and activations: more devices than fit go in chunks."""


class Round(Protocol):
    """One fine-tuning round over the devices that take part."""

    @property
    def local_steps(self) -> int:
        """Mini-batches each device processes."""
        ...

    def total(self, devices: IntArray, rows: list[IntArray], weights: FloatArray, rate: float) -> Tensor:
        """sum_k weights_k u_k (P,) of the devices' updates u_k, all made from the objective's weights.

        ``devices`` (k,) take part with ``weights`` (k,) in the mean; ``rows[i]`` are the task rows of all mini-batches
        of ``devices[i]``, ``local_steps`` equal parts of it. ``rate`` is the step size of the devices. The answer may
        be overwritten by the next call.
        """
        ...

    def direction(self, total: Tensor) -> Tensor:
        """The direction (P,) of the server's step that the algorithm makes of ``total`` (P,)."""
        ...

    def reports(self) -> Reports:
        """What the devices of the last round report, (k,): losses of their first mini-batches, without weight decay."""
        ...


def round_of(
    algorithm: Algorithm, objective: Objective, task: Batch, shares: Sequence[float], local_steps: int, upload: Upload
) -> Round:
    """How to run ``algorithm``: fused where the mean update is the gradient of one weighted mini-batch.

    That is so with one local step, exact uploads, and a client step that is nothing but SGD. ``shares`` are the
    devices' shares of the task loss.
    """
    only_sgd = type(algorithm).client_step is FedAvg.client_step
    if only_sgd and local_steps == 1 and isinstance(upload, Exact):
        return FusedRound(algorithm, objective, task)
    return DeviceRound(algorithm, objective, task, shares, local_steps, upload)


class FusedRound:
    """The mean of the devices' gradients as the gradient of one mini-batch of all their samples, weighted."""

    local_steps = 1

    def __init__(self, algorithm: Algorithm, objective: Objective, task: Batch) -> None:
        self._algorithm, self._objective, self._task = algorithm, objective, task
        self._dtype = objective.losses.cpu().numpy().dtype
        self._sizes, self._losses = np.zeros(0, dtype=np.int64), objective.losses

    def total(self, devices: IntArray, rows: list[IntArray], weights: FloatArray, rate: float) -> Tensor:
        """See `Round`; the step size plays no part."""
        self._sizes = sizes = np.array([len(own) for own in rows])
        share = np.repeat((weights / sizes).astype(self._dtype), sizes)
        self._objective.differentiate(self._task.take(torch.from_numpy(np.concatenate(rows)), torch.from_numpy(share)))
        self._losses = self._objective.losses
        self._objective.regularise(float(weights.sum()))
        return self._objective.gradient

    def direction(self, total: Tensor) -> Tensor:
        """See `Round`."""
        return _server_step(self._algorithm, total)

    def reports(self) -> Reports:
        """See `Round`."""
        losses, starts = self._losses.double().cpu().numpy(), np.cumsum(self._sizes) - self._sizes
        mean, mean_square = (np.add.reduceat(values, starts) / self._sizes for values in (losses, losses**2))
        return Reports(mean, np.sqrt(mean_square))


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
        self._gradients = _Gradients(objective, task)
        self._reports: list[Reports] = []

    def total(self, devices: IntArray, rows: list[IntArray], weights: FloatArray, rate: float) -> Tensor:
        """See `Round`."""
        start = self._objective.weights
        total = torch.zeros_like(start)
        self._reports = []
        largest = max(len(own) for own in rows)
        held = len(start) + largest * self._task.x[0].numel()
        at_once = max(1, HELD // held)
        for first in range(0, len(rows), at_once):
            chunk = slice(first, first + at_once)
            batches = tuple(own.reshape(self.local_steps, -1) for own in rows[chunk])
            here = torch.from_numpy(devices[chunk]).to(start.device)
            clients = _Chunk(here, self._shares[here], start, rate, self.local_steps, batches, self._gradients)
            updates = _checked(self._algorithm, "client_step", clients, (len(batches), len(start)))
            shares = torch.from_numpy(weights[chunk]).to(total)
            total += shares @ self._upload.send(updates, devices[chunk])
            self._reports.append(clients.reports())
        return total

    def direction(self, total: Tensor) -> Tensor:
        """See `Round`."""
        return _server_step(self._algorithm, total)

    def reports(self) -> Reports:
        """See `Round`."""
        return Reports(*(np.concatenate(column) for column in zip(*self._reports, strict=True)))


class _Gradients:
    """Gradients of several devices at once, each on a mini-batch of its own."""

    def __init__(self, objective: Objective, task: Batch) -> None:
        self._task, self._models = task, Stacked(objective)
        self._sizes, self._padding = np.zeros(0, dtype=np.int64), _Padding.of(np.zeros(0, dtype=np.int64), task)

    def of(self, rows: list[IntArray], weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(k, P) at ``weights`` (P,) or (k, P), and the samples' losses (k, n) there with their shares (k, n).

        ``rows[i]`` are the task rows of the i-th device's mini-batch; what is beyond it has share zero.
        """
        batch = self._padded(rows)
        return *self._models.gradients(weights, batch), batch.share

    def _padded(self, rows: list[IntArray]) -> Batch:
        """(k, largest mini-batch, ...) samples, each device's shares summing to one; padding has share zero."""
        sizes = np.array([len(own) for own in rows])
        if not np.array_equal(sizes, self._sizes):
            self._sizes, self._padding = sizes, _Padding.of(sizes, self._task)
        return self._padding.around(rows, self._task)


class _Padding(NamedTuple):
    """Where mini-batches of some sizes lie in a rectangle (k, n), and the shares (k, n) of the samples."""

    rows: Tensor
    filled: Tensor
    share: Tensor

    @classmethod
    def of(cls, sizes: IntArray, task: Batch) -> "_Padding":
        """For mini-batches of ``sizes`` (k,)."""
        filled = np.arange(sizes.max(initial=0)) < sizes[:, None]
        share = torch.from_numpy(filled / sizes[:, None]).to(task.share)
        rows = torch.zeros(filled.shape, dtype=torch.int64, device=share.device)
        return cls(rows, torch.from_numpy(filled.ravel().nonzero()[0]).to(share.device), share)

    def around(self, rows: list[IntArray], task: Batch) -> Batch:
        """The samples (k, n, ...) of ``task`` at ``rows``; row 0 where there is none."""
        self.rows.view(-1)[self.filled] = torch.from_numpy(np.concatenate(rows)).to(self.rows.device)
        flat = task.take(self.rows.view(-1), self.share)
        return Batch(flat.x.view(*self.rows.shape, *flat.x.shape[1:]), flat.y.view_as(self.rows), self.share)


@dataclass
class _Chunk:
    """See `prefine.models.algorithms.base.Clients`; ``batches[i]`` (local_steps, batch) are task rows of a device."""

    devices: Tensor
    shares: Tensor
    start: Tensor
    rate: float
    local_steps: int
    batches: tuple[IntArray, ...]
    computed: _Gradients
    first: tuple[Tensor, Tensor] | None = None

    def gradients(self, step: int, weights: Tensor) -> Tensor:
        """(k, P) gradients on the mini-batches number ``step`` at ``weights`` (P,) or (k, P)."""
        gradients, losses, share = self.computed.of([own[step] for own in self.batches], weights)
        self.first = self.first or (losses, share)
        return gradients

    def reports(self) -> Reports:
        """The losses of the first mini-batches that were differentiated; NaN where none was."""
        if self.first is None:
            nothing = np.full(len(self.batches), np.nan)
            return Reports(nothing, nothing)
        losses, share = (column.double().cpu().numpy() for column in self.first)
        return Reports(np.sum(losses * share, axis=1), np.sqrt(np.sum(losses**2 * share, axis=1)))


def _server_step(algorithm: Algorithm, update: Tensor) -> Tensor:
    if type(algorithm).server_step is Algorithm.server_step:
        return update
    return _checked(algorithm, "server_step", update, tuple(update.shape))


def _checked(algorithm: Algorithm, method: str, argument: object, shape: tuple[int, ...]) -> Tensor:
    """What the algorithm's method answers. Raises InputError, one line, where it fails or the shape is wrong."""
    place = f"algorithm {type(algorithm).__name__}"
    with foreign(f"{place}:", f"in {method}()"):
        answer = getattr(algorithm, method)(argument)
    if not isinstance(answer, Tensor):
        raise InputError(f"{place}: {method}() returned {type(answer).__name__}, must be a tensor of shape {shape}")
    if answer.shape != shape:
        raise InputError(f"{place}: {method}() returned shape {tuple(answer.shape)}, must be {shape}")
    return answer
