"""Federated averaging (McMahan et al., 2017, algorithm 1): local SGD on each device, then the mean of the models."""

from torch import Tensor

from prefine.models.algorithms.base import Algorithm, Clients


class FedAvg(Algorithm):
    """Each device takes ``local_steps`` steps of SGD: u_k = sum_i grad F_k(w - rate * (sum of the gradients before i)).

    Several local steps leave the bound's proof. With one it is FedSGD, which the bound covers.
    """

    def client_step(self, clients: Clients) -> Tensor:
        """The sums (k, P) of the devices' gradients along their own paths."""
        update = clients.gradients(0, clients.start)
        for step in range(1, clients.local_steps):
            update = update + clients.gradients(step, clients.start - clients.rate * update)
        return update
