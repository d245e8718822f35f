"""What a plan promises: delay and energy on the planner's gains, and both bounds (docs/theory.md, sections 1 to 3).

The only place where Phi and Phi_FT are written: the relaxed optimum, the counting of whole rounds, the rounding and
`predict` all call `BoundTerms`. Planner and clock share this module and `prefine.emulator.physics`, so on a static
channel they cannot disagree.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from prefine.emulator.access import planned_end_s, uploads
from prefine.emulator.physics import Mixed, Number, compute_energy, compute_time
from prefine.emulator.types import Budget, Devices, DevicesPlan, FloatArray, Problem, Radio, Server, ServerPlan

Curvature = TypeVar("Curvature", float, FloatArray)


class RoundCost(NamedTuple):
    """Delay in seconds and energy in joules of one round of a stage."""

    delay_s: float
    energy_j: float

    def affordable(self, budget: Budget) -> float:
        """How many such rounds (real) the tighter budget allows."""
        return min(budget.delay_s / self.delay_s, budget.energy_j / self.energy_j)


class Prediction(NamedTuple):
    """What a plan promises. ``bound_ft`` is NaN without its fitted constants and infinite without fine-tuning."""

    delay_s: float
    energy_j: float
    bound: float
    bound_ft: float


class Planned(Protocol):
    """What a plan and a relaxed optimum have in common."""

    @property
    def pretrain_rounds(self) -> float:
        """N."""

    @property
    def finetune_rounds(self) -> float:
        """M."""

    @property
    def server(self) -> ServerPlan:
        """Of every pre-training round."""

    @property
    def devices(self) -> DevicesPlan:
        """Of every fine-tuning round."""


@dataclass(frozen=True)
class BoundTerms:
    """Coefficients of both bounds (docs/theory.md, sections 2, 3c and 3d).

    ``start`` is A = 2 (F(w0) - F*) / eta, ``server_noise`` alpha0 = L_n0 eta sigma0^2, ``device_noise`` (K,)
    alpha_k = L_nk eta rho_k^2 sigma_k^2 (L_n is L unless measured). ``shift`` Delta^2, ``relief`` (c) and
    ``relief_rate`` (r) make D(N). ``contraction`` (a), ``removable`` (B), ``floor`` (C) belong to Phi_FT and are NaN
    where the problem lacks them; ``settled_noise`` is its nu = 2 v / eta, None where noise adds up without end.
    """

    start: float
    shift: float
    server_noise: float
    device_noise: FloatArray
    contraction: float
    removable: float
    floor: float
    relief: float = 0.0
    relief_rate: float = 0.0
    settled_noise: float | None = None

    @staticmethod
    def of(problem: Problem) -> "BoundTerms":
        """The coefficients of ``problem``; NaN for those of Phi_FT where the problem lacks its constants."""
        learning, server, devices = problem.learning, problem.server, problem.devices
        server_noise = _curvature(server.noise_curvature, learning.smoothness) * learning.learning_rate
        device_noise = _curvature(devices.noise_curvature, learning.smoothness) * learning.learning_rate
        twice_per_step = 2.0 / learning.learning_rate
        contraction = math.nan if learning.pretrain_contraction is None else learning.pretrain_contraction
        gap_floor = math.nan if learning.pretrain_floor is None else learning.pretrain_floor
        return BoundTerms(
            start=twice_per_step * learning.initial_gap,
            shift=learning.discrepancy,
            server_noise=server_noise * server.gradient_variance,
            device_noise=device_noise * devices.weight**2 * devices.gradient_variance,
            contraction=contraction,
            removable=twice_per_step * (learning.initial_gap - gap_floor),
            floor=twice_per_step * gap_floor,
            relief=learning.discrepancy_relief,
            relief_rate=learning.discrepancy_rate,
            settled_noise=None if learning.pretrain_noise is None else twice_per_step * learning.pretrain_noise,
        )

    @property
    def bends(self) -> bool:
        """Whether the shift summed over the rounds is more than a straight line (docs/theory.md, section 3d)."""
        return self.relief * self.relief_rate > 0.0

    def total_shift(self, pretrain_rounds: Number) -> Number:
        """D(N) = Delta^2 N - c (1 - exp(-r N)): the shift summed over N pre-training rounds."""
        return pretrain_rounds * self.shift + self._relieved(pretrain_rounds)  # type: ignore[no-any-return]  # as below

    def _relieved(self, pretrain_rounds: Number) -> Any:
        return self.relief * np.expm1(-self.relief_rate * pretrain_rounds) if self.bends else 0.0

    def round_noise(self, batch: FloatArray) -> FloatArray | float:
        """Noise of a fine-tuning round, sum_k alpha_k / b_k, of ``batch`` (..., K) in samples; shape (...)."""
        noise: FloatArray | float = np.sum(self.device_noise / batch, axis=-1)
        return noise

    def pretrained(self, pretrain_rounds: Number, server_batch: Mixed) -> Number:
        """Phi's numerator after N pre-training rounds: A + D(N) + N alpha0 / b0."""
        result: Any = self.start + pretrain_rounds * (self.shift + self.server_noise / server_batch)
        return result + self._relieved(pretrain_rounds)  # type: ignore[no-any-return]  # NumPy's scalars are floats, its types do not say so

    def pretrained_ft(self, pretrain_rounds: Number, server_batch: Mixed) -> Number:
        """Phi_FT's numerator after N rounds: B exp(-a N) + C + (nu / b0) (1 - exp(-a N)); else + N alpha0 / b0."""
        result: Any = self.remaining(pretrain_rounds)
        if self.settled_noise is None:
            result = result + pretrain_rounds * self.server_noise / server_batch
        else:
            result = result - self.settled_noise / server_batch * np.expm1(-self.contraction * pretrain_rounds)
        return result  # type: ignore[no-any-return]  # as above

    def remaining(self, pretrain_rounds: Number) -> Number:
        """What N noiseless pre-training rounds leave of the gap, in units of Phi_FT's numerator: B exp(-a N) + C."""
        result: Any = self.removable * np.exp(-self.contraction * pretrain_rounds) + self.floor
        return result  # type: ignore[no-any-return]  # as above

    def bound(self, pretrain_rounds: Number, finetune_rounds: Mixed, server_batch: Mixed, noise: Mixed) -> Number:
        """Phi: bounds the mean of E||grad F||^2 over all N + M rounds (docs/theory.md, section 2).

        (A + D(N) + N alpha0 / b0 + M ``noise``) / (N + M) with ``noise`` from `round_noise`; infinite without
        any round. Elementwise: arguments broadcast.
        """
        total: Any = self.pretrained(pretrain_rounds, server_batch) + finetune_rounds * noise
        return _per_round(total, pretrain_rounds + finetune_rounds)  # type: ignore[no-any-return]  # as above

    def bound_ft(self, pretrain_rounds: Number, finetune_rounds: Mixed, server_batch: Mixed, noise: Mixed) -> Number:
        """Phi_FT: predicts the mean of E||grad F||^2 over the M fine-tuning rounds (docs/theory.md, section 3c).

        `pretrained_ft` / M + ``noise`` with ``noise`` from `round_noise`. A fitted predictor, not a proven bound.
        Infinite at M = 0, NaN without its constants. Elementwise: arguments broadcast.
        """
        paid: Any = _per_round(self.pretrained_ft(pretrain_rounds, server_batch), finetune_rounds)
        return paid + noise  # type: ignore[no-any-return]  # as above

    def best_pretraining(self, price: Number, settled: float = 0.0) -> Number:
        """The real N >= 0 that minimises (B - ``settled``) exp(-a N) + N ``price``, in closed form.

        ``price`` (>= 0) is what a pre-training round adds to Phi_FT's numerator, elementwise; ``settled`` is nu / b0.
        Infinite where a round is free and helps, zero where pre-training does not help (B <= ``settled``).
        """
        pull = self.contraction * (self.removable - settled)
        if not pull > 0.0:
            return price * 0.0
        with np.errstate(divide="ignore"):
            result: Any = np.maximum(np.log(pull / price) / self.contraction, 0.0)
        return result  # type: ignore[no-any-return]  # as above


