"""What a federated algorithm is: a client step and a server step."""

import math
from abc import ABC, abstractmethod
from typing import ClassVar, Protocol

from torch import Tensor


class Clients(Protocol):
    """Some of a round's devices, k of them, with the mini-batches they draw in it."""

    @property
    def devices(self) -> Tensor:
        """Their numbers among all K devices, int64 (k,): the rows of what an algorithm keeps per device."""
        ...

    @property
    def shares(self) -> Tensor:
        """The share rho_k of each in the task loss, (k,), those of all K devices summing to one."""
        ...

    @property
    def start(self) -> Tensor:
        """The global model's weights w (P,), from which all of them start; not to be changed."""
        ...

    @property
    def rate(self) -> float:
        """The step size of the round."""
        ...

    @property
    def local_steps(self) -> int:
        """Mini-batches of each device, at least 1."""
        ...

    def gradients(self, step: int, weights: Tensor) -> Tensor:
        """(k, P): gradient of each device's loss, weight decay included, on its mini-batch number ``step`` (from 0).

        ``weights`` are (P,), the same for all devices, or (k, P), each device's own.
        """
        ...


class Algorithm(ABC):
    """One algorithm in one run: a new object is made for each, so it may keep tensors between rounds.

    The constructor takes keyword parameters with defaults, the scenario's ``[training.algorithm_parameters]``. A frozen
    dataclass is the shortest way for an algorithm that keeps nothing between rounds.

    A round: the server sends w to the devices that take part; each makes an update, an estimate of a descent direction
    in the units of a gradient (`client_step`); the server takes their weighted mean u = sum_k w_k u_k and makes the
    direction of its own step of it (`server_step`); the recipe then moves the model: w <- w - rate * direction, with
    the momentum and the decay of ``[training]`` where there are any.
    """

    max_local_steps: ClassVar[float] = math.inf
    """The largest ``training.local_steps`` that makes sense."""

    payloads: ClassVar[int] = 1
    """What a round sends each way, in models: 1, or more where something travels beside the model and the update."""

    @abstractmethod
    def client_step(self, clients: Clients) -> Tensor:
        """The updates u_k (k, P) of ``clients``.

        A device that ends its local training at w_k has the update (w - w_k) / rate: the sum of its gradients.
        """

    def server_step(self, update: Tensor) -> Tensor:
        """The direction (P,) of the server's step, made of the mean ``update`` (P,), which it must not change.

        By default the mean update itself.
        """
        return update
