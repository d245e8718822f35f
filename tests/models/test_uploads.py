import numpy as np
import pytest
import torch

from prefine.models.uploads import Exact, Quantised, TopK, Upload

DEVICES = np.array([0, 2])


def test_payload_bits() -> None:
    assert Exact(1000, 32).bits == 32_000
    assert Quantised(1000, 3, 8).bits == 8_032
    assert TopK(1000, 3, 0.1, 32).bits == 100 * (32 + 10)


@pytest.mark.parametrize("upload", [Quantised(50, 3, 4), TopK(50, 3, 0.1, 32)])
def test_error_feedback_loses_nothing_for_good(upload: Quantised | TopK) -> None:
    generator = torch.Generator().manual_seed(0)
    asked, arrived = torch.zeros(2, 50), torch.zeros(2, 50)
    for _ in range(200):
        updates = torch.randn(2, 50, generator=generator)
        asked += updates
        arrived += upload.send(updates, DEVICES)
    owed = upload.send(torch.zeros(2, 50), DEVICES) + upload._missing[DEVICES]
    assert torch.allclose(arrived + owed, asked, atol=1e-3)
    assert float(upload._missing.abs().max()) < 40.0  # bounded, not growing with the rounds
    assert not upload._missing[1].any()  # the device that never took part owes nothing


def test_quantised_values_lie_on_the_grid_and_are_nearest() -> None:
    update = torch.tensor([[-1.0, -0.4, 0.0, 0.26, 0.5]])
    sent = Quantised(5, 1, 3).send(update, np.array([0]))
    assert torch.allclose(sent, torch.tensor([[-1.0, -1 / 3, 0.0, 1 / 3, 2 / 3]]))


def test_top_k_keeps_the_largest() -> None:
    update = torch.tensor([[-3.0, 1.0, 0.5, 2.0]])
    assert torch.equal(TopK(4, 1, 0.5, 32).send(update, np.array([0])), torch.tensor([[-3.0, 0.0, 0.0, 2.0]]))


def test_top_k_sends_k_entries_where_more_are_equal_and_what_is_no_number() -> None:
    updates = torch.tensor([[1.0, -1.0, 1.0, 3.0], [0.0, 0.0, 5.0, 0.0], [4.0, -3.0, 2.0, 1.0]])
    sent = TopK(4, 3, 0.5, 32).send(updates, np.arange(3))
    assert (sent != 0.0).sum(dim=1).tolist() == [2, 1, 2]
    assert sent.abs().sum(dim=1).tolist() == [4.0, 5.0, 7.0]
    assert TopK(2, 1, 0.5, 32).send(torch.tensor([[torch.nan, 1.0]]), np.arange(1)).isnan().any()


@pytest.mark.parametrize("upload", [Exact(3, 32), Quantised(3, 1, 8), TopK(3, 1, 0.4, 32)])
def test_nothing_to_say_is_no_trouble(upload: Upload) -> None:
    assert not upload.send(torch.zeros(1, 3), np.array([0])).any()
