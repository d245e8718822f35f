"""Problems for the solver's tests: the seven of the design study, and random ones with odd ranges."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from prefine.emulator.problem_file import parse_problem
from prefine.emulator.types import Budget, Devices, FloatArray, Learning, Problem, Radio, Server

FOLDER = Path(__file__).parent / "problems"
NAMES = tuple(sorted(path.stem for path in FOLDER.glob("*.json") if path.stem != "optimum"))


def load(name: str) -> Problem:
    """The instance ``name``."""
    path = FOLDER / f"{name}.json"
    return parse_problem(path.read_text(), path.name)


def with_pretraining(problem: Problem, contraction: float = 0.03, floor: float = 0.6) -> Problem:
    """``problem`` with the constants of Phi_FT."""
    learning = replace(problem.learning, pretrain_contraction=contraction, pretrain_floor=floor)
    return replace(problem, learning=learning)


def with_settling(problem: Problem, generator: np.random.Generator) -> Problem:
    """``problem`` with the constants of Phi_FT, server noise that settles among them."""
    gap = problem.learning.initial_gap
    learning = replace(
        problem.learning,
        pretrain_contraction=float(_log_uniform(generator, 0.007, 1.6)),
        pretrain_floor=float(generator.uniform(0.0, 0.9)) * gap,
        pretrain_noise=float(_log_uniform(generator, 0.02, 50.0)) * gap,
    )
    return replace(problem, learning=learning)


def with_bend(problem: Problem, generator: np.random.Generator) -> Problem:
    """``problem`` with a shift that bends: nearly none at first or half of the later one, for 1 to 1000 rounds."""
    shift, rate = float(_log_uniform(generator, 0.05, 20.0)), float(_log_uniform(generator, 1e-3, 1.0))
    relief = float(generator.choice([1.0, 0.9, 0.5])) * shift / rate
    learning = replace(problem.learning, discrepancy=shift, discrepancy_relief=relief, discrepancy_rate=rate)
    return replace(problem, learning=learning)


def _log_uniform(generator: np.random.Generator, low: float, high: float, size: int | None = None) -> FloatArray:
    return np.exp(generator.uniform(np.log(low), np.log(high), size))


def _range(
    generator: np.random.Generator, low: float, high: float, size: int, *, whole: bool = False
) -> tuple[FloatArray, FloatArray]:
    """Ranges within [low, high]: wide, narrow, or a single point, each device its own."""
    ends = np.sort(_log_uniform(generator, low, high, 2 * size).reshape(2, size), axis=0)
    kind = generator.integers(0, 4, size)
    least = np.where(kind == 0, low, ends[0])
    most = np.where(kind == 0, high, np.where(kind == 1, ends[0], ends[1]))
    if whole:
        least, most = np.ceil(least), np.maximum(np.ceil(least), np.floor(most))
    return least, most


def odd_problem(seed: int, count: int | None = None) -> Problem:
    """A random problem with the oddities that break solvers.

    Gains up to 80 dB apart, single-point ranges, zero variances, weights, discrepancy and downlink, scarce and
    plentiful budgets.
    """
    generator = np.random.default_rng(seed)
    size = count or int(generator.choice([1, 1, 2, 3, 5, 10, 20, 50]))
    weight = generator.dirichlet(np.full(size, generator.choice([0.3, 1.0, 100.0])))
    if generator.random() < 0.2 and size > 1:
        weight[0] = 0.0
    weight /= weight.sum()
    variance = _log_uniform(generator, 0.1, 100.0, size)
    if generator.random() < 0.2:
        variance[generator.integers(0, size)] = 0.0
    least_hz, most_hz = _range(generator, 1e7, 3e9, size)
    least_batch, most_batch = _range(generator, 1.0, 512.0, size, whole=True)
    spread_db = float(generator.choice([0.0, 10.0, 60.0, 80.0]))
    bandwidth = _log_uniform(generator, 2e4, 2e6, size)
    devices = Devices(
        cycles_per_sample=_log_uniform(generator, 1e6, 1e8, size),
        capacitance=_log_uniform(generator, 1e-29, 1e-27, size),
        gradient_variance=variance,
        weight=weight,
        min_frequency_hz=least_hz,
        max_frequency_hz=most_hz,
        min_batch=least_batch,
        max_batch=most_batch,
        max_power_w=_log_uniform(generator, 1e-3, 1.0, size),
        gain=10.0 ** (generator.uniform(-13.0, -9.0) + generator.uniform(-0.5, 0.5, size) * spread_db / 10.0),
        bandwidth_hz=bandwidth,
    )
    (server_least_hz,), (server_most_hz,) = _range(generator, 1e8, 2e10, 1)
    (server_least,), (server_most,) = _range(generator, 1.0, 512.0, 1, whole=True)
    downlink = bool(generator.random() < 0.3)
    return Problem(
        Budget(float(_log_uniform(generator, 10.0, 1000.0)), float(_log_uniform(generator, 1.0, 1000.0))),
        Learning(
            smoothness=float(_log_uniform(generator, 1.0, 20.0)),
            learning_rate=0.05,
            initial_gap=float(_log_uniform(generator, 0.1, 10.0)),
            discrepancy=0.0 if generator.random() < 0.1 else float(_log_uniform(generator, 1e-3, 10.0)),
        ),
        Server(
            cycles_per_sample=float(_log_uniform(generator, 1e6, 1e8)),
            capacitance=float(_log_uniform(generator, 1e-29, 1e-27)),
            gradient_variance=0.0 if generator.random() < 0.1 else float(_log_uniform(generator, 0.1, 100.0)),
            min_frequency_hz=float(server_least_hz),
            max_frequency_hz=float(server_most_hz),
            min_batch=float(server_least),
            max_batch=float(server_most),
        ),
        devices,
        Radio(
            noise_psd_w_hz=3.98e-21,
            uplink_bits=float(_log_uniform(generator, 1e4, 1e7)),
            downlink_delay_s=float(generator.uniform(0.0, 0.5)) if downlink else 0.0,
            downlink_energy_j=float(generator.uniform(0.0, 0.1)) if downlink else 0.0,
        ),
        f"odd-{seed}",
    )
