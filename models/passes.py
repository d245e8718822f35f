"""A network's way from samples to answers, and back from the derivative by the answers to the gradient."""

from typing import NamedTuple, Protocol

from torch import Tensor, nn

from prefine.models.dense import Dense


class Answered(Protocol):
    """Answers of some samples, and the way back from them."""

    @property
    def answers(self) -> Tensor:
        """(n, outputs), without a graph."""
        ...

    def back(self, slopes: Tensor) -> None:
        """Put the gradient by the trained parameters where it goes, given the derivative ``slopes`` by the answers."""
        ...


class Pass(Protocol):
    """The way through a network at its present weights."""

    def answer(self, x: Tensor) -> Answered:
        """Of samples (n, ...)."""
        ...


def pass_of(network: nn.Module, weights: Tensor, gradient: Tensor) -> Pass:
    """That of ``network``, whose trained parameters and their gradients view ``weights`` and ``gradient`` (P,)."""
    dense = Dense.like(network)
    return Graphed(network, gradient) if dense is None else dense.at(weights, gradient)


class Graphed(NamedTuple):
    """By torch's graph, through any network."""

    network: nn.Module
    gradient: Tensor

    def answer(self, x: Tensor) -> "Tracked":
        """See `Pass`."""
        return Tracked(self.network(x), self.gradient)


class Tracked(NamedTuple):
    """Answers with their graph."""

    tracked: Tensor
    gradient: Tensor

    @property
    def answers(self) -> Tensor:
        """See `Answered`."""
        return self.tracked.detach()

    def back(self, slopes: Tensor) -> None:
        """See `Answered`.

        Backward from one number: given a derivative for each, torch imports SymPy to compare shapes, which takes a
        second.
        """
        self.gradient.zero_()
        (self.tracked.flatten() @ slopes.flatten()).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
