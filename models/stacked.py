"""One network at several weight vectors at once, each on a mini-batch of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.func import vmap

from prefine.models.dense import Dense
from prefine.models.losses import losses_and_slopes
from prefine.models.objective import Batch, Objective
from prefine.models.passes import Pass, Tracked


class Models(Protocol):
    """A network as a function of its trained parameters."""

    def at(self, weights: Tensor, gradient: Tensor) -> Pass:
        """The way of samples (k, n, ...) through the models at ``weights`` (k, P), and back to ``gradient`` (k, P)."""
        ...


class Stacked:
    """The network of ``objective`` as k models of P trained parameters each; frozen parameters are common to all.

    What follows the network's answers is one loss over all samples and one way back, on which row k of the gradient is
    touched by model k alone.
    """

    def __init__(self, objective: Objective) -> None:
        self._kind, self._weight_decay = objective.kind, objective.weight_decay
        self._models: Models = Dense.like(objective.network) or Mapped(objective.network)

    def gradients(self, weights: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Gradients (k, P) of each model's loss, weight decay included, and its samples' losses (k, n) without it.

        ``weights`` (k, P), or (P,), the same for all; the samples of ``batch`` are (k, n, ...), their shares (k, n).
        """
        gradients, losses = self.data_gradients(weights, batch)
        decay = self._weight_decay * batch.share.sum(dim=1, keepdim=True)
        return gradients.add_(weights.expand_as(gradients) * decay), losses

    def data_gradients(self, weights: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """As `gradients`, of the data part of the losses alone."""
        everyone = weights.expand(len(batch.x), -1)
        gradients = everyone.new_empty(everyone.shape)
        answered = self._models.at(everyone, gradients).answer(batch.x)
        answers = answered.answers
        losses, slopes = losses_and_slopes(answers.flatten(0, 1), batch.y.flatten(), batch.share.flatten(), self._kind)
        answered.back(slopes.view_as(answers))
        return gradients, losses.view_as(batch.share)

    @torch.no_grad()
    def answers(self, weights: Tensor, batch: Batch) -> Tensor:
        """(k, n, outputs) of the models at ``weights`` (k, P), for the samples of ``batch`` (k, n, ...)."""
        return self._models.at(weights, torch.empty_like(weights)).answer(batch.x).answers


class Mapped:
    """Any network: its own pass is mapped over the models."""

    def __init__(self, network: nn.Module) -> None:
        trained = [p for p in network.parameters() if p.requires_grad]
        self._network, self._shapes, self._sizes = network, [p.shape for p in trained], [p.numel() for p in trained]
        number = {id(p): i for i, p in enumerate(trained)}
        self._places = [
            (module._parameters, name, number[id(p)])
            for module in network.modules()
            for name, p in module._parameters.items()
            if id(p) in number
        ]
        self._answers = vmap(self._answer)

    def at(self, weights: Tensor, gradient: Tensor) -> "Place":
        """See `Models`."""
        return Place(self, weights, gradient)

    def answers(self, x: Tensor, weights: Tensor) -> Tensor:
        """(k, n, outputs) of k models, with their graph."""
        pieces = zip(torch.split(weights, self._sizes, dim=1), self._shapes, strict=True)
        answers: Tensor = self._answers(x, [piece.view(-1, *shape) for piece, shape in pieces])
        return answers

    def _answer(self, x: Tensor, parameters: list[Tensor]) -> Tensor:
        """(n, outputs) of one model."""
        with self._with(parameters):
            answer: Tensor = self._network(x)
        return answer

    @contextmanager
    def _with(self, parameters: list[Tensor]) -> Iterator[None]:
        """``parameters`` in the network's places inside the block, one that is used twice in both of its places."""
        own = [held[name] for held, name, _ in self._places]
        for held, name, i in self._places:
            held[name] = parameters[i]  # type: ignore[assignment]  # as torch.func.functional_call does
        try:
            yield
        finally:
            for (held, name, _), p in zip(self._places, own, strict=True):
                held[name] = p


class Place:
    """Mapped models at ``weights``."""

    def __init__(self, models: Mapped, weights: Tensor, gradient: Tensor) -> None:
        self._models, self._gradient = models, gradient
        self._leaf = weights.detach().requires_grad_()
        self._leaf.grad = gradient

    def answer(self, x: Tensor) -> Tracked:
        """See `Pass`."""
        return Tracked(self._models.answers(x, self._leaf), self._gradient)
