"""The relaxed problems as conic programs (CVXPY, Clarabel): an independent solver for the tests and the benchmark.

Stage totals per unit of the denominator (docs/theory.md, section 3, fact (a) with Charnes and Cooper's
transformation): second-order, power and exponential cones. Nothing here is shared with `policies`.
"""

import math
import warnings
from collections.abc import Sequence
from typing import Any

import cvxpy
import numpy as np

from prefine.emulator.bound import BoundTerms, server_round
from prefine.emulator.types import Problem, Relaxed

cp: Any = cvxpy  # its annotations cover only part of what it exports
LN2 = math.log(2.0)
TOLERANCES = (1e-11, 1e-9, 1e-8)
"""Tried in turn: oddly scaled problems do not reach the first, and the last still tells optima apart to about 1e-5."""


class InaccurateError(Exception):
    """The conic solver does not vouch for its result."""


def solve_conic(
    problem: Problem,
    scale: Relaxed,
    *,
    finetuned: bool = False,
    fixed: float | None = None,
    order: Sequence[int] | None = None,
) -> float:
    """The optimum of Phi, or of Phi_FT, under FDMA or TDMA; with N = ``fixed`` where it is given, as server noise that
    settles needs it.

    Every variable is measured in units of its size in the design ``scale``: any design gives the same optimum, one
    near it spares the interior-point method from badly scaled cones. Bands are those that ``scale`` decides on, if any.
    With ``order`` uploads under TDMA do not wait for all computing: they follow each other in that order.
    """
    terms, devices, radio, budget = BoundTerms.of(problem), problem.devices, problem.radio, problem.budget
    count, unit = len(devices), _Units(problem, scale)
    n, m, per_round = cp.Variable(nonneg=True), cp.Variable(nonneg=True), cp.Variable(nonneg=True)
    y = per_round / (scale.finetune_rounds if finetuned else scale.pretrain_rounds + scale.finetune_rounds)
    constraints: list[Any] = [m == 1.0] if finetuned else [n + m == 1.0]
    # Server: samples s, compute time x, energy e with e x^2 >= s^3.
    s, x, e, q = (cp.Variable(nonneg=True) for _ in range(4))
    constraints += _range(
        s, n, problem.server.min_batch / unit.server_batch, problem.server.max_batch / unit.server_batch
    )
    server_hz = scale.server.frequency_hz
    constraints += _range(
        x, s, server_hz / problem.server.max_frequency_hz, server_hz * _inverse(problem.server.min_frequency_hz)
    )
    constraints += [cp.constraints.PowCone3D(e, x, s, 1.0 / 3.0), cp.quad_over_lin(n, s) <= q]
    # Devices, the same; sent time v and energy g + ... with v exp(nats m / v) <= g.
    sk, uk, ek, qk, vk, gk = (cp.Variable(count, nonneg=True) for _ in range(6))
    z = cp.Variable(nonneg=True)
    constraints += [sk >= m * (devices.min_batch / unit.batch), sk <= m * (devices.max_batch / unit.batch)]
    constraints += [uk >= cp.multiply(scale.devices.frequency_hz / devices.max_frequency_hz, sk)]
    slowest = np.array([_inverse(f) for f in devices.min_frequency_hz]) * scale.devices.frequency_hz
    constraints += [uk[k] <= slowest[k] * sk[k] for k in range(count) if math.isfinite(slowest[k])]
    constraints += [cp.constraints.PowCone3D(ek, uk, sk, np.full(count, 1.0 / 3.0))]
    constraints += [cp.quad_over_lin(m, sk[k]) <= qk[k] for k in range(count)]
    least_s = radio.uplink_bits * LN2 / unit.band_hz / unit.most_nats
    constraints += [vk >= m * (least_s / unit.upload)]
    constraints += [cp.constraints.ExpCone(cp.multiply(unit.nats, m - vk), vk, gk)]
    finish = unit.finish
    sent = cp.multiply(unit.upload / finish, vk)
    queued = radio.access == "tdma"
    computed = cp.multiply(unit.compute / finish, uk)
    if order is None:
        constraints += [computed + (0.0 if queued else sent) <= z]
    else:
        constraints += [computed[k] + sum(sent[i] for i in order[j:]) <= z for j, k in enumerate(order)]
        queued = False
    # g counts exp(nats); the upload energy is watts * upload * (g exp(nats) - v).
    sent_j = cp.multiply(unit.watts * unit.upload * np.exp(unit.nats), gk) - cp.multiply(unit.watts * unit.upload, vk)
    delay = unit.server.delay_s * x + radio.downlink_delay_s * m + finish * (z + (cp.sum(sent) if queued else 0.0))
    energy = unit.server.energy_j * e + radio.downlink_energy_j * m + cp.sum(cp.multiply(unit.compute_j, ek) + sent_j)
    rounds = scale.pretrain_rounds + scale.finetune_rounds
    constraints += [delay * (rounds / budget.delay_s) <= rounds * y, energy * (rounds / budget.energy_j) <= rounds * y]
    noise = terms.server_noise / unit.server_batch * q + (terms.device_noise / unit.batch) @ qk
    if fixed is not None:
        constraints.append(n == fixed * y)
    if finetuned and fixed is not None and terms.settled_noise is not None:
        settled = terms.settled_noise * -math.expm1(-terms.contraction * fixed) / fixed
        noise = settled / unit.server_batch * q + (terms.device_noise / unit.batch) @ qk
        objective = (terms.removable * math.exp(-terms.contraction * fixed) + terms.floor) * y + noise
    elif finetuned:
        left, spent = cp.Variable(nonneg=True), -terms.contraction * n
        constraints += [cp.constraints.ExpCone(spent, y, left)]
        objective = terms.removable * left + terms.floor * y + noise
    else:
        objective = terms.start * y + terms.shift * n + noise
        if terms.bends:  # a straight shift needs no cone, and a degenerate one makes the solver fail on large problems
            left = cp.Variable(nonneg=True)
            constraints.append(cp.constraints.ExpCone(-terms.relief_rate * n, y, left))
            objective -= terms.relief * (y - left)
    program = cp.Problem(cp.Minimize(objective), constraints)
    failures = []
    for tolerance in TOLERANCES:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # an inaccurate status is tried again below
            try:
                program.solve(solver=cp.CLARABEL, tol_gap_abs=tolerance, tol_gap_rel=tolerance, tol_feas=tolerance)
            except cp.error.SolverError as error:
                failures.append(str(error))
                continue
        if program.status == "optimal":
            return float(program.value)
        failures.append(program.status)
    raise InaccurateError("; ".join(failures))


