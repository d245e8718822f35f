"""Designs under TDMA and with the band to divide: against conic programs, a solver in log variables, and by hand."""

import itertools
import math
from dataclasses import replace
from typing import Any

import cvxpy
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from prefine.emulator.bound import BoundTerms, planned_round, server_round
from prefine.emulator.types import FloatArray, Problem, Relaxed, ServerPlan
from prefine.policies.dual import relax, relax_all_rounds
from prefine.policies.objectives.all_rounds import AllRounds
from prefine.policies.objectives.base import Objective
from prefine.policies.objectives.fine_tuned import FineTuned
from prefine.policies.objectives.given_share import GivenShare
from prefine.policies.subproblems import Stages
from tests.policies.conic import InaccurateError, solve_conic
from tests.policies.instances import NAMES, load, odd_problem, with_pretraining

cp: Any = cvxpy
LN2 = math.log(2.0)
OBJECTIVES = (AllRounds(), FineTuned(), GivenShare(0.0), GivenShare(0.3))


def under(access: str, problem: Problem) -> Problem:
    """``problem`` with the band of all devices shared by ``access``; "optimise" is FDMA with bands to decide."""
    whole_hz = float(problem.devices.bandwidth_hz.sum())
    if access == "optimise":
        return replace(problem, radio=replace(problem.radio, bandwidth="optimise", total_bandwidth_hz=whole_hz))
    return replace(problem, radio=replace(problem.radio, access=access, total_bandwidth_hz=whole_hz))  # type: ignore[arg-type]


def tiled(problem: Problem, times: int) -> Problem:
    """``times`` copies of every device with gains spread by 10 dB, in the same whole band; energies scaled up."""
    generator = np.random.default_rng(1)
    devices = problem.devices.at(np.tile(np.arange(len(problem.devices)), times))
    devices = replace(
        devices,
        gain=devices.gain * 10.0 ** generator.uniform(0.0, 1.0, len(devices)),
        weight=devices.weight / times,
        gradient_variance=devices.gradient_variance * times,
        bandwidth_hz=devices.bandwidth_hz / times,
    )
    budget = replace(problem.budget, energy_j=problem.budget.energy_j * times)
    server = replace(problem.server, capacitance=problem.server.capacitance * times)
    radio = replace(problem.radio, uplink_bits=problem.radio.uplink_bits / times)
    return replace(problem, devices=devices, budget=budget, server=server, radio=radio)


def _assert_certified(problem: Problem, relaxed: Relaxed, objective: Objective) -> None:
    """What it says of itself holds: within the budgets and the limits, at its bound, above its proof."""
    devices, plan, budget = problem.devices, relaxed.devices, problem.budget
    assert relaxed.gap <= 1e-6
    assert relaxed.lower_bound <= relaxed.bound * (1.0 + 1e-12)
    assert objective.of(BoundTerms.of(problem), relaxed) == pytest.approx(relaxed.bound, rel=1e-12)
    server, finetuning = server_round(problem.server, relaxed.server), planned_round(devices, problem.radio, plan)
    for rounds_cost, most in (
        ((server.delay_s, finetuning.delay_s), budget.delay_s),
        ((server.energy_j, finetuning.energy_j), budget.energy_j),
    ):
        used = relaxed.pretrain_rounds * rounds_cost[0] + relaxed.finetune_rounds * rounds_cost[1]
        assert used <= most * (1.0 + 1e-9)
    slack = 1.0 + 1e-9
    assert np.all((plan.power_w * slack >= devices.least_power_w) & (plan.power_w <= devices.max_power_w * slack))
    if plan.bandwidth_hz is not None:
        assert plan.bandwidth_hz.sum() <= devices.bandwidth_hz.sum() * slack


@pytest.mark.parametrize("access", ["tdma", "optimise"])
@given(seed=st.integers(0, 10**6))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_odd_problems_are_certified(access: str, seed: int) -> None:
    problem = with_pretraining(under(access, odd_problem(seed)), 0.03, 0.1)
    for objective in OBJECTIVES:
        _assert_certified(problem, relax(Stages(problem), objective)[0], objective)


