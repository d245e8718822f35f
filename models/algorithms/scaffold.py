"""SCAFFOLD (Karimireddy et al., ICML 2020): control variates against the drift of the devices' own data."""

from typing import ClassVar

import torch
from torch import Tensor

from prefine.models.algorithms.base import Algorithm, Clients


class Scaffold(Algorithm):
    """Device k takes SGD steps along grad F_k(w_i) - c_k + c; then c_k becomes its mean gradient on the way (option 2).

    c is the mean of all c_k, each with its device's share of the task loss (the paper's devices have equal shares); all
    start at zero. Devices and server exchange c_k and c beside the model: a second payload each way, in full precision.
    """

    payloads: ClassVar[int] = 2

    def __init__(self) -> None:
        self._own: dict[int, Tensor] = {}
        self._common = self._change = torch.zeros(())

    def client_step(self, clients: Clients) -> Tensor:
        """The corrected sums (k, P) of the devices' gradients; their new c_k count from the server's step on."""
        devices = clients.devices.tolist()
        zero = torch.zeros_like(clients.start)
        before = torch.stack([self._own.get(device, zero) for device in devices])
        correction = self._common - before
        update = clients.gradients(0, clients.start) + correction
        for step in range(1, clients.local_steps):
            update = update + clients.gradients(step, clients.start - clients.rate * update) + correction
        after = update / clients.local_steps - correction
        self._own |= dict(zip(devices, after, strict=True))
        self._change = self._change + clients.shares @ (after - before)
        return update

    def server_step(self, update: Tensor) -> Tensor:
        """The mean update (P,)."""
        self._common, self._change = self._common + self._change, torch.zeros(())
        return update