def _curvature(measured: Curvature | None, smoothness: float) -> Curvature | float:
    """The curvature that noise meets: what was measured, else the largest there is."""
    return smoothness if measured is None else measured


def _per_round(total: Any, rounds: Any) -> Any:
    """``total`` (> 0) over ``rounds`` (>= 0); infinite where there are none."""
    if isinstance(total, float) and isinstance(rounds, float | int):
        return total / rounds if rounds else math.inf
    with np.errstate(divide="ignore"):
        return np.divide(total, rounds)


def server_round(server: Server, plan: ServerPlan) -> RoundCost:
    """One pre-training round: b0 c0 / f0 seconds, kappa0 c0 b0 f0^2 joules."""
    return RoundCost(
        compute_time(plan.batch, server.cycles_per_sample, plan.frequency_hz),
        compute_energy(plan.batch, server.cycles_per_sample, plan.frequency_hz, server.capacitance),
    )


def frugal_frequency(server: Server, samples: float, within_s: float) -> float:
    """The lowest frequency in Hz, not below the server's least, that computes ``samples`` in ``within_s`` seconds.

    May exceed the server's maximum: then nothing does; infinite where no time is left. The least energy, since energy
    rises with frequency.
    """
    if within_s <= 0.0:
        return math.inf
    return max(server.min_frequency_hz, samples * server.cycles_per_sample / within_s)