@pytest.mark.parametrize("finetuned", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_tdma_against_the_conic_solver(name: str, finetuned: bool) -> None:
    problem = with_pretraining(under("tdma", load(name)))
    relaxed = relax(Stages(problem), FineTuned())[0] if finetuned else relax_all_rounds(Stages(problem))[0]
    assert relaxed.bound == pytest.approx(solve_conic(problem, relaxed, finetuned=finetuned), rel=2e-7)


def test_tdma_against_the_conic_solver_on_random_problems() -> None:
    compared = 0
    for seed in range(12):
        problem = under("tdma", odd_problem(seed, 1 + 3 * (seed % 5)))
        relaxed = relax(Stages(problem), GivenShare(0.0))[0]
        try:
            reference = solve_conic(problem, relaxed, fixed=0.0)
        except InaccurateError:
            continue
        assert relaxed.bound == pytest.approx(reference, rel=2e-6)
        compared += 1
    assert compared >= 9


@pytest.mark.parametrize(("name", "least", "most"), [("energy-scarce", 0.03, 0.06), ("both-stages", 0.12, 0.16)])
def test_what_a_pipeline_would_gain_over_waiting_for_all(name: str, least: float, most: float) -> None:
    """The best of all orders of four uploads, fine-tuning alone: what docs/access.md says is left."""
    problem = load(name)
    devices = problem.devices.at(np.random.default_rng(0).choice(10, 4, replace=False))
    problem = under("tdma", replace(problem, devices=replace(devices, weight=np.full(4, 0.25))))
    relaxed = relax(Stages(problem), GivenShare(0.0))[0]
    orders = itertools.permutations(range(4))
    best = min(solve_conic(problem, relaxed, fixed=0.0, order=order) for order in orders)
    assert least <= 1.0 - best / relaxed.bound <= most


@pytest.mark.parametrize("access", ["tdma", "optimise"])
def test_three_hundred_devices(access: str) -> None:
    """TDMA against the conic program; a divided band against it at the bands found, and these at the times found."""
    problem = with_pretraining(under(access, tiled(load("both-stages-biased"), 30)))
    relaxed = relax(Stages(problem), FineTuned())[0]
    _assert_certified(problem, relaxed, FineTuned())
    assert relaxed.bound == pytest.approx(solve_conic(problem, relaxed, finetuned=True), rel=1e-6)
    if access == "optimise":
        sent_j = float(relaxed.devices.power_w @ relaxed.devices.upload_s)
        assert sent_j == pytest.approx(_least_energy(problem, relaxed.devices.upload_s), rel=1e-6)


def _least_energy(problem: Problem, upload_s: FloatArray) -> float:
    """The least energy of all uploads that take ``upload_s``, over all ways to divide the band: exponential cones."""
    devices, radio, count = problem.devices, problem.radio, len(problem.devices)
    even_hz = devices.bandwidth_hz.sum() / count
    nats = radio.uplink_bits * LN2 / (even_hz * upload_s)
    unit_j = radio.noise_psd_w_hz / devices.gain * even_hz * upload_s
    part, sent = cp.Variable(count, nonneg=True), cp.Variable(count, nonneg=True)
    scale = float(unit_j @ np.expm1(nats))
    most_w = devices.max_power_w
    energy = cp.multiply(unit_j / scale * np.exp(nats), sent) - cp.multiply(unit_j / scale, part)
    constraints = [
        cp.constraints.ExpCone(cp.multiply(nats, 1.0 - part), part, sent),  # part exp(nats / part) <= sent exp(nats)
        cp.sum(part) <= count,
        energy <= most_w * upload_s / scale,
    ]
    program = cp.Problem(cp.Minimize(cp.sum(energy)), constraints)
    program.solve(solver=cp.CLARABEL, tol_gap_rel=1e-10, tol_feas=1e-10)
    return float(program.value) * scale


@pytest.mark.parametrize("seed", range(6))
def test_a_divided_band_against_a_solver_in_log_variables(seed: int) -> None:
    """SLSQP from three starts over batches, clocks, bands, SNRs, barrier and rounds, at a given share; K = 1 to 4."""
    generator = np.random.default_rng(seed)
    problem = under("optimise", _tame(generator, 1 + seed % 4))
    share = 0.3 if seed % 2 else 0.0
    relaxed = relax(Stages(problem), GivenShare(share))[0]
    _assert_certified(problem, relaxed, GivenShare(share))
    found = [_by_log_variables(problem, share, generator) for _ in range(3)]
    assert min(found) == pytest.approx(relaxed.bound, rel=1e-6)
    assert min(found) >= relaxed.lower_bound * (1.0 - 1e-7)


def _tame(generator: np.random.Generator, count: int) -> Problem:
    """The first devices of an instance with other gains, some with a least power; both budgets scarce."""
    problem = load("both-stages")
    devices = problem.devices.at(np.arange(count))
    devices = replace(
        devices,
        weight=np.full(count, 1.0 / count),
        gain=10.0 ** generator.uniform(-12.0, -9.0, count),
        min_power_w=devices.max_power_w * generator.choice([0.0, 0.3], count),
        interference_w=generator.uniform(0.0, 1e-14, count),
    )
    return replace(problem, devices=devices)


def _by_log_variables(problem: Problem, share: float, generator: np.random.Generator) -> float:
    """Phi for N = share n, M = (1 - share) n, minimised over logarithms: a generalised geometric programme."""
    devices, server, radio, budget = problem.devices, problem.server, problem.radio, problem.budget
    terms, count = BoundTerms.of(problem), len(devices)
    assert devices.interference_w is not None
    rho = (radio.noise_psd_w_hz + devices.interference_w / devices.bandwidth_hz) / devices.gain
    whole_hz = float(devices.bandwidth_hz.sum())

    def parts(x: FloatArray) -> tuple[float, float, float, FloatArray]:
        batch, hz, band, sent, (server_batch, server_hz, barrier, rounds) = (
            np.exp(each) for each in (*np.split(x[: 4 * count], 4), x[4 * count :])
        )  # ``sent`` is nats, ln(1 + SNR)
        upload_s = radio.uplink_bits * LN2 / (band * sent)
        energy = devices.capacitance * devices.cycles_per_sample * batch * hz**2
        energy = energy + rho * band * np.expm1(sent) * upload_s
        finish = devices.cycles_per_sample * batch / hz + upload_s
        own = server_round(server, ServerPlan(float(server_batch), float(server_hz)))
        delay = rounds * (share * own.delay_s + (1.0 - share) * (radio.downlink_delay_s + barrier))
        joules = rounds * (share * own.energy_j + (1.0 - share) * (radio.downlink_energy_j + energy.sum()))
        noise = share * (terms.shift + terms.server_noise / server_batch)
        noise += (1.0 - share) * np.sum(terms.device_noise / batch)
        return terms.start / rounds + noise, delay, joules, finish / barrier

    def slack(x: FloatArray) -> FloatArray:
        _, delay, joules, finish = parts(x)
        band, sent = np.exp(x[2 * count : 3 * count]), np.exp(x[3 * count : 4 * count])
        power = rho * band * np.expm1(sent)
        least = np.log(power / np.maximum(devices.least_power_w, 1e-9 * devices.max_power_w))
        return np.concatenate(
            [
                [math.log(budget.delay_s / delay), math.log(budget.energy_j / joules), math.log(whole_hz / band.sum())],
                -np.log(finish),
                np.log(devices.max_power_w / power),
                least,
            ]
        )

    low, high = np.log(1e-3), np.log(1e12)
    bounds = [
        *zip(np.log(devices.min_batch), np.log(devices.max_batch), strict=True),
        *zip(np.log(devices.min_frequency_hz), np.log(devices.max_frequency_hz), strict=True),
        *[(np.log(whole_hz * 1e-5), np.log(whole_hz))] * count,
        *[(np.log(1e-3), np.log(40.0))] * count,
        (np.log(server.min_batch), np.log(server.max_batch)),
        (np.log(server.min_frequency_hz), np.log(server.max_frequency_hz)),
        (low, high),
        (low, high),
    ]
    start = np.concatenate(
        [
            np.log(np.clip(generator.uniform(5.0, 40.0, count), devices.min_batch, devices.max_batch)),
            np.log(generator.uniform(0.3, 0.9) * devices.max_frequency_hz),
            np.log(whole_hz / count * generator.uniform(0.5, 1.0, count)),
            np.log(np.log1p(0.9 * devices.max_power_w / (rho * whole_hz / count))),
            np.log([16.0, 0.5 * server.max_frequency_hz, 1.0, 10.0]),
        ]
    )
    solve: Any = minimize  # its annotations do not know these constraints
    done = solve(
        lambda x: math.log(parts(x)[0]),
        start,
        method="SLSQP",
        bounds=bounds,
        constraints={"type": "ineq", "fun": slack},
        options={"maxiter": 2000, "ftol": 1e-14},
    )
    return float(np.exp(done.fun)) if np.min(slack(done.x)) >= -1e-8 else math.inf
