"""The published route: successive convex approximation for fixed rounds inside a two-dimensional integer search.

Known of arXiv 2404.00836 from its abstract and public summaries: for fixed (N, M) its solver is successive convex
approximation (SCA) over batch sizes, clock frequencies and transmit powers; (N, M) are found by a two-dimensional
search. This project's reading of the rest: products and quotients are replaced by their arithmetic-geometric means
around the last point (b/f <= (b^2 + f^-2)/2 and b f^2 <= (b^2 + f^4)/2 in units of that point, tight there); power
enters through the upload time, in which its energy is convex as it stands; the search is a pattern search. Bands that
could be decided stay as they are.
Needs the extra ``reference`` (CVXPY, Clarabel).
"""

import math
import warnings
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from prefine.emulator.access import noise_psd_w_hz, planned_bands_hz
from prefine.emulator.bound import BoundTerms, predict, server_round
from prefine.emulator.errors import InfeasibleError, InputError
from prefine.emulator.physics import LN2, compute_energy, compute_time, upload_power
from prefine.emulator.types import DevicesPlan, FloatArray, Plan, Problem, ServerPlan
from prefine.policies.baselines import Uniform
from prefine.policies.batch_rounding import BatchAllocator
from prefine.policies.feasibility import (
    require_at_least,
    require_positive,
    require_reachable,
    require_whole_batches,
    shortfall,
)
from prefine.policies.rounding import SLIVER
from prefine.policies.subproblems import Stages

Rounds = tuple[int, int]

_PENALTY = 1e3
"""Price of overrunning a whole budget, in units of the bound: larger ends overruns sooner, but scales cones badly."""

_NO_OVERRUN = 1e-7
"""Overrun, as a part of a budget, that counts as none: the conic solver's own accuracy."""

_NEVER_SLOWER = 1e3
"""Longest upload in units of the last point's: a bound for the solver only, far from any optimum of one step."""


@dataclass(frozen=True)
class Point:
    """Real batches with frequencies and powers for fixed (N, M), and the bound; infinite where they do not fit."""

    bound: float
    rounds: Rounds
    server: ServerPlan
    devices: DevicesPlan


@dataclass(frozen=True)
class JointSca:
    """Minimises Phi by SCA inside a two-dimensional search: the reference to beat, and an independent check.

    ``iterations`` bounds the convex programs per (N, M), ``tolerance`` ends them, ``evaluations`` bounds the pairs
    tried.
    """

    iterations: int = 60
    tolerance: float = 1e-5
    evaluations: int = 120

    def __post_init__(self) -> None:
        require_at_least("joint-sca", "iterations", self.iterations, 1)
        require_positive("joint-sca", "tolerance", self.tolerance)
        require_at_least("joint-sca", "evaluations", self.evaluations, 1)

    def plan(self, problem: Problem) -> Plan:
        """The best pair's design with whole batches. Raises InfeasibleError where not one round fits."""
        stages = Stages(problem)
        require_whole_batches(stages)
        point = self.optimise(problem)
        rounds, budget = point.rounds, problem.budget
        server = replace(point.server, batch=max(math.floor(point.server.batch), math.ceil(problem.server.min_batch)))
        if not rounds[1]:
            return Plan(*rounds, server, stages.idle(np.ceil(problem.devices.min_batch)))
        cost = server_round(problem.server, server)
        delay_s, energy_j = (
            (total * (1.0 - SLIVER) - rounds[0] * one) / rounds[1]
            for total, one in ((budget.delay_s, cost.delay_s), (budget.energy_j, cost.energy_j))
        )
        allocation = BatchAllocator(stages, 1.0, None).best(
            delay_s - problem.radio.downlink_delay_s, energy_j - problem.radio.downlink_energy_j
        )
        if allocation is None:
            raise InfeasibleError(shortfall(stages))
        return Plan(*rounds, server, allocation.barrier.plan)

    def optimise(self, problem: Problem) -> Point:
        """The best (N, M) found with real batches."""
        require_reachable(Stages(problem))
        start = Uniform().plan(problem)
        program = _Program(problem)
        best = self._approximate(program, (start.pretrain_rounds, start.finetune_rounds), _first(problem, start))
        tried = {best.rounds}
        step = max(1, sum(best.rounds))
        while step and len(tried) < self.evaluations:
            improved = best
            for rounds in _neighbours(best.rounds, step):
                if rounds not in tried and len(tried) < self.evaluations:
                    tried.add(rounds)
                    point = self._approximate(program, rounds, best)
                    improved = point if point.bound < improved.bound else improved
            step = step if improved is not best else step // 2
            best = improved
        if not math.isfinite(best.bound):
            raise InfeasibleError(shortfall(Stages(problem)))
        return best

    def _approximate(self, program: "_Program", rounds: Rounds, start: Point) -> Point:
        """SCA at fixed ``rounds``: convex programs around the last point until the bound settles."""
        point = replace(start, rounds=rounds, bound=math.inf)
        for _ in range(self.iterations):
            following = program.solve(point)
            settled = following.bound >= point.bound * (1.0 - self.tolerance) and math.isfinite(following.bound)
            point = following
            if settled:
                break
        return point


