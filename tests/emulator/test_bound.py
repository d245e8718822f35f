"""Costs of rounds and both bounds against sums done by hand and against brute force."""

import math
from dataclasses import replace

import numpy as np
import pytest

from prefine.emulator.bound import (
    BoundTerms,
    RoundCost,
    device_round,
    frugal_frequency,
    mean_round,
    most_server_rounds,
    predict,
    server_round,
)
from prefine.emulator.types import Budget, DevicesPlan, Plan, Problem, Server, ServerPlan
from tests.emulator.simulation.worlds import problem

SERVER = Server(5.0, 0.5, 8.0, 0.5, 4.0, 1.0, 512.0)
"""5 cycles a sample, 0.5 J/(cycle Hz^2), variance 8, 0.5 to 4 Hz: units in which every factor shows."""


def _by_hand() -> tuple[Problem, Plan]:
    """Two devices with other numbers everywhere; device 1 is the slowest."""
    world = problem(2)
    devices = replace(
        world.devices,
        cycles_per_sample=np.array([3.0, 5.0]),
        capacitance=np.array([0.1, 0.2]),
        gradient_variance=np.array([6.0, 10.0]),
        weight=np.array([0.25, 0.75]),
        gain=np.array([3.0, 7.0]),
        bandwidth_hz=np.array([1.0, 2.0]),
    )
    radio = replace(world.radio, noise_psd_w_hz=1.0, uplink_bits=12.0, downlink_delay_s=0.5, downlink_energy_j=0.25)
    learning = replace(world.learning, smoothness=2.0, learning_rate=0.25, initial_gap=3.0, discrepancy=1.5)
    world = replace(world, server=SERVER, devices=devices, radio=radio, learning=learning)
    powers_w = np.array([1.0, 6.0 / 7.0])  # SNR 3 and 3: 2 and 4 bit/s, 6 s and 3 s
    plan = DevicesPlan(np.array([2.0, 8.0]), np.array([3.0, 4.0]), powers_w, np.array([6.0, 3.0]))
    return world, Plan(7, 5, ServerPlan(4.0, 2.0), plan)


def test_rounds_worked_out_by_hand() -> None:
    """Computing takes 2 s and 10 s at 5.4 J and 128 J; sending 6 s and 3 s at 6 J and 18/7 J."""
    world, plan = _by_hand()
    assert server_round(world.server, plan.server) == pytest.approx((10.0, 40.0), rel=1e-15)
    finetuning = device_round(world.devices, world.radio, plan.devices)
    assert finetuning.delay_s == pytest.approx(0.5 + 13.0, rel=1e-14)
    assert finetuning.energy_j == pytest.approx(0.25 + 5.4 + 128.0 + 6.0 + 18.0 / 7.0, rel=1e-14)


def test_a_prediction_worked_out_by_hand() -> None:
    """L eta = 1/2, A = 24, alpha0 = 4, alpha_k = 3/16 and 45/16, so a fine-tuning round has noise 3/32 + 45/128."""
    world, plan = _by_hand()
    noise = 3.0 / 32.0 + 45.0 / 128.0
    found = predict(world, plan)
    assert found.delay_s == pytest.approx(7 * 10.0 + 5 * 13.5, rel=1e-14)
    assert found.energy_j == pytest.approx(7 * 40.0 + 5 * (139.65 + 18.0 / 7.0), rel=1e-14)
    assert found.bound == pytest.approx((24.0 + 7 * (1.5 + 1.0) + 5 * noise) / 12, rel=1e-14)
    left = 8.0 * (3.0 - 0.4) * math.exp(-0.03 * 7) + 8.0 * 0.4
    assert (world.learning.pretrain_contraction, world.learning.pretrain_floor) == (0.03, 0.4)
    assert found.bound_ft == pytest.approx((left + 7 * 1.0) / 5 + noise, rel=1e-14)


def test_refined_constants_worked_out_by_hand() -> None:
    """Curvatures 1 and (0.5, 4) for the noise, a shift that rises towards 1.5, noise of pre-training that settles."""
    world, plan = _by_hand()
    refined = replace(
        world,
        server=replace(world.server, noise_curvature=1.0),
        devices=replace(world.devices, noise_curvature=np.array([0.5, 4.0])),
        learning=replace(world.learning, discrepancy_relief=0.75, discrepancy_rate=0.125, pretrain_noise=0.25),
    )
    noise = 3.0 / 128.0 + 90.0 / 128.0
    found = predict(refined, plan)
    shift = 7 * 1.5 - 0.75 * (1.0 - math.exp(-0.875))
    assert BoundTerms.of(refined).total_shift(7.0) == pytest.approx(shift, rel=1e-14)
    assert found.bound == pytest.approx((24.0 + shift + 7 * 0.5 + 5 * noise) / 12, rel=1e-14)
    kept = math.exp(-0.03 * 7)
    left = 8.0 * (3.0 - 0.4) * kept + 8.0 * 0.4 + 8.0 * 0.25 / 4.0 * (1.0 - kept)
    assert found.bound_ft == pytest.approx(left / 5 + noise, rel=1e-14)


