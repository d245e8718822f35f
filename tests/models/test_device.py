"""Training elsewhere than on the CPU: on a CUDA device where there is one, and anywhere on one that is pretended.

The pretended device is torch's ``meta``: its tensors have a place and a shape but no numbers, and operations on tensors
of two places are refused, though not all of those that CUDA refuses.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from prefine.emulator.errors import InputError
from prefine.models.device import CPU, device_of
from prefine.models.objective import Batch
from prefine.models.workload import Workload

Make = Callable[..., Workload]
WEIGHTS = np.full(4, 0.25)
RECIPES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"preset": "practice", "personalise": 1}, {"validation": 0.2}),
    ({"local_steps": 2, "algorithm": "scaffold"}, {"finetune": "lora", "model": "cnn"}),
    ({"upload": "top-k", "algorithm": "fedadam"}, {"finetune": "last"}),
    ({"upload": "quantised", "local_steps": 2, "algorithm": "fedyogi", "keep": "best"}, {"validation": 0.2}),
    ({"algorithm": "fedavgm"}, {"data": "cars", "samples": None, "model": "logistic"}),
]


def trained(made: Workload) -> tuple[Any, ...]:
    """All that a run asks of a learner."""
    learner = made.learner(0, 0.1)
    found = [learner.evaluate()]
    for _ in range(2):
        learner.pretrain(8)
    for _ in range(2):
        learner.finetune(np.array([1, 2, 3, 8]), WEIGHTS)
    return [*found, learner.evaluate()], learner.reports(), learner.client_results(), learner.validate()


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> Callable[[Workload], set[str]]:
    """`trained` on a device without numbers; it answers with the places that single numbers were read from."""
    seen: list[str] = []

    def number(tensor: torch.Tensor) -> float:
        seen.append(tensor.device.type)
        return 1.0

    def numbers(tensor: torch.Tensor) -> np.ndarray[Any, Any]:
        assert tensor.device == CPU, "torch gives NumPy nothing from elsewhere"
        return np.ones(tuple(tensor.shape), dtype=str(tensor.dtype).removeprefix("torch."))

    def brought(tensor: torch.Tensor) -> torch.Tensor:
        return torch.ones(tensor.shape, dtype=tensor.dtype)

    stand_ins = {
        "cpu": brought,
        "bincount": lambda tensor: torch.ones(10, device=tensor.device),  # whose size only numbers tell
        "__float__": number,
        "__int__": lambda tensor: int(number(tensor)),
        "numpy": numbers,
        "tolist": lambda tensor: numbers(brought(tensor)).tolist(),
    }

    def train(made: Workload) -> set[str]:
        made._device = torch.device("meta")
        with monkeypatch.context() as patch:
            for name, stand_in in stand_ins.items():
                patch.setattr(torch.Tensor, name, stand_in)
            trained(made)
        return set(seen)

    return train


@pytest.mark.parametrize(("training", "task"), RECIPES, ids=str)
def test_everything_follows_the_data_to_another_device(
    workload: Make, training: dict[str, Any], task: dict[str, Any], pretended: Callable[[Workload], set[str]]
) -> None:
    assert pretended(workload(training=training, **task)) == {"meta"}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize(("training", "task"), RECIPES, ids=str)
def test_cuda_learns_what_the_cpu_learns(workload: Make, training: dict[str, Any], task: dict[str, Any]) -> None:
    here, there = (trained(workload(training=training | {"device": name}, **task)) for name in ("cpu", "cuda"))
    for mine, other in zip(here, there, strict=True):
        assert np.allclose(np.array(mine), np.array(other), rtol=0.02, atol=0.02, equal_nan=True)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_cuda_it_is_refused_in_one_line_and_auto_is_the_cpu(workload: Make) -> None:
    assert device_of("auto") == device_of("cpu") == CPU
    with pytest.raises(InputError, match=r'^training.device = "cuda": torch finds no CUDA device here; allowed: .*$'):
        workload(training={"device": "cuda"})
    plain, auto = (workload(training={"device": name}) for name in ("cpu", "auto"))
    assert plain.provenance() == auto.provenance()
    assert trained(plain)[0] == trained(auto)[0]


def test_rows_and_shares_come_from_anywhere() -> None:
    batch = Batch(torch.eye(3), torch.arange(3), torch.ones(3)).to(torch.device("meta"))
    taken = batch.take(torch.tensor([0, 2]), torch.tensor([0.5, 0.5]))
    assert {taken.x.device.type, taken.y.device.type, taken.share.device.type} == {"meta"}
