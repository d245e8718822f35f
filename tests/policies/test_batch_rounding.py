"""Whole batches for given rounds against every whole batch of a few devices."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from benchmarks.fleet import macro_cell
from prefine.emulator.types import FloatArray, Problem
from prefine.policies import device_response
from prefine.policies.batch_rounding import BatchAllocator
from prefine.policies.device_barrier import DeviceStage
from prefine.policies.subproblems import Stages
from tests.policies.instances import load, odd_problem

MOST = 7


def _problem(seed: int) -> Problem:
    """Three devices of ``both-stages`` with ranges of up to 7 samples."""
    generator = np.random.default_rng(seed)
    problem = load("both-stages")
    devices = problem.devices.at(generator.choice(len(problem.devices), 3, replace=False))
    least = generator.integers(1, 3, 3).astype(float)
    changed = replace(
        devices,
        min_batch=least - 0.5 * (least > 1.0),
        max_batch=generator.integers(4, MOST + 1, 3).astype(float) + 0.4,
        weight=generator.dirichlet(np.ones(3)),
    )
    return replace(problem, devices=changed)


def _energies(stages: Stages, finish_s: float) -> FloatArray:
    """The least energy (batches, K) of each device with 1 to `MOST` samples by ``finish_s``; infinite where late."""
    rows = []
    for batch in range(1, MOST + 1):
        made = stages.devices.at_batches(np.full(3, float(batch))).finish_by(finish_s, 1.0)
        rows.append(np.where(made.late, np.inf, made.energy_j))
    return np.array(rows)


@pytest.mark.parametrize("seed", [0, 3, 5, 7])
def test_allocations_against_every_whole_batch(seed: int) -> None:
    """`best` keeps the energy, has no room for one more sample, and little more noise than the best of all batches.

    It goes by worth per joule, which is exact for fractions of samples: the fewer samples, the more it may miss.
    """
    stages = Stages(_problem(seed))
    devices, noise = stages.problem.devices, stages.terms.device_noise
    least, most = np.ceil(devices.min_batch), np.floor(devices.max_batch)
    soonest_s = stages.devices.at_batches(least).soonest_s
    everything = np.array(list(product(*(np.arange(low, high + 1.0) for low, high in zip(least, most, strict=True)))))
    excess = []
    for slack in (1.02, 1.3, 2.0):
        finish_s = soonest_s * slack
        energies = _energies(stages, finish_s)
        needed = energies[everything.astype(int) - 1, np.arange(3)].sum(axis=1)
        noises = (noise / everything).sum(axis=1)
        least_j = float(np.min(needed))
        for factor in (0.5, 1.001, 1.2, 1.6, 3.0, 100.0):
            found = BatchAllocator(stages, 1e-3, None).best(finish_s, factor * least_j)
            fits = needed <= factor * least_j * (1.0 + 1e-9)
            if not np.any(fits):
                assert found is None
                continue
            assert found is not None
            assert np.all((found.batch >= least) & (found.batch <= most) & (found.batch == np.round(found.batch)))
            assert float(np.sum(found.barrier.energy_j)) <= factor * least_j * (1.0 + 1e-9)
            assert not np.any(found.barrier.late)
            more = needed[(everything >= found.batch).all(axis=1) & (everything.sum(axis=1) == found.batch.sum() + 1.0)]
            assert np.all(more > factor * least_j * (1.0 - 1e-9))
            excess.append(float(np.sum(noise / found.batch)) / float(np.min(noises[fits])) - 1.0)
    assert min(excess) >= -1e-12
    assert max(excess) <= 0.15
    assert np.mean(excess) <= 0.02
    assert BatchAllocator(stages, 1e-3, None).best(soonest_s * 0.9, 1e9) is None


@pytest.mark.parametrize("seed", [0, 3, 5, 7])
def test_rounding_at_a_price_is_the_best_of_every_batch(seed: int) -> None:
    """Energy is convex in the batch, so of all whole batches one beside the real one has least noise plus energy."""
    stages = Stages(_problem(seed))
    devices, noise = stages.problem.devices, stages.terms.device_noise
    samples = np.arange(1.0, MOST + 1.0)[:, np.newaxis]
    allowed = (samples >= devices.min_batch) & (samples <= devices.max_batch)
    soonest_s = stages.devices.at_batches(np.ceil(devices.min_batch)).soonest_s
    kinds = set()
    for slack, price in product((1.02, 1.3, 2.0), (1e-4, 1e-2, 0.1, 1.0, 10.0, 1e3)):
        energies = np.where(allowed, _energies(stages, soonest_s * slack), np.inf)
        expected = 1.0 + np.argmin(noise / samples + price * energies, axis=0)
        found = BatchAllocator(stages, price, None).rounded(soonest_s * slack, price)
        assert found.batch.tolist() == expected.tolist()
        kinds.update(found.batch.tolist())
    assert len(kinds) > 2


def test_rounds_worked_out_together_are_what_each_is_alone() -> None:
    """Rows of one search against searches of one round, for odd devices; what they take against the exact answer."""
    generator = np.random.default_rng(0)
    for seed in range(12):
        stages = Stages(odd_problem(seed, 6))
        allocator, devices = BatchAllocator(stages, 1e-2, None), stages.devices
        soonest_s = devices.at_batches(allocator.least).soonest_s
        finish_s = soonest_s * np.exp(generator.uniform(-0.05, 1.5, 9))
        samples = allocator.least * generator.integers(1, 4, (9, 6)).astype(np.float64)
        batches: FloatArray = np.minimum(samples, np.floor(stages.problem.devices.max_batch))
        exact = [devices.at_batches(row).finish_by(by_s, 1.0) for by_s, row in zip(finish_s, batches, strict=True)]
        late = np.array([each.late for each in exact])
        energy_j = np.array([each.energy_j for each in exact])
        least = allocator.rounds.least(finish_s, batches)
        assert np.array_equal(least.late, late)
        np.testing.assert_allclose(least.energy_j[~late], energy_j[~late], rtol=1e-11)
        budgets = energy_j.sum(axis=1) * generator.uniform(0.5, 2.0, 9)
        together, rounded = allocator.best_each(finish_s, budgets), allocator.rounded_each(finish_s, 1e-2).batch
        for row, (by_s, budget_j) in enumerate(zip(finish_s.tolist(), budgets.tolist(), strict=True)):
            alone = allocator.best(by_s, budget_j)
            batch = together[row]
            assert (alone is None) == (batch is None)
            assert alone is None or batch is None or np.array_equal(alone.batch, batch)
            assert np.array_equal(allocator.rounded(by_s, 1e-2).batch, rounded[row])


@pytest.mark.parametrize(("count", "rows"), [(3, 3_000), (9_000, 2)])
def test_searches_in_blocks_are_searches_of_all(count: int, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """More entries than a block has: whole rows, and pieces of rows."""
    stage = Stages(macro_cell(count)).devices
    assert isinstance(stage, DeviceStage)
    finish_s = stage.soonest_s * np.geomspace(0.9, 3.0, rows)[:, np.newaxis]
    start = stage.priced.ceiling(1e-3)
    found = []
    for block in (8192, 10**6):
        monkeypatch.setattr(device_response, "_BLOCK", block)
        found.append(stage.states_at(finish_s, 1e-3, start)[1])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9)


def test_neighbours_differ_by_one_sample_of_one_device() -> None:
    stages = Stages(_problem(0))
    devices = stages.problem.devices
    least, most = np.ceil(devices.min_batch), np.floor(devices.max_batch)
    for batch in (least, most, np.floor(0.5 * (least + most))):
        near = BatchAllocator(stages, 1.0, None).neighbours(batch)
        expected = [
            list(each)
            for each in product(*(np.arange(low, high + 1.0) for low, high in zip(least, most, strict=True)))
            if np.sum(np.abs(np.array(each) - batch)) == 1.0
        ]
        assert sorted(near.tolist()) == sorted(expected)