def test_one_stage_alone_pays_for_that_stage_alone() -> None:
    world, plan = _by_hand()
    pretrained = predict(world, replace(plan, finetune_rounds=0))
    assert (pretrained.delay_s, pretrained.energy_j) == pytest.approx((70.0, 280.0), rel=1e-14)
    assert pretrained.bound_ft == math.inf
    finetuned = predict(world, replace(plan, pretrain_rounds=0))
    assert finetuned.delay_s == pytest.approx(5 * 13.5, rel=1e-14)
    assert finetuned.bound == pytest.approx(24.0 / 5 + 3.0 / 32.0 + 45.0 / 128.0, rel=1e-14)
    nothing = predict(world, replace(plan, pretrain_rounds=0, finetune_rounds=0))
    assert nothing == (0.0, 0.0, math.inf, math.inf)


def test_without_its_constants_the_fitted_bound_is_not_known() -> None:
    world, plan = _by_hand()
    bare = replace(world, learning=replace(world.learning, pretrain_contraction=None, pretrain_floor=None))
    assert math.isnan(predict(bare, plan).bound_ft)
    assert predict(bare, plan).bound == predict(world, plan).bound


def test_noise_of_many_plans_at_once() -> None:
    """A row of batches is a plan."""
    terms = BoundTerms.of(_by_hand()[0])
    rows = np.array([[2.0, 8.0], [1.0, 3.0], [4.0, 45.0]])
    assert terms.round_noise(rows) == pytest.approx([terms.round_noise(row) for row in rows], rel=1e-15)


@pytest.mark.parametrize("slowest_hz", [0.0, 0.5, 1.5])
def test_most_server_rounds_by_brute_force(slowest_hz: float) -> None:
    """The best of 20,001 frequencies: as many rounds as both budgets allow there, to the grid's 1e-4."""
    server = replace(SERVER, min_frequency_hz=slowest_hz)
    generator = np.random.default_rng(1)
    batch, left_s, left_j = 10.0 ** generator.uniform([[0.0], [0.0], [-1.0]], [[2.0], [3.0], [5.0]], (3, 60))
    found = most_server_rounds(server, batch, left_s, left_j)
    hertz = np.geomspace(max(slowest_hz, 1e-4), server.max_frequency_hz, 20_001)[:, None]
    by_delay = left_s * hertz / (5.0 * batch)
    by_energy = left_j / (0.5 * 5.0 * batch * hertz**2)
    best = np.minimum(by_delay, by_energy).max(axis=0)
    assert np.all(found >= best * (1.0 - 1e-12))
    assert found == pytest.approx(best, rel=2e-3)
    fastest, slowest = hertz[-1] == hertz, hertz[0] == hertz
    for edge in (fastest, slowest) if slowest_hz else (fastest,):  # each limit decides in some of the cases
        assert np.any(np.minimum(by_delay, by_energy)[edge.ravel()] >= best * (1.0 - 1e-12))


@pytest.mark.parametrize("price", [1e-3, 0.02, 0.6, 5.0])
def test_best_pretraining_by_brute_force(price: float) -> None:
    terms = BoundTerms.of(_by_hand()[0])
    rounds = np.linspace(0.0, 400.0, 400_001)
    value = terms.removable * np.exp(-terms.contraction * rounds) + rounds * price
    assert terms.best_pretraining(price) == pytest.approx(rounds[np.argmin(value)], abs=1.1e-3)
    settling = value + 5.0 * (1.0 - np.exp(-terms.contraction * rounds))
    assert terms.best_pretraining(price, 5.0) == pytest.approx(rounds[np.argmin(settling)], abs=1.1e-3)


def test_pretraining_that_removes_nothing_is_not_wanted_and_a_free_round_always() -> None:
    terms = BoundTerms.of(_by_hand()[0])
    assert replace(terms, removable=-1.0).best_pretraining(0.5) == 0.0
    assert replace(terms, removable=0.0).best_pretraining(0.0) == 0.0
    assert terms.best_pretraining(np.zeros(1))[0] == math.inf


def test_the_slowest_frequency_that_is_in_time() -> None:
    assert frugal_frequency(SERVER, 6.0, 20.0) == pytest.approx(1.5, rel=1e-15)
    assert frugal_frequency(SERVER, 6.0, 1000.0) == 0.5


def test_the_mean_of_rounds_and_how_many_a_budget_allows() -> None:
    one, other = RoundCost(1.0, 20.0), RoundCost(3.0, 4.0)
    assert mean_round(0.25, one, other) == pytest.approx((2.5, 8.0), rel=1e-15)
    assert mean_round(1.0, one, RoundCost(math.inf, math.inf)) == one
    assert one.affordable(Budget(50.0, 100.0)) == 5.0
    assert other.affordable(Budget(6.0, 100.0)) == 2.0
