"""FEDL against the stored results of its authors' public code, and against roots of its optimality conditions.

Source of the numbers: Dinh et al., IEEE/ACM TON 29(1), 2021 (arXiv 1910.13067), five devices, as
`published/fedl-5.json`.
"""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from scipy.optimize import brentq
from typer.testing import CliRunner

from prefine.emulator.cli import app
from prefine.emulator.errors import InputError
from prefine.emulator.planning import plan
from prefine.emulator.problem_file import parse_problem
from prefine.emulator.types import Devices, Problem
from prefine.policies.literature import Fedl

FILE = Path(__file__).parent / "published" / "fedl-5.json"


class Phases(NamedTuple):
    """Time and energy of computing, and of communication."""

    compute_s: float
    compute_j: float
    upload_s: float
    upload_j: float


PUBLISHED = {
    0.01: Phases(4.49303269187, 0.0535203181508, 0.876846839908, 0.233418958633),
    0.1: Phases(2.56538404318, 0.133885059493, 0.366634618305, 0.250580241003),
    0.3: Phases(1.79564094724, 0.269346142086, 0.292515306674, 0.262954038504),
}


def _problem() -> Problem:
    return parse_problem(FILE.read_text(), FILE.name)


def _phases(problem: Problem, **parameters: object) -> Phases:
    devices, sent = problem.devices, Fedl(batch=1, share=0.0, **parameters).plan(problem).devices  # type: ignore[arg-type]
    compute_j = devices.capacitance * devices.cycles_per_sample * sent.frequency_hz**2
    compute_s = np.max(devices.cycles_per_sample / sent.frequency_hz)
    return Phases(compute_s, compute_j.sum(), sent.upload_s.sum(), float(sent.power_w @ sent.upload_s))


def _independent(problem: Problem, kappa: float) -> Phases:
    """Both phases by Brent's method on their derivatives, device by device, with nothing of `policies`."""
    devices, radio = problem.devices, problem.radio
    least_s = np.max(devices.cycles_per_sample / devices.max_frequency_hz)
    most_s = np.max(devices.cycles_per_sample / devices.min_frequency_hz)

    def speeds(time_s: float) -> np.ndarray:
        return np.clip(devices.cycles_per_sample / time_s, devices.min_frequency_hz, devices.max_frequency_hz)

    def saved_w(time_s: float) -> float:
        hz = speeds(time_s)
        slowing = devices.cycles_per_sample / time_s > devices.min_frequency_hz
        return kappa - float(np.sum(2.0 * devices.capacitance * hz**3 * slowing))

    compute_s = _root(saved_w, least_s, most_s)
    compute_j = float(np.sum(devices.capacitance * devices.cycles_per_sample * speeds(compute_s) ** 2))
    upload_s = upload_j = 0.0
    band_hz = radio.total_bandwidth_hz or 0.0
    least_w = devices.least_power_w
    for k in range(len(devices)):
        noise_w = radio.noise_psd_w_hz * band_hz / devices.gain[k]

        def saved(nats: float, noise_w: float = noise_w) -> float:
            return noise_w * (math.exp(nats) * (nats - 1.0) + 1.0) - kappa

        low, high = (math.log1p(power / noise_w) for power in (least_w[k], devices.max_power_w[k]))
        nats = _root(saved, low, high)
        one_s = radio.uplink_bits * math.log(2.0) / band_hz / nats
        upload_s, upload_j = upload_s + one_s, upload_j + one_s * noise_w * math.expm1(nats)
    return Phases(compute_s, compute_j, upload_s, upload_j)


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    """The root of a rising ``function``, or the end of the range that is nearest to it."""
    if function(low) >= 0.0:
        return low
    if function(high) <= 0.0:
        return high
    return float(brentq(function, low, high, xtol=1e-15 * high, rtol=4 * np.finfo(float).eps))


