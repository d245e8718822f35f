"""FedProx (Li et al., MLSys 2020): local SGD that a proximal term holds near the global model."""

from dataclasses import dataclass

from torch import Tensor

from prefine.models.algorithms.base import Algorithm, Clients


@dataclass(frozen=True)
class FedProx(Algorithm):
    """Each local step adds ``mu`` (w_k - w) to the gradient: u_k = sum_i [grad F_k(w_i) + mu (w_i - w)].

    Local steps are counted, not taken until an accuracy is reached as in the paper. With one local step, or ``mu`` = 0,
    it is FedAvg.
    """

    mu: float = 0.1

    def client_step(self, clients: Clients) -> Tensor:
        """The sums (k, P) of the devices' gradients and pulls along their own paths."""
        update = clients.gradients(0, clients.start)
        for step in range(1, clients.local_steps):
            moved = -clients.rate * update
            update = update + clients.gradients(step, clients.start + moved) + self.mu * moved
        return update
