import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefine.models.data.partition import LEAST_HELD_OUT, Partition, hold_out, split
from prefine.models.data.samples import Samples


def made(count: int, classes: int) -> Samples:
    return Samples(np.zeros((count, 2), np.float32), np.arange(count) % classes)


@given(
    st.sampled_from(["iid", "dirichlet"]),
    st.integers(1, 60),
    st.integers(1, 12),
    st.integers(0, 99),
    st.floats(0.01, 10.0),
)
def test_parts_are_disjoint_whole_and_never_empty(
    how: Partition, count: int, classes: int, seed: int, alpha: float
) -> None:
    samples = made(count, classes)
    devices = 1 + seed % count
    parts = split(samples, devices, how, alpha, np.random.default_rng(seed))
    assert len(parts) == devices
    assert all(len(part) for part in parts)
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(count))


@given(st.integers(1, 8), st.integers(1, 60), st.floats(0.0, 1.0), st.booleans(), st.integers(0, 99))
def test_validation_samples_come_from_every_device_in_proportion(
    devices: int, spare: int, fill: float, number: bool, seed: int
) -> None:
    count = devices + LEAST_HELD_OUT + spare
    parts = split(made(count, 3), devices, "dirichlet", 0.3, np.random.default_rng(seed))
    wanted = LEAST_HELD_OUT + round(fill * spare)
    kept, lent = hold_out(parts, float(wanted) if number else wanted / count, np.random.default_rng(seed))
    assert sum(map(len, lent)) == wanted
    for whole, own, given_away in zip(parts, kept, lent, strict=True):
        assert len(own) > 0
        assert np.array_equal(np.sort(np.concatenate([own, given_away])), whole)
        assert abs(len(given_away) - wanted * (len(whole) - 1) / (count - devices)) <= 1.0


@pytest.mark.parametrize("amount", [0.01, 1.0, 0.95, 97.0])
def test_too_much_or_too_little_to_hold_out_is_one_line(amount: float) -> None:
    parts = split(made(100, 3), 8, "iid", 1.0, np.random.default_rng(0))
    with pytest.raises(ValueError, match=rf"task.validation = {amount:g}: \d+ samples; .* must be from 2 to 92"):
        hold_out(parts, amount, np.random.default_rng(0))


def test_iid_parts_are_equal() -> None:
    assert [len(p) for p in split(made(103, 10), 10, "iid", 1.0, np.random.default_rng(0))] == [11] * 3 + [10] * 7


@pytest.mark.parametrize(("alpha", "least", "most"), [(0.05, 0.7, 1.0), (100.0, 0.1, 0.15)])
def test_alpha_says_how_one_sided_devices_are(alpha: float, least: float, most: float) -> None:
    samples = made(2000, 10)
    parts = split(samples, 10, "dirichlet", alpha, np.random.default_rng(0))
    held = np.array([np.bincount(samples.y[part], minlength=10) for part in parts]) / 200
    assert least < held.max(axis=0).mean() < most  # the largest share of a class on one device


def test_source_partition_keeps_a_source_together() -> None:
    samples = Samples(np.zeros((60, 2), np.float32), np.zeros(60, np.int64), source=np.repeat(np.arange(6), 10))
    parts = split(samples, 4, "source", 1.0, np.random.default_rng(0))
    homes = [set(samples.source[part]) for part in parts]
    assert sum(map(len, homes)) == 6
    assert set.union(*homes) == set(range(6))


def test_a_regression_is_spread_by_its_target() -> None:
    samples = Samples(np.zeros((500, 2), np.float32), np.linspace(0, 1, 500, dtype=np.float32))
    parts = split(samples, 5, "dirichlet", 0.05, np.random.default_rng(0))
    within = np.mean([np.std(samples.y[part]) for part in parts])
    assert within < 0.8 * np.std(samples.y)


@pytest.mark.parametrize(("devices", "how", "words"), [(70, "iid", "70 devices"), (11, "source", "source per device")])
def test_too_many_devices_are_refused(devices: int, how: Partition, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        split(made(60, 10), devices, how, 1.0, np.random.default_rng(0))