def _many(seed: int, count: int = 50) -> Problem:
    """Devices drawn from the ranges of the source's code: 10 to 30 cycles a bit, 2 to 50 m, up to 1 to 2 GHz."""
    generator, five = np.random.default_rng(seed), _problem()
    ratio = 10.0 ** generator.uniform(-3.0, 1.5, count)
    ones = np.ones(count)
    devices = Devices(
        cycles_per_sample=generator.uniform(10.0, 30.0, count) * generator.uniform(4e7, 8e7, count),
        capacitance=1e-28 * ones,
        gradient_variance=ones,
        weight=ones / count,
        min_frequency_hz=3e8 * ones,
        max_frequency_hz=generator.uniform(1e9, 2e9, count),
        min_batch=ones,
        max_batch=ones,
        max_power_w=ones,
        gain=five.radio.noise_psd_w_hz * 1e6 / ratio,
        bandwidth_hz=1e6 / count * ones,
        min_power_w=0.2 * ones,
    )
    return replace(five, devices=devices)


@pytest.mark.parametrize("phases", ["joint", "apart"])
@pytest.mark.parametrize("kappa", PUBLISHED)
def test_the_published_table(kappa: float, phases: str) -> None:
    """Under TDMA computing and communication are apart anyhow."""
    assert _phases(_problem(), kappa=kappa, phases=phases) == pytest.approx(PUBLISHED[kappa], rel=1e-9)


@pytest.mark.parametrize("kappa", [1e-5, 1e-3, 0.03, 0.5, 1.0, 3.0, 10.0, 1e3])
def test_more_kappas_and_fifty_devices(kappa: float) -> None:
    for problem in (_problem(), _many(1), _many(2), _many(3, 7)):
        assert _phases(problem, kappa=kappa, phases="apart") == pytest.approx(_independent(problem, kappa), rel=1e-9)


def test_the_independent_route_has_the_published_table_too() -> None:
    for kappa, phases in PUBLISHED.items():
        assert _independent(_problem(), kappa) == pytest.approx(phases, rel=1e-9)


def test_with_a_band_for_each_the_phases_are_a_barrier_each() -> None:
    """Apart: neither phase can be had for less at its own barrier; joint: the sum is no more than apart."""
    problem = replace(_many(4, 6), radio=replace(_problem().radio, access="fdma"))
    devices, kappa = problem.devices, 0.2

    def cost(phases: str) -> tuple[float, float, float]:
        plan = Fedl(batch=1, share=0.0, kappa=kappa, phases=phases).plan(problem).devices  # type: ignore[arg-type]
        ready_s = devices.cycles_per_sample / plan.frequency_hz
        energy = devices.capacitance * devices.cycles_per_sample * plan.frequency_hz**2
        compute = float(energy.sum() + kappa * ready_s.max())
        upload = float(plan.power_w @ plan.upload_s + kappa * plan.upload_s.max())
        whole = float(energy.sum() + plan.power_w @ plan.upload_s + kappa * (ready_s + plan.upload_s).max())
        return compute, upload, whole

    apart, joint = cost("apart"), cost("joint")
    assert apart[0] <= joint[0] * (1.0 + 1e-12)
    assert apart[1] <= joint[1] * (1.0 + 1e-12)
    assert joint[2] <= apart[2] * (1.0 + 1e-12)
    assert joint[2] < apart[2] * (1.0 - 1e-3)


def test_the_command_line_has_it(tmp_path: Path) -> None:
    options = [f"policies.fedl.{each}" for each in ("kappa=0.1", "batch=1", "share=0", "phases=apart")]
    arguments = [part for option in options for part in ("--set", option)]
    answers = [
        CliRunner().invoke(app, ["plan", *given, "--policy", "fedl", *arguments, "--json"])
        for given in ([str(FILE)], ["--problem", str(FILE)])
    ]
    for answer in answers:
        assert answer.exit_code == 0, answer.output
        devices = json.loads(answer.stdout)["plan"]["devices"]
        assert sum(devices["upload_s"]) == pytest.approx(PUBLISHED[0.1].upload_s, rel=1e-9)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("policies.fedl.kapa=1", "policies.fedl.kapa: unknown key"),
        ("policies.fedle.kappa=1", "policies.fedle: policy 'fedle' is unknown"),
        ("policies.fedl=1", "--set policies: must be policies.NAME.KEY=VALUE"),
        ("budget.delay_s=1", "--set budget: with a problem only policies.NAME.KEY"),
        ("policies.fedl.phases=both", "policies.fedl.phases: must be one of joint, apart"),
    ],
)
def test_overrides_beside_a_problem_are_of_policies(override: str, said: str) -> None:
    with pytest.raises(InputError, match=said.replace(".", r"\.")):
        plan(policy="fedl", problem=FILE, overrides=[override])
