"""One fine-tuning round of an algorithm, as one mini-batch of all devices where that is the same."""

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from prefine.emulator.errors import InputError
from prefine.emulator.loading import foreign
from prefine.emulator.types import FloatArray, IntArray, Reports
from prefine.models.algorithms.base import Algorithm
from prefine.models.objective import Batch, Objective


class Mean(Protocol):
    """The weighted mean of the updates of the same devices, in one round after the other."""

    def of(self, rows: IntArray, rate: float) -> Tensor:
        """sum_k weights_k u_k (P,) of the devices' updates u_k, all made from the objective's weights.

        ``rows`` (n,) are the task rows of all mini-batches, device after device, of each its local steps in turn.
        ``rate`` is the step size of the devices. The answer may be overwritten by the next call.
        """
        ...


class Round(Protocol):
    """Fine-tuning rounds over the devices that take part."""

    @property
    def local_steps(self) -> int:
        """Mini-batches each device processes."""
        ...

    def mean(self, devices: IntArray, batches: IntArray, weights: FloatArray) -> Mean:
        """That over ``devices`` (k,) with ``weights`` (k,), whose mini-batches have ``batches`` (k,) samples."""
        ...

    def direction(self, total: Tensor) -> Tensor:
        """The direction (P,) of the server's step that the algorithm makes of the weighted mean ``total`` (P,)."""
        ...

    def reports(self) -> Reports:
        """What the devices of the last round report, (k,): losses of their first mini-batches, without weight decay."""
        ...


class FusedRound:
    """The mean of the devices' gradients as the gradient of one mini-batch of all their samples, weighted."""

    local_steps = 1

    def __init__(self, algorithm: Algorithm, objective: Objective, task: Batch) -> None:
        self._algorithm, self._objective, self._task = algorithm, objective, task
        self._sizes, self._losses = np.zeros(0, dtype=np.int64), objective.losses

    def mean(self, devices: IntArray, batches: IntArray, weights: FloatArray) -> "FusedMean":
        """See `Round`."""
        share = torch.from_numpy(np.repeat(weights / batches, batches)).to(self._task.share)
        return FusedMean(self, batches, share, float(weights.sum()))

    def gradient(self, rows: IntArray, share: Tensor, weight: float, sizes: IntArray) -> Tensor:
        """(P,), at ``rows`` (n,) with ``share`` (n,), in all ``weight``; devices have ``sizes`` (k,) of them."""
        self._objective.differentiate(self._task.take(torch.from_numpy(rows), share))
        self._sizes, self._losses = sizes, self._objective.losses
        self._objective.regularise(weight)
        return self._objective.gradient

    def direction(self, total: Tensor) -> Tensor:
        """See `Round`."""
        return server_step(self._algorithm, total)

    def reports(self) -> Reports:
        """See `Round`."""
        losses, starts = self._losses.double().cpu().numpy(), np.cumsum(self._sizes) - self._sizes
        mean, mean_square = (np.add.reduceat(values, starts) / self._sizes for values in (losses, losses**2))
        return Reports(mean, np.sqrt(mean_square))


class FusedMean:
    """See `Mean`; the devices' step size plays no part."""

    def __init__(self, fused: FusedRound, sizes: IntArray, share: Tensor, weight: float) -> None:
        self._fused, self._sizes, self._share, self._weight = fused, sizes, share, weight

    def of(self, rows: IntArray, rate: float) -> Tensor:
        """See `Mean`."""
        return self._fused.gradient(rows, self._share, self._weight, self._sizes)


def server_step(algorithm: Algorithm, update: Tensor) -> Tensor:
    """The direction (P,) that ``algorithm`` makes of ``update`` (P,). Raises InputError, one line, where it fails."""
    if type(algorithm).server_step is Algorithm.server_step:
        return update
    return checked(algorithm, "server_step", update, tuple(update.shape))


def checked(algorithm: Algorithm, method: str, argument: object, shape: tuple[int, ...]) -> Tensor:
    """What the algorithm's method answers. Raises InputError, one line, where it fails or the shape is wrong."""
    place = f"algorithm {type(algorithm).__name__}"
    with foreign(f"{place}:", f"in {method}()"):
        answer = getattr(algorithm, method)(argument)
    if not isinstance(answer, Tensor):
        raise InputError(f"{place}: {method}() returned {type(answer).__name__}, must be a tensor of shape {shape}")
    if answer.shape != shape:
        raise InputError(f"{place}: {method}() returned shape {tuple(answer.shape)}, must be {shape}")
    return answer
