from pathlib import Path

import pytest
import torch

from prefine.emulator.errors import InputError
from prefine.models import networks
from prefine.models.cost import flops_per_sample
from prefine.models.data.digits import uci_halves
from prefine.models.objective import Objective
from prefine.models.transformer import VisionTransformer


@pytest.mark.parametrize(
    ("name", "parameters", "flops"),
    [
        ("logistic", 650, 4 * 640),  # forward, and backward for the weights alone: the input needs no gradient
        ("mlp", 4810, 4 * 4096 + 6 * 640),
        ("cnn", 80 + 1168 + 650, 4 * 64 * 72 + 6 * 16 * 1152 + 6 * 640),
    ],
)
def test_parameters_and_operations_by_hand(name: str, parameters: int, flops: int) -> None:
    objective = Objective(networks.build(name, (1, 8, 8), 10, 0), "classification", 1e-3)
    assert len(objective.weights) == parameters
    assert flops_per_sample(objective, uci_halves().general) == flops


@pytest.mark.parametrize("name", networks.NETWORKS)
def test_same_seed_same_weights(name: str) -> None:
    first, again, other = (networks.build(name, (1, 8, 8), 10, seed) for seed in (1, 1, 2))
    flat = [torch.cat([p.reshape(-1) for p in made.parameters()]) for made in (first, again, other)]
    assert torch.equal(flat[0], flat[1])
    assert not torch.equal(flat[0], flat[2])


def test_no_norm_of_the_transformer_divides_by_next_to_nothing() -> None:
    """A blank patch too comes to the first norm at about unit scale; at a fiftieth of it L was 30 times as large."""
    network = networks.build("transformer", (1, 8, 8), 10, 0)
    assert isinstance(network, VisionTransformer)
    deviation = (network.embed(torch.zeros(16, 4)) + network.place).std(dim=1)
    assert 0.5 < deviation.min() <= deviation.max() < 2.0


OWN = """
import torch
def small(shape, outputs):
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3), torch.nn.ReLU(), torch.nn.Linear(3, outputs))
def batch_norm(shape, outputs):
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.BatchNorm1d(64), torch.nn.Linear(64, outputs))
def wrong_shape(shape, outputs):
    return torch.nn.Flatten()
def wrong_output(shape, outputs):
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, outputs + 1))
def wrong_input(shape, outputs):
    return torch.nn.Linear(3, outputs)
def nothing(shape, outputs):
    return None
def raises(shape, outputs):
    return 1 / 0
def dropout(shape, outputs):
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, outputs), torch.nn.Dropout(0.2))


class Noisy(torch.nn.Linear):
    def forward(self, x):
        return super().forward(x.flatten(1)) + torch.rand(1)


def noisy(shape, outputs):
    return Noisy(64, outputs)


class Branches(torch.nn.Linear):
    def forward(self, x):
        return super().forward(x.flatten(1)) * (2.0 if float(x.sum()) > 0 else 1.0)


def branches(shape, outputs):
    return Branches(64, outputs)


class Centred(torch.nn.Linear):
    def forward(self, x):
        answers = super().forward(x.flatten(1))
        return answers - answers.mean(dim=0)


def centred(shape, outputs):
    return Centred(64, outputs)


class Counts(torch.nn.Linear):
    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.register_buffer("seen", torch.zeros(1))


def counts(shape, outputs):
    return torch.nn.Sequential(torch.nn.Flatten(), Counts(64, outputs))


def batch_norm_without_memory(shape, outputs):
    norm = torch.nn.BatchNorm1d(64, track_running_stats=False)
    return torch.nn.Sequential(torch.nn.Flatten(), norm, torch.nn.Linear(64, outputs))


class Norms(torch.nn.Linear):
    def forward(self, x):
        return torch.nn.functional.batch_norm(super().forward(x.flatten(1)), None, None, training=True)


def fewer_than_two(shape, outputs):
    return Norms(64, outputs)
"""


def test_own_factory(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    network = networks.build(f"{tmp_path}/own.py:small", (1, 8, 8), 10, 0)
    assert network(torch.zeros(2, 1, 8, 8)).shape == (2, 10)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("absent", "has no absent, only: small, batch_norm, "),
        ("batch_norm", "has batch normalisation"),
        ("batch_norm_without_memory", "has batch normalisation"),
        ("counts", "keeps buffers"),
        ("centred", "treat samples one by one"),
        ("fewer_than_two", "on one sample alone"),
        ("wrong_shape", "no parameters"),
        ("wrong_output", "must be \\(2, 10\\)"),
        ("wrong_input", "on an input"),
        ("nothing", "NoneType"),
        ("raises", "ZeroDivisionError"),
        ("dropout", "answers at random"),
        ("noisy", "answers at random"),
        ("branches", "gradients of single samples"),
    ],
)
def test_wrong_factories_are_told_what_is_wrong(function: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    with pytest.raises((ValueError, InputError), match=words) as caught:
        networks.build(f"{tmp_path}/own.py:{function}", (1, 8, 8), 10, 0)
    assert "\n" not in str(caught.value)


def test_wrong_names(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="logistic, mlp, cnn, resnet, transformer"):
        networks.build("perceptron", (1, 8, 8), 10, 0)
    with pytest.raises(InputError, match="no file"):
        networks.build(f"{tmp_path}/none.py:f", (1, 8, 8), 10, 0)
    (tmp_path / "broken.py").write_text("def f(:")
    with pytest.raises(InputError, match="SyntaxError"):
        networks.build(f"{tmp_path}/broken.py:f", (1, 8, 8), 10, 0)
    with pytest.raises(ValueError, match="images"):
        networks.build("cnn", (12,), 10, 0)
