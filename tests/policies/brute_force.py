"""The best whole-number design of a small problem by trying them all, and small problems to try it on.

Independent of the solver: compute times and barriers lie on grids, everything else is counted out. Every design it
finds keeps both budgets; the best is missed by no more than the grids leave.
"""

from dataclasses import replace
from itertools import product

import numpy as np

from prefine.emulator.bound import BoundTerms
from prefine.emulator.types import Budget, Devices, FloatArray, Learning, Problem, Radio, Server

_BARRIERS, _SPLITS = 80, 100


def small_problem(seed: int, count: int) -> Problem:
    """``count`` devices with at most 4 samples, budgets for about half a dozen rounds of either stage."""
    generator = np.random.default_rng(seed)

    def spread(low: float, high: float) -> FloatArray:
        return np.exp(generator.uniform(np.log(low), np.log(high), count))

    least, gap = generator.integers(1, 3, count), float(generator.uniform(0.2, 2.0))
    devices = Devices(
        cycles_per_sample=spread(1e8, 4e8),
        capacitance=spread(5e-29, 3e-28),
        gradient_variance=spread(1.0, 60.0),
        weight=generator.dirichlet(np.full(count, 3.0)),
        min_frequency_hz=np.full(count, float(generator.choice([0.0, 4e8]))),
        max_frequency_hz=spread(1e9, 3e9),
        min_batch=least.astype(float),
        max_batch=np.minimum(least + generator.integers(0, 4, count), 4),
        max_power_w=spread(0.05, 0.5),
        gain=spread(1e-11, 1e-9),
        bandwidth_hz=spread(2e5, 2e6),
    )
    return Problem(
        Budget(float(generator.uniform(2.0, 6.0)), float(np.exp(generator.uniform(np.log(1.0), np.log(12.0))))),
        Learning(
            smoothness=4.0,
            learning_rate=0.1,
            initial_gap=gap,
            discrepancy=float(generator.choice([0.02, 0.2, 1.0])),
            pretrain_contraction=float(generator.choice([0.05, 0.3])),
            pretrain_floor=float(generator.uniform(0.0, 0.6)) * gap,
        ),
        Server(
            cycles_per_sample=float(generator.uniform(2e8, 1e9)),
            capacitance=float(np.exp(generator.uniform(np.log(1e-29), np.log(1e-27)))),
            gradient_variance=float(generator.uniform(1.0, 20.0)),
            min_frequency_hz=float(generator.choice([0.0, 1e9])),
            max_frequency_hz=float(generator.uniform(3e9, 8e9)),
            min_batch=1.0,
            max_batch=float(generator.integers(1, 7)),
        ),
        devices,
        Radio(3.98e-21, float(generator.uniform(1e5, 3e6)), float(generator.choice([0.0, 0.1])), 0.01),
    )


def measured(problem: Problem, seed: int) -> Problem:
    """``problem`` with a shift that bends, noise that settles, curvatures below L, and an effective rate."""
    generator = np.random.default_rng(seed)
    shift, rate = problem.learning.discrepancy, float(generator.uniform(0.05, 0.5))
    learning = replace(
        problem.learning,
        discrepancy_relief=0.9 * shift / rate,
        discrepancy_rate=rate,
        pretrain_noise=float(generator.uniform(0.1, 2.0)),
        effective_rate=float(generator.uniform(0.05, 0.5)),
    )
    devices = replace(problem.devices, noise_curvature=generator.uniform(0.5, 4.0, len(problem.devices)))
    return replace(problem, learning=learning, devices=devices, server=replace(problem.server, noise_curvature=1.0))


