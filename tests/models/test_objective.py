from collections.abc import Callable

import pytest
import torch

from prefine.models.objective import Objective


def test_other_weights_last_as_long_as_the_block_even_if_it_fails(objective: Callable[..., Objective]) -> None:
    model = objective("mlp")
    before = model.weights.clone()
    with model.at(before + 1.0):
        assert torch.equal(model.weights, before + 1.0)
    assert torch.equal(model.weights, before)
    with pytest.raises(ZeroDivisionError), model.at(before + 1.0):
        _ = 1 / 0
    assert torch.equal(model.weights, before)