class _Units:
    """Sizes of the variables in a design."""

    def __init__(self, problem: Problem, scale: Relaxed) -> None:
        devices, radio = problem.devices, problem.radio
        self.server = server_round(problem.server, scale.server)
        self.server_batch, self.batch = scale.server.batch, scale.devices.batch
        self.compute = self.batch * devices.cycles_per_sample / scale.devices.frequency_hz
        self.compute_j = devices.capacitance * devices.cycles_per_sample * self.batch * scale.devices.frequency_hz**2
        self.upload = scale.devices.upload_s
        self.band_hz = devices.bandwidth_hz if scale.devices.bandwidth_hz is None else scale.devices.bandwidth_hz
        if radio.access == "tdma":
            self.band_hz = np.full(len(devices), devices.bandwidth_hz.sum())
        self.watts = radio.noise_psd_w_hz * self.band_hz / devices.gain
        self.most_nats = np.log1p(devices.max_power_w / self.watts)
        self.nats = radio.uplink_bits * LN2 / self.band_hz / self.upload
        self.finish = float(np.max(self.compute + self.upload))


def _range(value: Any, unit: Any, low: float, high: float) -> list[Any]:
    return [value >= low * unit] + ([value <= high * unit] if math.isfinite(high) else [])


def _inverse(value: float) -> float:
    return 1.0 / value if value > 0.0 else math.inf
