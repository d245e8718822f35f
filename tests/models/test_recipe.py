import pytest
import torch

from prefine.emulator.scenario.training import TrainingSettings
from prefine.models.recipe import KEPT, LastIterate, Step, TailAverage, real_rate


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_step_is_torchs_sgd(momentum: float) -> None:
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(5, generator=generator)
    parameter = torch.nn.Parameter(weights.clone())
    peer = torch.optim.SGD([parameter], lr=0.1, momentum=momentum)
    step = Step(weights, 0.1, momentum, decay=0.0)
    for _ in range(10):
        gradient = torch.randn(5, generator=generator)
        parameter.grad = gradient.clone()
        peer.step()
        step.apply(weights, gradient, step.rate)
    assert torch.allclose(weights, parameter.detach(), atol=1e-6)


def test_decay_slows_fine_tuning() -> None:
    step = Step(torch.zeros(1), 0.4, 0.0, decay=0.1)
    assert [step.rate_at(m) for m in (0, 10)] == [0.4, 0.2]


@pytest.mark.parametrize("count", [1, 2, 7, 63, KEPT, 65, 300, 1000])
def test_tail_average(count: int) -> None:
    iterates = torch.randn(count, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    average = TailAverage(0.3)
    for iterate in iterates:
        average.add(iterate)
    kept = average.kept(iterates[-1])
    length = max(1, round(0.3 * count))
    slack = 0 if count <= KEPT else count // (KEPT // 2)
    candidates = [iterates[-n:].mean(dim=0) for n in range(max(1, length - slack), length + slack + 1)]
    assert min(float((kept - mean).abs().max()) for mean in candidates) < 1e-12


def test_tail_average_forgets_at_the_hand_over() -> None:
    average = TailAverage(0.9)
    assert torch.equal(average.kept(torch.ones(2)), torch.ones(2))
    average.add(torch.full((2,), 100.0))
    average.restart()
    average.add(torch.ones(2))
    assert torch.equal(average.kept(torch.zeros(2)), torch.ones(2))


def test_last_iterate_is_itself() -> None:
    weights = torch.ones(2)
    assert LastIterate().kept(weights) is weights


@pytest.mark.parametrize(
    ("recipe", "bound", "real"),
    [("1/L", 0.25, 0.25), ("3/L", 0.25, 0.75), ("0.5/L", 0.125, 0.125), (0.1, 0.1, 0.1), (2.0, 0.25, 2.0)],
)
def test_step_sizes_of_bound_and_training(recipe: float | str, bound: float, real: float) -> None:
    assert TrainingSettings(learning_rate=recipe).bound_rate(4.0) == bound
    assert real_rate(recipe, bound) == real
