from collections.abc import Callable

import pytest
import torch

from prefine.models.objective import Batch, Objective


def test_other_weights_last_as_long_as_the_block_even_if_it_fails(objective: Callable[..., Objective]) -> None:
    model = objective("mlp")
    before = model.weights.clone()
    with model.at(before + 1.0):
        assert torch.equal(model.weights, before + 1.0)
    assert torch.equal(model.weights, before)
    with pytest.raises(ZeroDivisionError), model.at(before + 1.0):
        _ = 1 / 0
    assert torch.equal(model.weights, before)


def test_no_constant_answer_scores_above_the_constant_score() -> None:
    """Every class in turn from a network that sees nothing; of a regression, the mean and its neighbours."""
    generator = torch.Generator().manual_seed(0)
    x, classes = torch.zeros(40, 3), torch.randint(4, (40,), generator=generator)
    network = torch.nn.Linear(3, 4)
    model = Objective(network, "classification", 0.0)
    batch = Batch(x, classes, torch.full((40,), 1 / 40))
    scores = []
    for answer in range(4):
        with torch.no_grad():
            network.bias.copy_(torch.nn.functional.one_hot(torch.tensor(answer), 4))
        scores.append(model.score(batch))
    assert model.constant_score(batch) == pytest.approx(max(scores))

    line = torch.nn.Linear(3, 1)
    regression = Objective(line, "regression", 0.0)
    values = Batch(x, torch.rand(40, generator=generator), torch.full((40,), 1 / 40))
    for away in (-0.1, 0.0, 0.1):
        with torch.no_grad():
            line.bias.fill_(float(values.y.mean()) + away)
        score = regression.score(values)
        assert score == pytest.approx(regression.constant_score(values), abs=1e-6) if away == 0.0 else score < 0.0


def test_a_large_mini_batch_is_differentiated_in_parts(
    objective: Callable[..., Objective], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gradient and losses are those of the whole."""
    model, generator = objective("cnn"), torch.Generator().manual_seed(0)
    x, y = torch.rand(50, 1, 8, 8, generator=generator, dtype=torch.float64), torch.arange(50) % 4
    batch = Batch(x, y, torch.rand(50, generator=generator, dtype=torch.float64))
    model.differentiate(batch)
    gradient, losses = model.gradient.clone(), model.losses
    monkeypatch.setattr("prefine.models.objective.CHUNK_NUMBERS", 64 * 7)
    assert [len(part) for part in batch.chunks()] == [7] * 7 + [1]
    model.differentiate(batch)
    assert torch.allclose(model.gradient, gradient, rtol=1e-12, atol=1e-14)
    assert torch.allclose(model.losses, losses, rtol=1e-12)
