"""What a device sends of its update: all of it, coarse numbers, or the largest entries; what is left out is kept.

Error feedback (Seide et al., 2014; Karimireddy et al., 2019): a device adds what earlier uploads left out to its next
update, so nothing is lost for good. All of these but `Exact` leave the bound's proof.
"""

from abc import ABC, abstractmethod
from math import ceil, log2

import numpy as np
import torch
from torch import Tensor

from prefine.emulator.types import IntArray

SCALE_BITS = 32


class Exact:
    """Every number as it is, ``parameter_bits`` each."""

    def __init__(self, parameters: int, parameter_bits: int) -> None:
        self.bits = float(parameters * parameter_bits)

    def send(self, updates: Tensor, devices: IntArray) -> Tensor:
        """What arrives of ``updates`` (k, P) from ``devices`` (k,)."""
        del devices
        return updates


class _Lossy(ABC):
    """An upload that loses something, and remembers what, (K, P)."""

    bits: float

    def __init__(self, parameters: int, devices: int) -> None:
        self._missing = torch.zeros(devices, parameters)

    def send(self, updates: Tensor, devices: IntArray) -> Tensor:
        """What arrives of ``updates`` (k, P) from ``devices`` (k,), with what they still owed."""
        rows = torch.from_numpy(devices).to(updates.device)
        self._missing = self._missing.to(updates.device)
        whole = updates + self._missing.index_select(0, rows)
        sent: Tensor = self._compress(whole)
        self._missing.index_copy_(0, rows, whole - sent)
        return sent

    @abstractmethod
    def _compress(self, updates: Tensor) -> Tensor:
        """The part of ``updates`` (k, P) that is sent."""


class Quantised(_Lossy):
    """Each number rounded to one of 2^bits - 1 equal steps between plus and minus the device's largest."""

    def __init__(self, parameters: int, devices: int, number_bits: int) -> None:
        super().__init__(parameters, devices)
        self.bits = float(parameters * number_bits + SCALE_BITS)
        self._levels = 2 ** (number_bits - 1) - 1

    def _compress(self, updates: Tensor) -> Tensor:
        step = updates.abs().amax(dim=1, keepdim=True).clamp_min(torch.finfo(updates.dtype).tiny) / self._levels
        rounded: Tensor = (updates / step).round() * step
        return rounded


class TopK(_Lossy):
    """The largest ``share`` of the entries, each with its index (Stich et al., 2018)."""

    def __init__(self, parameters: int, devices: int, share: float, parameter_bits: int) -> None:
        super().__init__(parameters, devices)
        self._kept = max(1, round(share * parameters))
        self.bits = float(self._kept * (parameter_bits + ceil(log2(max(2, parameters)))))

    def _compress(self, updates: Tensor) -> Tensor:
        size, place = updates.abs(), updates.shape[1] - self._kept
        least = torch.from_numpy(np.partition(size.cpu().numpy(), place, axis=1)[:, place, None]).to(size.device)
        kept = size >= least
        if int(kept.sum()) > kept.shape[0] * self._kept:  # equal entries at the edge
            kept = torch.zeros_like(kept).scatter_(1, size.topk(self._kept, dim=1, sorted=False).indices, value=True)
        return updates * kept


Upload = Exact | _Lossy
