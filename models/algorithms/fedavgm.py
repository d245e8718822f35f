"""FedAvg with server momentum (Hsu et al., 2019)."""

import torch
from torch import Tensor

from prefine.models.algorithms.fedavg import FedAvg


class FedAvgM(FedAvg):
    """The server moves along v <- ``beta`` v + u, u the mean update.

    Unlike ``[training] momentum``, which runs through both stages, its velocity starts at zero with fine-tuning.
    """

    def __init__(self, beta: float = 0.9) -> None:
        self._beta, self._velocity = beta, torch.zeros(())

    def server_step(self, update: Tensor) -> Tensor:
        """v (P,)."""
        self._velocity = self._beta * self._velocity + update
        return self._velocity