def least_value(problem: Problem, *, finetuned: bool) -> float:
    """The least Phi, or Phi_FT where ``finetuned``, of all whole-number designs; infinite where nothing fits."""
    terms = BoundTerms.of(problem.as_trained if finetuned else problem)
    budget, radio, devices = problem.budget, problem.radio, problem.devices
    ranges = [np.arange(low, high + 1.0) for low, high in zip(devices.min_batch, devices.max_batch, strict=True)]
    batch = np.array(list(product(*ranges)))
    noise = np.sum(terms.device_noise / batch, axis=1)
    n, b0 = (each.ravel() for each in np.meshgrid(np.arange(_most_rounds(problem) + 1.0), _server_batches(problem)))
    best = np.inf
    if not finetuned:
        fits = (n > 0) & (_server_energy(problem, n * b0, budget.delay_s) <= budget.energy_j)
        best = float(np.min(terms.bound(n[fits], 0.0, b0[fits], 0.0), initial=np.inf))
    soonest_s = _soonest_s(problem)
    for m in range(1, int(budget.delay_s / (soonest_s + radio.downlink_delay_s)) + 1):
        latest_s = budget.delay_s / m - radio.downlink_delay_s
        barrier_s = soonest_s + np.linspace(0.0, 1.0, _BARRIERS) ** 2 * (latest_s - soonest_s) * (1.0 - 1e-12)
        finetuning = m * (radio.downlink_energy_j + _energy(problem, batch, barrier_s))
        for by_s, energy_j in zip(barrier_s, finetuning, strict=True):
            pretraining = _server_energy(problem, n * b0, budget.delay_s - m * (by_s + radio.downlink_delay_s))
            which, fits = np.nonzero(energy_j[:, np.newaxis] + pretraining <= budget.energy_j)
            value = (terms.bound_ft if finetuned else terms.bound)(n[fits], float(m), b0[fits], noise[which])
            best = min(best, float(np.min(value, initial=np.inf)))
    return best


def _server_batches(problem: Problem) -> FloatArray:
    return np.arange(problem.server.min_batch, problem.server.max_batch + 1.0)


def _soonest_s(problem: Problem) -> float:
    """When everyone can be done with the fewest samples."""
    devices, radio = problem.devices, problem.radio
    snr = devices.max_power_w * devices.gain / (radio.noise_psd_w_hz * devices.bandwidth_hz)
    compute_s = devices.min_batch * devices.cycles_per_sample / devices.max_frequency_hz
    return float(np.max(compute_s + radio.uplink_bits / (devices.bandwidth_hz * np.log2(1.0 + snr))))


def _most_rounds(problem: Problem) -> float:
    server = problem.server
    return float(np.floor(problem.budget.delay_s * server.max_frequency_hz / server.cycles_per_sample))


def _server_energy(problem: Problem, samples: FloatArray, within_s: float) -> FloatArray:
    """Energy of ``samples`` within ``within_s``; infinite where that is too short."""
    server, cycles = problem.server, samples * problem.server.cycles_per_sample
    frequency = np.maximum(server.min_frequency_hz, cycles / max(within_s, 1e-9))
    energy = np.where(cycles > 0.0, server.capacitance * cycles * frequency**2, 0.0)
    return np.where((frequency <= server.max_frequency_hz) | (cycles == 0.0), energy, np.inf)


def _energy(problem: Problem, batch: FloatArray, barrier_s: FloatArray) -> FloatArray:
    """Least energy (barriers, rows) of a round with ``batch`` (rows, K) by ``barrier_s``; infinite if too soon."""
    devices, radio = problem.devices, problem.radio
    total = np.zeros((len(barrier_s), len(batch)))
    for k in range(len(devices)):
        cycles = batch[:, k] * devices.cycles_per_sample[k]
        watts = radio.noise_psd_w_hz * devices.bandwidth_hz[k] / devices.gain[k]
        nats_s = radio.uplink_bits * np.log(2.0) / devices.bandwidth_hz[k]
        fastest_s, quickest_s = cycles / devices.max_frequency_hz[k], nats_s / np.log1p(devices.max_power_w[k] / watts)
        most_s = barrier_s[:, np.newaxis] - quickest_s
        with np.errstate(divide="ignore"):
            slowest_s = cycles / devices.min_frequency_hz[k]
        part = np.linspace(0.0, 1.0, _SPLITS)
        longest_s = np.minimum(most_s, slowest_s)[..., np.newaxis]
        compute_s = fastest_s[:, np.newaxis] + part * (longest_s - fastest_s[:, np.newaxis])
        upload_s = barrier_s[:, np.newaxis, np.newaxis] - compute_s
        with np.errstate(over="ignore", invalid="ignore"):
            sent_j = watts * upload_s * np.expm1(nats_s / upload_s)
            energy = devices.capacitance[k] * cycles[:, np.newaxis] ** 3 / compute_s**2 + sent_j
        energy = np.min(np.where(longest_s >= fastest_s[:, np.newaxis], energy, np.inf), axis=2)
        total += energy
    return total
