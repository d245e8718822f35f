"""The networks: by name, or by the user's own ``file.py:factory``.

A network maps (n, *shape) to (n, outputs). It must treat samples one by one: layers that mix the samples of a batch
or keep running statistics (batch normalisation) are refused, since then a weighted sum over all devices' samples
would not be the mean of the devices' own gradients.
"""

import math
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from prefine.emulator.errors import InputError
from prefine.emulator.loading import foreign, load_attribute, own_file, sources
from prefine.emulator.text import unknown
from prefine.models.transformer import VisionTransformer

Factory = Callable[[tuple[int, ...], int], nn.Module]
"""Makes a network from the shape of one sample and the number of outputs."""

HIDDEN = 64

ALIKE = 1e-3
"""Relative. Answers that differ by less than this differ by rounding: products of more rows add in another order."""


def logistic(shape: tuple[int, ...], outputs: int) -> nn.Module:
    """Multinomial logistic regression (linear regression with one output): the convex case."""
    return _initialised(nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), outputs)))


def mlp(shape: tuple[int, ...], outputs: int) -> nn.Module:
    """One hidden layer of 64 tanh units: smooth, so the bound's smoothness exists."""
    return _initialised(
        nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, outputs))
    )


def cnn(shape: tuple[int, ...], outputs: int) -> nn.Module:
    """Two 3x3 convolutions with average pooling, then a linear layer; shape is (channels, height, width)."""
    channels, height, width = _image(shape)
    return _initialised(
        nn.Sequential(
            nn.Conv2d(channels, 8, 3, padding=1),
            nn.Tanh(),
            nn.AvgPool2d(2),
            nn.Conv2d(8, 16, 3, padding=1),
            nn.Tanh(),
            nn.AvgPool2d(2),
            nn.Flatten(),
            nn.Linear(16 * (height // 4) * (width // 4), outputs),
        )
    )


class ResidualBlock(nn.Module):
    """x + conv(gelu(norm(conv(gelu(norm(x)))))), pre-activation (He et al., 2016), with group normalisation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.GroupNorm(4, channels),
            nn.GELU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.GroupNorm(4, channels),
            nn.GELU(),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """The block's output, of the shape of ``x``."""
        result: Tensor = x + self.branch(x)
        return result


def resnet(shape: tuple[int, ...], outputs: int) -> nn.Module:
    """A small residual network: two blocks of 16 channels, pooling between, global average at the end."""
    channels, _, _ = _image(shape)
    return _initialised(
        nn.Sequential(
            nn.Conv2d(channels, 16, 3, padding=1),
            ResidualBlock(16),
            nn.AvgPool2d(2),
            ResidualBlock(16),
            nn.GELU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(16, outputs),
        )
    )


def transformer(shape: tuple[int, ...], outputs: int) -> nn.Module:
    """A small vision transformer; see `prefine.models.transformer`."""
    return _initialised(VisionTransformer(_image(shape), outputs))


NETWORKS: dict[str, Factory] = {
    "logistic": logistic,
    "mlp": mlp,
    "cnn": cnn,
    "resnet": resnet,
    "transformer": transformer,
}


def build(
    name: str, shape: tuple[int, ...], outputs: int, seed: int, folder: Path = Path(), *, check: bool = True
) -> nn.Module:
    """The network called ``name``, or made by the factory in ``path/to/file.py:factory``, the path from ``folder``.

    It maps (n, *shape) to (n, outputs). Its initial weights are the constructors' own, drawn under ``seed``; torch's
    global generator is left as it was. Raises ValueError where there is no such network or, unless ``check`` says that
    this is known, it cannot be trained here; InputError where the user's file cannot be read.
    """
    factory = _own_factory(name, folder) if own_file(name) else NETWORKS.get(name)
    if factory is None:
        raise ValueError(unknown(f"model {name!r}", name, [*NETWORKS, "path/to/file.py:factory"]))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        network = _made(factory, name, shape, outputs)
        if check:
            _check(network, name, shape, outputs)
    return network


def identity(name: str, network: nn.Module, folder: Path = Path()) -> bytes:
    """What tells a network from others for caching: its layers, and the sources where it is the user's own."""
    return repr(network).encode() + (sources(name, folder).digest().encode() if own_file(name) else b"")


def _initialised(network: nn.Module) -> nn.Module:
    """Weights normal with variance 1/fan_in (LeCun et al., 1998), biases zero."""
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.normal_(module.weight, std=1.0 / math.sqrt(module.weight[0].numel()))
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return network


def _image(shape: tuple[int, ...]) -> tuple[int, int, int]:
    if len(shape) != 3 or min(shape[1:]) < 4:
        raise ValueError(
            f"model needs images of at least 4x4 pixels, but a sample has shape {shape}; use mlp or logistic"
        )
    return shape[0], shape[1], shape[2]


def _own_factory(name: str, folder: Path) -> Factory:
    factory = load_attribute(name, "model", folder)
    if not callable(factory):
        raise InputError(f"model {name}: must be a function of (shape, outputs), not {type(factory).__name__}")
    made: Factory = factory
    return made


def _made(factory: Factory, name: str, shape: tuple[int, ...], outputs: int) -> nn.Module:
    if not own_file(name):
        return factory(shape, outputs)
    with foreign(f"model {name!r}:", f"when it was made for samples of shape {shape}"):
        return factory(shape, outputs)


def _check(network: object, name: str, shape: tuple[int, ...], outputs: int) -> None:
    if not isinstance(network, nn.Module):
        raise ValueError(  # noqa: TRY004  # wrong input is a ValueError here, whatever is wrong with it
            f"model {name!r}: the factory returned {type(network).__name__}, not a torch.nn.Module"
        )
    if any(isinstance(module, _BatchNorm) for module in network.modules()):
        raise ValueError(f"model {name!r} has batch normalisation, which mixes samples; use group normalisation")
    if next(network.buffers(), None) is not None:
        raise ValueError(
            f"model {name!r} keeps buffers (running statistics?); a constant may be a parameter that needs no gradient"
        )
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise ValueError(f"model {name!r} has no parameters to train")
    with foreign(f"model {name!r}:", f"on an input of shape {(2, *shape)}"), torch.no_grad():
        made = network(torch.zeros(2, *shape))
        again = network(torch.zeros(2, *shape))
    if made.shape != (2, outputs):
        raise ValueError(f"model {name!r} gives shape {tuple(made.shape)} for two samples; it must be {(2, outputs)}")
    if _drops(network) or not torch.equal(made, again):
        raise ValueError(f"model {name!r} answers at random (dropout?), so no run could be repeated; use weight_decay")
    if own_file(name):
        _check_apart(network, name, shape)
        _check_derivatives(network, name, shape)


def _drops(network: nn.Module) -> bool:
    return any(isinstance(module, _DropoutNd) and module.p > 0.0 for module in network.modules())


def _check_apart(network: nn.Module, name: str, shape: tuple[int, ...]) -> None:
    """A weighted sum over all devices' samples is the mean of the devices' gradients only where no sample sees others.

    The samples differ, for what mixes equal ones may leave them as they are.
    """
    samples = torch.rand(3, *shape)
    with foreign(f"model {name!r}:", "on one sample alone"), torch.no_grad():
        together = network(samples)
        apart = torch.cat([network(samples[i : i + 1]) for i in range(len(samples))])
    if not torch.allclose(together, apart, rtol=ALIKE, atol=ALIKE * float(together.abs().max()), equal_nan=True):
        raise ValueError(
            f"model {name!r} answers otherwise to a sample beside others than to it alone (a mean over the batch?); it "
            "must treat samples one by one"
        )


def _check_derivatives(network: nn.Module, name: str, shape: tuple[int, ...]) -> None:
    """The devices' own gradients and the curvature need derivatives that torch can take for several models at once."""
    weights = {key: value.detach() for key, value in network.named_parameters()}

    def answer(w: dict[str, Tensor], x: Tensor) -> Tensor:
        squares: Tensor = functional_call(network, w, (x[None],)).square().sum()
        return squares

    with foreign(f"model {name!r}:", "when torch took the gradients of single samples (torch.func.vmap and grad)"):
        vmap(grad(answer), in_dims=(None, 0))(weights, torch.zeros(2, *shape))
