"""Answers, losses and gradients by hand are those of torch's graph; where a network is no chain, the graph it is."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from prefine.models.data.samples import Kind
from prefine.models.dense import Dense
from prefine.models.losses import LANES, losses_and_slopes, losses_of, sample_losses
from prefine.models.objective import Batch, Objective
from prefine.models.passes import Graphed
from prefine.models.stacked import Mapped, Stacked

CHAINS: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: nn.Sequential(nn.Flatten(), nn.Linear(12, 5)),
    "no flatten": lambda: nn.Sequential(nn.Linear(12, 7), nn.Tanh(), nn.Linear(7, 5)),
    "deep": lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(12, 9), nn.Linear(9, 8), nn.Tanh(), nn.Tanh(), nn.Linear(8, 5), nn.Tanh()
    ),
    "regression": lambda: nn.Sequential(nn.Flatten(), nn.Linear(12, 9), nn.Tanh(), nn.Linear(9, 1)),
}


def near(ours: Tensor, theirs: Tensor) -> bool:
    return torch.allclose(ours, theirs, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("classes", "kind"), [(2, "classification"), (10, "classification"), (1, "regression")])
@pytest.mark.parametrize("count", [1, LANES, 37])
def test_losses_and_slopes_are_those_of_the_graph(classes: int, kind: Kind, count: int) -> None:
    _check_losses(classes, kind, count)


@pytest.mark.parametrize("classes", [LANES - 1, LANES, 40])
def test_losses_of_many_classes(classes: int) -> None:
    _check_losses(classes, "classification", 21)


def _check_losses(classes: int, kind: Kind, count: int) -> None:
    generator = torch.Generator().manual_seed(count)
    answers = (3.0 * torch.randn(count, classes, generator=generator, dtype=torch.float64)).requires_grad_()
    y = torch.randint(classes, (count,), generator=generator)
    share = torch.rand(count, generator=generator, dtype=torch.float64)
    theirs = sample_losses(answers, y, kind)
    (derivative,) = torch.autograd.grad(theirs @ share, answers)
    losses, slopes = losses_and_slopes(answers.detach(), y, share, kind)
    assert near(losses, theirs.detach())
    assert torch.equal(losses_of(answers.detach(), y, kind), losses)
    assert near(slopes, derivative)


@pytest.mark.parametrize("name", CHAINS)
def test_a_chain_without_a_graph_is_the_chain(name: str) -> None:
    """One model, and three models with frozen padding, each against torch's own backward pass."""
    generator = torch.Generator().manual_seed(1)
    shape = (11, 12) if name == "no flatten" else (11, 3, 2, 2)
    kind: Kind = "regression" if name == "regression" else "classification"
    model = Objective(CHAINS[name](), kind, 1e-2, torch.float64)
    batch = Batch(
        torch.randn(shape, generator=generator, dtype=torch.float64),
        torch.randint(5, (11,), generator=generator),
        torch.rand(11, generator=generator, dtype=torch.float64),
    )
    assert Dense.like(model.network) is not None
    model.differentiate(batch)
    gradient, losses = model.gradient.clone(), model.losses
    answers = model.predict(batch)
    model._pass = Graphed(model.network, model.gradient)
    model.differentiate(batch)
    assert near(gradient, model.gradient)
    assert near(losses, model.losses)
    assert near(answers, model.predict(batch))

    several = Batch(batch.x[:9].view(3, 3, *shape[1:]), batch.y[:9].view(3, 3), batch.share[:9].view(3, 3))
    by_hand, by_graph = Stacked(model), Stacked(model)
    by_graph._models = Mapped(model.network)
    apart = model.weights + torch.randn(3, len(model.weights), generator=generator, dtype=torch.float64)
    for weights in (model.weights, apart):
        for ours, theirs in zip(by_hand.gradients(weights, several), by_graph.gradients(weights, several), strict=True):
            assert near(ours, theirs)


def test_what_is_no_such_chain_keeps_its_graph() -> None:
    whole, inner, seen = CHAINS["deep"](), nn.Linear(9, 9), nn.Linear(12, 5)
    frozen = copy.deepcopy(whole)
    next(frozen.parameters()).requires_grad_(False)
    seen.register_forward_hook(lambda *_: None)
    others = [
        frozen,
        nn.Sequential(inner, nn.Tanh(), inner),
        nn.Sequential(nn.Flatten(), seen),
        nn.Sequential(nn.Flatten(), nn.Linear(12, 9), nn.ReLU(), nn.Linear(9, 5)),
        nn.Sequential(nn.Flatten(), nn.Linear(12, 5, bias=False)),
        nn.Sequential(nn.Flatten(2), nn.Linear(12, 5)),
        nn.Sequential(nn.Tanh(), nn.Linear(12, 5)),
        nn.Sequential(),
        nn.Linear(12, 5),
    ]
    assert Dense.like(whole) is not None
    assert [Dense.like(other) for other in others] == [None] * len(others)
