"""Low-rank adapters (LoRA; Hu et al., 2022): a frozen layer and, beside it, a product of two thin ones.

The adapter computes B (A x), never the product B A: then a device neither forms nor differentiates a matrix of the
layer's size, which is what adapters save.
"""

import math
from collections.abc import Iterator
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

Layer = nn.Linear | nn.Conv2d


class LowRank(nn.Module):
    """``base`` plus ``scale`` B A, both without bias; A is drawn as `nn.Linear` draws, B is zero at the start.

    Of a convolution, A is one with ``rank`` channels and the layer's own geometry, and B mixes these channels.
    """

    def __init__(self, base: Layer, rank: int, scale: float) -> None:
        super().__init__()
        self.base, self.scale = base, scale
        if isinstance(base, nn.Conv2d):
            self.a: nn.Module = nn.Conv2d(
                base.in_channels,
                rank,
                base.kernel_size,  # type: ignore[arg-type]  # torch's own types differ between reading and making
                base.stride,  # type: ignore[arg-type]
                base.padding,  # type: ignore[arg-type]
                base.dilation,  # type: ignore[arg-type]
                bias=False,
                padding_mode=base.padding_mode,
            )
            self.b: nn.Module = nn.Conv2d(rank, base.out_channels, 1, bias=False)
        else:
            self.a = nn.Linear(base.in_features, rank, bias=False)
            self.b = nn.Linear(rank, base.out_features, bias=False)
        nn.init.kaiming_uniform_(self.a.get_parameter("weight"), a=math.sqrt(5.0))
        nn.init.zeros_(self.b.get_parameter("weight"))

    def forward(self, x: Tensor) -> Tensor:
        """The layer's output with the adapter's added."""
        result: Tensor = self.base(x) + self.scale * self.b(self.a(x))
        return result


def adapt(network: nn.Module, modules: tuple[str, ...], rank: int, scale: float) -> list[str]:
    """Put an adapter beside each layer whose name one of the patterns ``modules`` matches; returns their names.

    Layers are plain linear ones and plain ungrouped convolutions. Raises ValueError where none matches.
    """
    layers = dict(_layers(network))
    chosen = [name for name in layers if any(fnmatchcase(name, pattern) for pattern in modules)]
    if not chosen:
        raise ValueError(
            f"task.lora.modules = {', '.join(modules)}: matches no linear or convolutional layer of the model, "
            f"which has {', '.join(layers) or 'none'}"
        )
    for name in chosen:
        above, _, last = name.rpartition(".")
        setattr(network.get_submodule(above), last, LowRank(layers[name], rank, scale))
    return chosen


def _layers(network: nn.Module) -> Iterator[tuple[str, Layer]]:
    """Exact types only: a subclass may be read by its owner in ways that an adapter does not serve."""
    for name, module in network.named_modules():
        if name and (type(module) is nn.Linear or (type(module) is nn.Conv2d and module.groups == 1)):
            yield name, module


def merged(network: nn.Module) -> dict[str, Tensor]:
    """The weights that the layers beside adapters would have with the adapters built in, by the layers' names."""
    found = {}
    for name, module in network.named_modules():
        if isinstance(module, LowRank):
            a, b = module.a.get_parameter("weight"), module.b.get_parameter("weight")
            product = torch.tensordot(b.flatten(1), a, dims=1)
            found[name] = (module.base.weight + module.scale * product).detach()
    return found
