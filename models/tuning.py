"""What fine-tuning moves: the whole model, some of its parameters, or adapters beside its layers.

Pre-training moves everything. At the hand-over what is tuned becomes a model of its own: a flat vector of the tuned
parameters, all others frozen at what pre-training made of them. Uploads, gradients and the devices' work are of the
tuned ones alone.
"""

import copy
from abc import ABC, abstractmethod
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
from torch import nn

from prefine.emulator.randomness import stream
from prefine.emulator.scenario.task import TaskSettings
from prefine.models.lowrank import adapt
from prefine.models.objective import Objective

SHOWN = 12
"""Parameter names at most in a message."""


class Tuning(ABC):
    """How the model that is fine-tuned comes from the one that was pre-trained."""

    @abstractmethod
    def begin(self, pretrained: Objective, seed: int) -> Objective:
        """The objective of the tuned parameters; ``seed`` draws those that are new.

        ``pretrained`` stays as it is. Raises ValueError, one line, where the model has nothing of the kind.
        """


class Everything(Tuning):
    """All parameters, as they are: fine-tuning goes on where pre-training ended."""

    def begin(self, pretrained: Objective, seed: int) -> Objective:
        """``pretrained`` itself."""
        return pretrained


@dataclass(frozen=True)
class Named(Tuning):
    """The parameters whose names one of ``patterns`` matches (``*`` any text)."""

    patterns: tuple[str, ...]

    def begin(self, pretrained: Objective, seed: int) -> Objective:
        """See `Tuning`."""
        network = copy.deepcopy(pretrained.network)
        _tune_only(network, self.patterns)
        return pretrained.of(network)


class LastLayer(Tuning):
    """The parameters of the layer that was registered last: the head of a network that is built in order."""

    def begin(self, pretrained: Objective, seed: int) -> Objective:
        """See `Tuning`."""
        name, _ = list(pretrained.network.named_parameters())[-1]
        layer = name.rpartition(".")[0]
        return Named((f"{layer}.*" if layer else name,)).begin(pretrained, seed)


@dataclass(frozen=True)
class Adapters(Tuning):
    """Low-rank adapters beside the layers that ``modules`` match, and the parameters that ``also`` match as they are.

    With ``train_a`` false, only the zero halves B are trained (FFA-LoRA; Sun et al., 2024): the mean of the devices'
    adapters is then the adapter of the mean.
    """

    modules: tuple[str, ...]
    rank: int
    scale: float
    also: tuple[str, ...] = ()
    train_a: bool = True

    def begin(self, pretrained: Objective, seed: int) -> Objective:
        """See `Tuning`."""
        network = copy.deepcopy(pretrained.network)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(int(stream(seed, "adapters").integers(2**63)))
            adapted = adapt(network, self.modules, self.rank, self.scale)
        halves = ("a", "b") if self.train_a else ("b",)
        trained = tuple(f"{name}.{half}.weight" for name in adapted for half in halves)
        if self.also:
            _tune_only(network, self.also)
            trained += tuple(name for name, p in network.named_parameters() if p.requires_grad)
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(name in trained)
        return pretrained.of(network)


def tuning_of(task: TaskSettings) -> Tuning:
    """What ``task.finetune`` names."""
    if task.finetune == "all":
        return Everything()
    if task.finetune == "last":
        return LastLayer()
    if task.finetune == "bias":
        return Named(("*bias",))
    if task.finetune == "lora":
        lora = task.lora
        return Adapters(lora.modules, lora.rank, lora.alpha / lora.rank, lora.also, lora.train_a)
    return Named(task.finetune)


def _tune_only(network: nn.Module, patterns: tuple[str, ...]) -> None:
    """Freeze what no pattern matches; raises ValueError where nothing is left."""
    named = [(name, p) for name, p in network.named_parameters() if p.requires_grad]
    for name, parameter in named:
        parameter.requires_grad_(any(fnmatchcase(name, pattern) for pattern in patterns))
    if not any(parameter.requires_grad for _, parameter in named):
        names = [name for name, _ in named]
        shown = ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
        raise ValueError(f"task.finetune: {', '.join(patterns)} matches no parameter of the model, which has {shown}")
