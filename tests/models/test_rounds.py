from collections.abc import Callable

import numpy as np
import pytest
import torch

from prefine.models import rounds
from prefine.models.federation import Federation
from prefine.models.networks import NETWORKS
from prefine.models.objective import Batch, Objective
from prefine.models.rounds import DeviceRound, FusedRound
from prefine.models.uploads import Exact

Make = Callable[..., Objective]
WEIGHTS = np.array([0.5, 0.2, 0.3])
HERE = np.arange(3)


@pytest.fixture
def rows(federation: Federation) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.choice(part, size) for part, size in zip(federation.parts, (4, 1, 7), strict=True)]


def gradient_of_device(objective: Objective, task: Batch, rows: np.ndarray) -> torch.Tensor:
    """Plain autograd on one device's mini-batch, by torch's own mean cross-entropy."""
    parameters = list(objective.network.parameters())
    picked = torch.from_numpy(rows)
    loss = torch.nn.functional.cross_entropy(objective.network(task.x[picked]), task.y[picked])
    loss = loss + 0.5 * objective.weight_decay * sum(p.square().sum() for p in parameters)
    return torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, parameters)])


@pytest.mark.parametrize("name", NETWORKS)
def test_fused_gradient_is_the_mean_of_the_devices_gradients(
    name: str, objective: Make, federation: Federation, rows: list[np.ndarray]
) -> None:
    model = objective(name)
    expected = sum(
        weight * gradient_of_device(model, federation.task, own) for weight, own in zip(WEIGHTS, rows, strict=True)
    )
    fused = FusedRound(model, federation.task).aggregate(HERE, rows, WEIGHTS, 0.1).clone()
    assert torch.allclose(fused, torch.as_tensor(expected), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", NETWORKS)
def test_fused_gradient_in_single_precision(
    name: str, objective: Make, federation: Federation, rows: list[np.ndarray]
) -> None:
    model = objective(name)
    exact = FusedRound(model, federation.task).aggregate(HERE, rows, WEIGHTS, 0.1).clone()
    single = Objective(objective(name).network, "classification", model.weight_decay, torch.float32)
    task = Batch(federation.task.x.float(), federation.task.y, federation.task.share.float())
    fused = FusedRound(single, task).aggregate(HERE, rows, WEIGHTS, 0.1)
    assert float((fused.double() - exact).norm() / exact.norm()) < 1e-6


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("held", [1, 2**24])
def test_one_local_step_is_the_fused_round(
    name: str,
    held: int,
    objective: Make,
    federation: Federation,
    rows: list[np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rounds, "HELD", held)
    model = objective(name)
    fused = FusedRound(model, federation.task).aggregate(HERE, rows, WEIGHTS, 0.1).clone()
    each = DeviceRound(model, federation.task, 1, Exact(0, 32)).aggregate(HERE, rows, WEIGHTS, 0.1)
    assert torch.allclose(each, fused, rtol=1e-9, atol=1e-11)


def test_local_steps_are_sgd_on_each_device(objective: Make, federation: Federation) -> None:
    model, steps, rate = objective("mlp"), 3, 0.2
    generator = np.random.default_rng(0)
    rows = [generator.choice(part, steps * size) for part, size in zip(federation.parts, (2, 1, 5), strict=True)]
    start = model.weights.clone()
    moved = torch.zeros_like(start)
    for weight, own in zip(WEIGHTS, rows, strict=True):
        model.weights.copy_(start)
        for batch in np.split(own, steps):
            model.weights.sub_(rate * gradient_of_device(model, federation.task, batch))
        moved += weight * (model.weights - start)
    model.weights.copy_(start)
    update = DeviceRound(model, federation.task, steps, Exact(0, 32)).aggregate(HERE, rows, WEIGHTS, rate)
    assert torch.allclose(-rate * update, moved, rtol=1e-9, atol=1e-11)