def _neighbours(rounds: Rounds, step: int) -> list[Rounds]:
    n, m = rounds
    moves = ((0, step), (0, -step), (step, 0), (-step, 0), (step, -step), (-step, step), (step, step), (-step, -step))
    pairs = [(max(n + dn, 0), max(m + dm, 0)) for dn, dm in moves]
    return [pair for pair in pairs if sum(pair) > 0]


def _first(problem: Problem, plan: Plan) -> Point:
    return Point(math.inf, (plan.pretrain_rounds, plan.finetune_rounds), plan.server, plan.devices)


class _Steps(NamedTuple):
    """By which factors the variables move from the last point, and by how much the budgets are overrun."""

    batch: FloatArray
    hz: FloatArray
    upload: FloatArray
    server_batch: float
    server_hz: float
    overrun: float


class _Program:
    """The convex approximation, compiled once; its data are CVXPY parameters in units of the last point."""

    def __init__(self, problem: Problem) -> None:
        try:
            import cvxpy as cp
        except ImportError:
            raise InputError("policies.joint-sca: needs CVXPY and Clarabel; pip install 'prefine[reference]'") from None
        self._problem, self._terms, count = problem, BoundTerms.of(problem), len(problem.devices)
        self._cp = cp
        names = ("noise", "compute", "upload", "compute_j", "nats", "sent_j", "idle_j")
        self._each = {name: cp.Parameter(count, nonneg=True) for name in names}
        self._one = {name: cp.Parameter(nonneg=True) for name in ("noise", "delay", "energy", "downlink", "downlink_j")}
        self._boxes = {name: (cp.Parameter(count), cp.Parameter(count)) for name in ("batch", "hz", "upload")}
        self._server_boxes = {name: (cp.Parameter(), cp.Parameter()) for name in ("batch", "hz")}
        self.batch: Any = cp.Variable(count, nonneg=True)
        self.hz: Any = cp.Variable(count, nonneg=True)
        self.upload: Any = cp.Variable(count, nonneg=True)
        self.server_batch: Any = cp.Variable(nonneg=True)
        self.server_hz: Any = cp.Variable(nonneg=True)
        self.overrun: Any = cp.Variable(nonneg=True)
        self._program: Any = cp.Problem(cp.Minimize(self._objective()), self._constraints(count))

    def _objective(self) -> Any:
        cp = self._cp
        noise = self._one["noise"] * cp.inv_pos(self.server_batch) + self._each["noise"] @ cp.inv_pos(self.batch)
        return noise + _PENALTY * self.overrun

    def _constraints(self, count: int) -> list[Any]:
        cp, each, one = self._cp, self._each, self._one
        barrier, sent = cp.Variable(nonneg=True), cp.Variable(count, nonneg=True)
        quotient = 0.5 * (cp.square(self.batch) + cp.power(self.hz, -2))
        product = 0.5 * (cp.square(self.batch) + cp.power(self.hz, 4))
        server_quotient = 0.5 * (cp.square(self.server_batch) + cp.power(self.server_hz, -2))
        server_product = 0.5 * (cp.square(self.server_batch) + cp.power(self.server_hz, 4))
        energy = one["energy"] * server_product + one["downlink_j"] + each["compute_j"] @ product
        sending = cp.multiply(each["upload"], self.upload)
        queued = self._problem.radio.access == "tdma"
        constraints = [
            cp.multiply(each["compute"], quotient) + (0.0 if queued else sending) <= barrier,
            cp.constraints.ExpCone(each["nats"] - cp.multiply(each["nats"], self.upload), self.upload, sent),
            one["delay"] * server_quotient + one["downlink"] + barrier + (cp.sum(sending) if queued else 0.0)
            <= 1.0 + self.overrun,
            energy + each["sent_j"] @ sent - each["idle_j"] @ self.upload <= 1.0 + self.overrun,
        ]
        for name, variable in (("batch", self.batch), ("hz", self.hz), ("upload", self.upload)):
            constraints += [variable >= self._boxes[name][0], variable <= self._boxes[name][1]]
        for name, variable in (("batch", self.server_batch), ("hz", self.server_hz)):
            constraints += [variable >= self._server_boxes[name][0], variable <= self._server_boxes[name][1]]
        return constraints

    def solve(self, point: Point) -> Point:
        """The next point: the optimum of the approximation around ``point``, within limits even where it is inexact."""
        self._set(point)
        steps = self._solved()
        if steps is None:
            return replace(point, bound=math.inf)
        problem, devices, radio = self._problem, self._problem.devices, self._problem.radio
        least, most = (np.asarray(end.value) for end in self._boxes["upload"])
        upload_s = point.devices.upload_s * np.clip(steps.upload, least, most)
        bands_hz, noise_psd = planned_bands_hz(devices, radio), noise_psd_w_hz(devices, radio)
        plan = DevicesPlan(
            np.clip(point.devices.batch * steps.batch, devices.min_batch, devices.max_batch),
            np.clip(point.devices.frequency_hz * steps.hz, devices.min_frequency_hz, devices.max_frequency_hz),
            np.clip(
                upload_power(radio.uplink_bits, bands_hz, upload_s, devices.gain, noise_psd),
                devices.least_power_w,
                devices.max_power_w,
            ),
            upload_s,
        )
        server = ServerPlan(
            float(np.clip(point.server.batch * steps.server_batch, problem.server.min_batch, problem.server.max_batch)),
            float(
                np.clip(
                    point.server.frequency_hz * steps.server_hz,
                    problem.server.min_frequency_hz,
                    problem.server.max_frequency_hz,
                )
            ),
        )
        following = Point(math.inf, point.rounds, server, plan)
        fits = steps.overrun <= _NO_OVERRUN
        bound = predict(problem, Plan(*point.rounds, server, plan)).bound if fits else math.inf
        return replace(following, bound=bound)

    def _solved(self) -> "_Steps | None":
        """The approximation's optimum; None where the solver gives up."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # an inaccurate step is still a step: the physics judges it
            try:
                self._program.solve(solver=self._cp.CLARABEL)
            except self._cp.error.SolverError:
                return None
        variables = (self.batch, self.hz, self.upload, self.server_batch, self.server_hz, self.overrun)
        values = [variable.value for variable in variables]
        if any(value is None for value in values):
            return None
        return _Steps(*values[:3], *(float(value) for value in values[3:]))

    def _set(self, point: Point) -> None:
        """Write ``point`` into the parameters."""
        problem, terms, radio = self._problem, self._terms, self._problem.radio
        devices, plan, (n, m) = problem.devices, point.devices, point.rounds
        budget, rounds = problem.budget, n + m
        server = server_round(problem.server, point.server)
        compute_s = compute_time(plan.batch, devices.cycles_per_sample, plan.frequency_hz)
        bands_hz = planned_bands_hz(devices, radio)
        nats = radio.uplink_bits * LN2 / bands_hz / plan.upload_s
        watts = noise_psd_w_hz(devices, radio) * bands_hz / devices.gain
        self._each["noise"].value = m / rounds * terms.device_noise / plan.batch
        self._each["compute"].value = m * compute_s / budget.delay_s
        self._each["upload"].value = m * plan.upload_s / budget.delay_s
        compute_j = compute_energy(plan.batch, devices.cycles_per_sample, plan.frequency_hz, devices.capacitance)
        self._each["compute_j"].value = m * compute_j / budget.energy_j
        self._each["nats"].value = nats
        # Upload energy watts v (e^(nats / v) - 1), where ``sent`` bounds v e^(nats (1 - v) / v).
        idle_j = m * watts * plan.upload_s / budget.energy_j
        self._each["sent_j"].value, self._each["idle_j"].value = idle_j * np.exp(nats), idle_j
        self._one["noise"].value = n / rounds * terms.server_noise / point.server.batch
        self._one["delay"].value = n * server.delay_s / budget.delay_s
        self._one["energy"].value = n * server.energy_j / budget.energy_j
        self._one["downlink"].value = m * radio.downlink_delay_s / budget.delay_s
        self._one["downlink_j"].value = m * radio.downlink_energy_j / budget.energy_j
        most_nats, least_nats = np.log1p(devices.max_power_w / watts), np.log1p(devices.least_power_w / watts)
        _box(self._boxes["batch"], devices.min_batch, devices.max_batch, plan.batch)
        _box(self._boxes["hz"], devices.min_frequency_hz, devices.max_frequency_hz, plan.frequency_hz)
        self._boxes["upload"][0].value = nats / most_nats
        self._boxes["upload"][1].value = nats / np.maximum(least_nats, nats / _NEVER_SLOWER)
        host = problem.server
        _box(self._server_boxes["batch"], host.min_batch, host.max_batch, point.server.batch)
        _box(self._server_boxes["hz"], host.min_frequency_hz, host.max_frequency_hz, point.server.frequency_hz)


def _box(ends: tuple[Any, Any], low: FloatArray | float, high: FloatArray | float, unit: FloatArray | float) -> None:
    ends[0].value, ends[1].value = low / unit, high / unit
