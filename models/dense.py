"""Linear layers and tanh one after the other: answers and gradients without torch's graph, of one model or of several.

In a network of this size keeping the graph takes torch longer than the arithmetic. The products are those of its own
backward pass, so the numbers are the same to the last bit.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Linear(NamedTuple):
    """A layer's parameters and their gradients' places: (outputs, inputs) and (1, outputs), or (k, ...) of k models."""

    weight: Tensor
    bias: Tensor
    weight_gradient: Tensor
    bias_gradient: Tensor

    def answer(self, x: Tensor) -> Tensor:
        """(n, outputs) for (n, inputs); both (k, n, ...) of k models."""
        return (torch.addmm if x.ndim == 2 else torch.baddbmm)(self.bias, x, self.weight.mT)

    def note(self, x: Tensor, slopes: Tensor) -> None:
        """Put the gradients where they go, given the input and the derivative ``slopes`` by the answer."""
        if x.ndim == 2:
            torch.mm(slopes.t(), x, out=self.weight_gradient)
        else:  # of one output, what is written with gaps between the models has other last bits
            self.weight_gradient.copy_(torch.bmm(slopes.mT, x))
        torch.sum(slopes, dim=-2, keepdim=True, out=self.bias_gradient)

    def back(self, answer: Tensor, slopes: Tensor) -> Tensor:
        """The derivative by the input."""
        del answer
        return (torch.mm if slopes.ndim == 2 else torch.bmm)(slopes, self.weight)


class Tanh(NamedTuple):
    """The activation, of any shape; as `Linear`, without parameters."""

    def answer(self, x: Tensor) -> Tensor:
        """See `Linear`."""
        return x.tanh()

    def note(self, x: Tensor, slopes: Tensor) -> None:
        """Nothing to put anywhere."""

    def back(self, answer: Tensor, slopes: Tensor) -> Tensor:
        """See `Linear`."""
        derivative: Tensor = torch.ops.aten.tanh_backward(slopes, answer)
        return derivative


Layer = Linear | Tanh


class Trace(NamedTuple):
    """What each of ``layers`` was given and, last of ``passed``, what came out."""

    layers: tuple[Layer, ...]
    passed: list[Tensor]

    @property
    def answers(self) -> Tensor:
        """(n, outputs), or (k, n, outputs) of k models."""
        return self.passed[-1]

    def back(self, slopes: Tensor) -> None:
        """Put the gradient by all parameters where it goes, given the derivative ``slopes`` by the answers."""
        for i in reversed(range(len(self.layers))):
            self.layers[i].note(self.passed[i], slopes)
            if i > 0:
                slopes = self.layers[i].back(self.passed[i + 1], slopes)


class Dense(NamedTuple):
    """Such a network as a function of its parameters in one flat vector, in their order."""

    layers: tuple[nn.Linear | nn.Tanh, ...]

    @classmethod
    def like(cls, network: nn.Module) -> "Dense | None":
        """``network`` as one, where it is a sequence of such layers and all their parameters are trained."""
        if type(network) is not nn.Sequential or any(map(_is_watched, network.modules())):
            return None
        modules = list(network)
        if modules and type(modules[0]) is nn.Flatten and (modules[0].start_dim, modules[0].end_dim) == (1, -1):
            modules = modules[1:]
        layers = tuple(module for module in modules if isinstance(module, nn.Linear | nn.Tanh))
        plain = all(type(module) in (nn.Linear, nn.Tanh) for module in modules)
        begins = bool(modules) and type(modules[0]) is nn.Linear
        return cls(layers) if plain and begins and _all_trained(layers) else None

    def at(self, weights: Tensor, gradient: Tensor) -> "Bound":
        """The network at ``weights``, whose gradient goes to ``gradient``: both (P,), or (k, P) of k models."""
        return Bound(tuple(self._views(weights, gradient)), weights.ndim)

    def _views(self, weights: Tensor, gradient: Tensor) -> Iterator[Layer]:
        start = 0
        for layer in self.layers:
            if isinstance(layer, nn.Tanh):
                yield Tanh()
                continue
            shape = (*weights.shape[:-1], *layer.weight.shape)
            middle = start + layer.weight.numel()
            end = middle + layer.out_features
            yield Linear(
                weights[..., start:middle].view(shape),
                weights[..., middle:end].unsqueeze(-2),
                gradient[..., start:middle].view(shape),
                gradient[..., middle:end].unsqueeze(-2),
            )
            start = end


class Bound(NamedTuple):
    """A network's layers as views of its weights and of its gradient, which have ``axes`` axes."""

    layers: tuple[Layer, ...]
    axes: int

    def answer(self, x: Tensor) -> Trace:
        """The way of samples ``x`` (n, ...) through the network; (k, n, ...) of k models."""
        passed = [x.flatten(self.axes)]
        for layer in self.layers:
            passed.append(layer.answer(passed[-1]))
        return Trace(self.layers, passed)


def _is_watched(module: nn.Module) -> bool:
    """Whether somebody is told when ``module`` computes."""
    return any((module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks))


def _all_trained(layers: Sequence[nn.Module]) -> bool:
    """Whether each linear layer has weights and biases, all are trained, and none is there twice."""
    linear = [layer for layer in layers if isinstance(layer, nn.Linear)]
    own = {id(p) for layer in linear for p in (layer.weight, layer.bias) if p is not None and p.requires_grad}
    return len(own) == 2 * len(linear)
