"""The loss as a function of one flat weight vector, and its gradient.

F(w) = sum_i s_i l(w; x_i, y_i) + (weight_decay / 2) |w|^2 sum_i s_i, with sample shares s_i. All of a network's
parameters live in one vector and all their gradients in another, so a training step is one operation.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.func import functional_call

from prefine.emulator.types import IntArray
from prefine.models.data.samples import Kind, Samples
from prefine.models.losses import losses_and_slopes, losses_of, sample_losses
from prefine.models.passes import pass_of

CHUNK = 2048
"""Samples in one forward and backward pass where all of a data set is looked at, at most."""

CHUNK_NUMBERS = 2**20
"""Numbers in them, at most: large samples go in smaller chunks, which bounds memory and is quicker."""


@contextmanager
def one_thread() -> Iterator[None]:
    """Runs on one torch thread: parallel sums depend on the number of threads, and results must not."""
    threads = torch.get_num_threads()
    if threads == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class Batch:
    """Samples as tensors: ``x`` (n, ...), ``y`` (n,), and each sample's ``share`` (n,) in the loss."""

    __slots__ = ("share", "x", "y")

    def __init__(self, x: Tensor, y: Tensor, share: Tensor) -> None:
        self.x, self.y, self.share = x, y, share

    @classmethod
    def of(cls, samples: Samples, share: Tensor | None = None, dtype: torch.dtype = torch.float32) -> "Batch":
        """All of ``samples``; every one with the same share unless told."""
        count = len(samples)
        y = torch.from_numpy(samples.y)
        return cls(
            torch.from_numpy(samples.x).to(dtype),
            y.to(dtype) if y.is_floating_point() else y,
            torch.full((count,), 1.0 / count, dtype=dtype) if share is None else share.to(dtype),
        )

    def __len__(self) -> int:
        return len(self.x)

    def take(self, rows: Tensor, share: Tensor) -> "Batch":
        """The given ``rows`` (m,) with new shares, both from anywhere, where these samples are."""
        index, share = rows.to(self.x.device), share.to(self.x.device)
        return Batch(self.x.index_select(0, index), self.y.index_select(0, index), share)

    def to(self, device: torch.device) -> "Batch":
        """The same samples on ``device``."""
        return Batch(self.x.to(device), self.y.to(device), self.share.to(device))

    def chunks(self) -> Iterator["Batch"]:
        """All samples in order, some at a time."""
        size = max(1, min(CHUNK, CHUNK_NUMBERS * len(self) // max(1, self.x.numel())))
        return (self.part(start, start + size) for start in range(0, len(self), size))

    def part(self, start: int, stop: int) -> "Batch":
        """A stretch of the samples, with their shares."""
        if start == 0 and stop >= len(self):
            return self
        return Batch(self.x[start:stop], self.y[start:stop], self.share[start:stop])


def evenly(batch: Batch, rows: IntArray) -> Batch:
    """The samples at ``rows`` (m,), each with the share 1/m."""
    index = torch.from_numpy(rows)
    return batch.take(index, torch.full((len(index),), 1.0 / max(1, len(index)), dtype=batch.share.dtype))


def joined(parts: list[Tensor]) -> Tensor:
    """The rows of all ``parts``; one is not copied."""
    return parts[0] if len(parts) == 1 else torch.cat(parts)


class Objective:
    """A network and its loss; ``weights`` (P,) and ``gradient`` (P,) are what the network's trained parameters view.

    Cross-entropy for classes, half the squared error for a regression. Parameters that need no gradient are frozen:
    no part of the weights, but of the weight decay's term in the loss, so that freezing leaves the loss as it was.
    """

    def __init__(self, network: nn.Module, kind: Kind, weight_decay: float, dtype: torch.dtype = torch.float32) -> None:
        self.network, self.kind, self.weight_decay = network.to(dtype), kind, weight_decay
        parameters = [p for p in network.parameters() if p.requires_grad]
        frozen = [p.detach() for p in network.parameters() if not p.requires_grad]
        self._frozen_norm_sq = sum(float(p.reshape(-1).dot(p.reshape(-1))) for p in frozen)
        self.weights = torch.cat([p.detach().reshape(-1) for p in parameters])
        self.gradient = torch.zeros_like(self.weights)
        self.losses = self.weights.new_zeros(0)
        """The samples' losses, without weight decay, of the last mini-batch that was differentiated."""
        start = 0
        for parameter in parameters:
            view = slice(start, start + parameter.numel())
            parameter.data = self.weights[view].view_as(parameter)
            parameter.grad = self.gradient[view].view_as(parameter)
            start = view.stop
        self._pass = pass_of(network, self.weights, self.gradient)

    def of(self, network: nn.Module) -> "Objective":
        """The same loss of another ``network``, which becomes the new objective's own."""
        for parameter in network.parameters():
            parameter.grad = None
        return Objective(network.to(self.weights.device), self.kind, self.weight_decay, self.weights.dtype)

    def penalty(self, total_share: float) -> float:
        """The weight decay's part of the loss."""
        return 0.5 * self.weight_decay * total_share * (float(self.weights.dot(self.weights)) + self._frozen_norm_sq)

    @torch.no_grad()
    def loss(self, batch: Batch) -> float:
        """F over ``batch`` at the present weights."""
        return self.loss_of(self.losses_of_each(batch), batch)

    def loss_of(self, losses: Tensor, batch: Batch) -> float:
        """F over ``batch`` at the present weights, where its samples have ``losses`` (n,) without weight decay."""
        parts = zip(torch.split(losses, [len(part) for part in batch.chunks()]), batch.chunks(), strict=True)
        total_share = float(batch.share.sum())
        return sum(float(some @ part.share) for some, part in parts) + self.penalty(total_share)

    @torch.no_grad()
    def losses_of_each(self, batch: Batch) -> Tensor:
        """The samples' losses (n,), without weight decay, at the present weights."""
        return joined([losses_of(self._answers(part), part.y, self.kind) for part in batch.chunks()])

    @torch.no_grad()
    def predict(self, batch: Batch) -> Tensor:
        """The network's answers (n, outputs)."""
        return joined([self._answers(part) for part in batch.chunks()])

    def _answers(self, batch: Batch) -> Tensor:
        return self._pass.answer(batch.x).answers

    @torch.no_grad()
    def score(self, batch: Batch) -> float:
        """Share of right classes, or the coefficient of determination 1 - residual / total sum of squares."""
        return self.score_of(self.predict(batch), batch)

    def score_of(self, predicted: Tensor, batch: Batch) -> float:
        """`score`, where the network's answers are ``predicted`` (n, outputs)."""
        if self.kind == "classification":
            return float((predicted.argmax(dim=1) == batch.y).double().mean())
        residual = (predicted[:, 0] - batch.y).double().square().sum()
        return 1.0 - float(residual / (batch.y - batch.y.mean()).double().square().sum())

    def constant_score(self, batch: Batch) -> float:
        """The `score` of the best answer that is the same for every sample: the commonest class, or the mean."""
        return float(batch.y.bincount().max()) / len(batch) if self.kind == "classification" else 0.0

    @contextmanager
    def at(self, weights: Tensor) -> Iterator[None]:
        """The network at ``weights`` (P,) inside the ``with`` block; its own come back after it, errors included."""
        present = self.weights.clone()
        self.weights.copy_(weights)
        try:
            yield
        finally:
            self.weights.copy_(present)

    def differentiate(self, batch: Batch) -> None:
        """Put the gradient of the data part of F over ``batch`` in ``self.gradient``; the losses in ``self.losses``.

        Large batches go in parts: at once they take no longer to compute, but as long again to be given the memory.
        """
        found = self._pull_back((batch,) if batch.x.numel() <= CHUNK_NUMBERS else batch.chunks())
        self.losses = joined(found)

    def full_gradient(self, batch: Batch) -> float:
        """F over ``batch`` and, left in ``self.gradient``, its gradient; in chunks, so memory stays bounded."""
        losses = joined(self._pull_back(batch.chunks()))
        self.regularise(float(batch.share.sum()))
        return self.loss_of(losses, batch)

    def _pull_back(self, parts: Iterable[Batch]) -> list[Tensor]:
        """Put the gradient of the data part of F over ``parts`` in ``self.gradient``; the losses (n,) of each part."""
        found: list[Tensor] = []
        for part in parts:
            before = self.gradient.clone() if found else None
            answered = self._pass.answer(part.x)
            losses, slopes = losses_and_slopes(answered.answers, part.y, part.share, self.kind)
            answered.back(slopes)
            if before is not None:
                self.gradient.add_(before)
            found.append(losses)
        return found

    def regularise(self, total_share: float) -> None:
        """Add the weight decay's part to ``self.gradient``."""
        self.gradient.add_(self.weights, alpha=self.weight_decay * total_share)


def weighted_loss(objective: Objective) -> Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]:
    """F as a pure function of (weights (P,), x (n, ...), y (n,), share (n,)), for torch.func."""
    parameters = [(name, p) for name, p in objective.network.named_parameters() if p.requires_grad]
    sizes = [p.numel() for _, p in parameters]

    def loss(weights: Tensor, x: Tensor, y: Tensor, share: Tensor) -> Tensor:
        pieces = zip(parameters, torch.split(weights, sizes), strict=True)
        views = {name: piece.view(p.shape) for (name, p), piece in pieces}
        losses = sample_losses(functional_call(objective.network, views, (x,)), y, objective.kind)
        return losses @ share + 0.5 * objective.weight_decay * weights.dot(weights) * share.sum()

    return loss
