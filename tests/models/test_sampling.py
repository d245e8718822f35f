import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefine.emulator.randomness import stream
from prefine.models.sampling import BLOCK, Draws


@given(st.lists(st.integers(0, 9), max_size=12), st.integers(1, 40))
def test_draws_do_not_depend_on_how_they_are_cut(cuts: list[int], size: int) -> None:
    rows = np.arange(100, 100 + size)
    whole = Draws(rows, stream(3, "x", 1)).take(sum(cuts))
    cut = Draws(rows, stream(3, "x", 1))
    assert np.array_equal(np.concatenate([cut.take(count) for count in cuts] or [rows[:0]]), whole)


@pytest.mark.parametrize("count", [BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK])
def test_draws_across_blocks(count: int) -> None:
    rows = np.arange(7)
    cut = Draws(rows, stream(3, "x"))
    pieces = [cut.take(5), cut.take(count), cut.take(11)]
    raw = stream(3, "x").random(5 + count + 11)
    assert np.array_equal(np.concatenate(pieces), np.floor(raw * 7))


def test_draws_are_uniform() -> None:
    counts = np.bincount(Draws(np.arange(10), stream(1, "x")).take(100_000))
    chi_square = ((counts - 10_000) ** 2 / 10_000).sum()
    assert chi_square < 27.88  # 99.9 % of chi-square with 9 degrees of freedom
