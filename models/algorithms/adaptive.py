"""Adaptive servers (Reddi et al., ICLR 2021, algorithm 2): FedAdam and FedYogi."""

from abc import abstractmethod

import torch
from torch import Tensor

from prefine.models.algorithms.fedavg import FedAvg


class _Adaptive(FedAvg):
    """The direction ``server_rate`` m / (sqrt(v) + ``tau``), m <- ``beta1`` m + (1 - ``beta1``) u, u the mean update.

    u is in the units of a gradient: the paper's Delta is -rate u, so its server step eta is rate ``server_rate`` and
    its tau is rate ``tau``. v starts at ``tau`` squared, m at zero; neither is corrected for that, as in the paper.
    """

    def __init__(self, server_rate: float = 0.1, beta1: float = 0.9, beta2: float = 0.99, tau: float = 1e-3) -> None:
        self._server_rate, self._beta1, self._beta2, self._tau = server_rate, beta1, beta2, tau
        self._mean, self._square = torch.zeros(()), torch.tensor(tau**2)

    def server_step(self, update: Tensor) -> Tensor:
        """The direction (P,)."""
        self._mean = self._beta1 * self._mean + (1.0 - self._beta1) * update
        self._square = self._next_square(self._square, update.square())
        return self._server_rate * self._mean / (self._square.sqrt() + self._tau)

    @abstractmethod
    def _next_square(self, square: Tensor, seen: Tensor) -> Tensor:
        """v after a round whose squared update is ``seen``."""


class FedAdam(_Adaptive):
    """v <- ``beta2`` v + (1 - ``beta2``) u^2."""

    def _next_square(self, square: Tensor, seen: Tensor) -> Tensor:
        return self._beta2 * square + (1.0 - self._beta2) * seen


class FedYogi(_Adaptive):
    """v <- v - (1 - ``beta2``) u^2 sign(v - u^2): v falls no faster than it rises."""

    def _next_square(self, square: Tensor, seen: Tensor) -> Tensor:
        return square - (1.0 - self._beta2) * seen * torch.sign(square - seen)
