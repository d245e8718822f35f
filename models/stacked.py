"""One network at several weight vectors at once, each on a mini-batch of its own."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.func import vmap

from prefine.models.objective import Batch, Objective, sample_losses


class Stacked:
    """The network of ``objective`` as k models of P trained parameters each; frozen parameters are common to all.

    Only the network's own pass is mapped over the models. What follows is one loss over all samples and one backward
    pass to a (k, P) leaf, whose row k is touched by model k alone.
    """

    def __init__(self, objective: Objective) -> None:
        self._network, self._kind, self._weight_decay = objective.network, objective.kind, objective.weight_decay
        trained = [p for p in objective.network.parameters() if p.requires_grad]
        self._shapes, self._sizes = [p.shape for p in trained], [p.numel() for p in trained]
        number = {id(p): i for i, p in enumerate(trained)}
        self._places = [
            (module._parameters, name, number[id(p)])
            for module in objective.network.modules()
            for name, p in module._parameters.items()
            if id(p) in number
        ]
        self._answers = vmap(self._answer)

    def gradients(self, weights: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Gradients (k, P) of each model's loss, weight decay included, and its samples' losses (k, n) without it.

        ``weights`` (k, P), or (P,), the same for all; the samples of ``batch`` are (k, n, ...), their shares (k, n).
        """
        leaf = weights.expand(len(batch.x), -1).detach().requires_grad_()
        pieces = zip(torch.split(leaf, self._sizes, dim=1), self._shapes, strict=True)
        answers = self._answers(batch.x, [piece.view(-1, *shape) for piece, shape in pieces])
        losses = sample_losses(answers.flatten(0, 1), batch.y.flatten(), self._kind)
        (gradients,) = torch.autograd.grad(losses @ batch.share.flatten(), leaf)
        decay = self._weight_decay * batch.share.sum(dim=1, keepdim=True)
        return gradients.add_(leaf.detach() * decay), losses.detach().view(batch.share.shape)

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