def most_server_rounds(server: Server, batch: FloatArray, left_s: FloatArray, left_j: FloatArray) -> FloatArray:
    """The most pre-training rounds (real) with ``batch`` samples in ``left_s`` seconds and ``left_j`` joules.

    Elementwise: arguments broadcast. N rounds run at f = max(f_min, N b c / left_s), which costs kappa N b c f^2
    (docs/theory.md, section 4).
    """
    cycles = batch * server.cycles_per_sample
    by_delay = left_s * server.max_frequency_hz / cycles
    by_energy = np.cbrt(left_j * left_s**2 / server.capacitance) / cycles
    if server.min_frequency_hz > 0.0:
        slowest_j = compute_energy(batch, server.cycles_per_sample, server.min_frequency_hz, server.capacitance)
        by_energy = np.minimum(by_energy, left_j / slowest_j)
    result: FloatArray = np.minimum(by_delay, by_energy)
    return result


def device_round(devices: Devices, radio: Radio, plan: DevicesPlan) -> RoundCost:
    """One synchronous fine-tuning round: broadcast, then everyone computes and uploads, and the last one decides.

    Exactly what the clock does on constant gains, whatever the access (`prefine.emulator.access`).
    """
    end_s, upload_s = uploads(devices, radio, plan, _compute_s(devices, plan))
    return _round(devices, radio, plan, end_s, upload_s)


def planned_round(devices: Devices, radio: Radio, plan: DevicesPlan) -> RoundCost:
    """The same as designs reckon with it: never less than `device_round`, and equal to it under FDMA (docs/access.md).

    ``plan.upload_s`` is believed.
    """
    return _round(devices, radio, plan, planned_end_s(radio, _compute_s(devices, plan), plan.upload_s), plan.upload_s)


def _compute_s(devices: Devices, plan: DevicesPlan) -> FloatArray:
    return compute_time(plan.batch, devices.cycles_per_sample, plan.frequency_hz)


def _round(devices: Devices, radio: Radio, plan: DevicesPlan, end_s: float, upload_s: FloatArray) -> RoundCost:
    compute_j = compute_energy(plan.batch, devices.cycles_per_sample, plan.frequency_hz, devices.capacitance)
    return RoundCost(
        radio.downlink_delay_s + end_s,
        radio.downlink_energy_j + float(np.sum(compute_j)) + float(np.sum(plan.power_w * upload_s)),
    )


def mean_round(share: float, pretraining: RoundCost, finetuning: RoundCost) -> RoundCost:
    """The mean cost of a round where ``share`` of all are pre-training; at share 1 ``finetuning`` may be infinite."""
    if share == 1.0:
        return pretraining
    return RoundCost(
        share * pretraining.delay_s + (1.0 - share) * finetuning.delay_s,
        share * pretraining.energy_j + (1.0 - share) * finetuning.energy_j,
    )


def predict(
    problem: Problem, plan: Planned, finetuning_round: Callable[[Devices, Radio, DevicesPlan], RoundCost] = device_round
) -> Prediction:
    """Delay, energy and both bounds of ``plan`` on the gains of ``problem``."""
    pretraining = server_round(problem.server, plan.server)
    finetuning = NO_ROUND
    if plan.finetune_rounds:
        finetuning = finetuning_round(problem.devices, problem.radio, plan.devices)
    terms, as_trained = BoundTerms.of(problem), BoundTerms.of(problem.as_trained)
    rounds = (plan.pretrain_rounds, plan.finetune_rounds, plan.server.batch)
    return Prediction(
        plan.pretrain_rounds * pretraining.delay_s + plan.finetune_rounds * finetuning.delay_s,
        plan.pretrain_rounds * pretraining.energy_j + plan.finetune_rounds * finetuning.energy_j,
        float(terms.bound(*rounds, terms.round_noise(plan.devices.batch))),
        float(as_trained.bound_ft(*rounds, as_trained.round_noise(plan.devices.batch))),
    )


NO_ROUND = RoundCost(0.0, 0.0)
