"""What a plan promises: delay and energy on the planner's gains, and both bounds (docs/theory.md, sections 1 to 3).

The planner and the clock share these and `prefine.emulator.physics`, so on a static channel they cannot disagree.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from prefine.emulator.physics import compute_energy, compute_time, upload_time
from prefine.emulator.types import Devices, DevicesPlan, FloatArray, Problem, Radio, Server, ServerPlan


class RoundCost(NamedTuple):
    """Delay in seconds and energy in joules of one round of a stage."""

    delay_s: float
    energy_j: float


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
        ...

    @property
    def finetune_rounds(self) -> float:
        """M."""
        ...

    @property
    def server(self) -> ServerPlan:
        """Of every pre-training round."""
        ...

    @property
    def devices(self) -> DevicesPlan:
        """Of every fine-tuning round."""
        ...


@dataclass(frozen=True)
class BoundTerms:
    """Coefficients of both bounds (docs/theory.md, sections 2 and 3c).

    ``start`` is A = 2 (F(w0) - F*) / eta, ``server_noise`` alpha0 = L eta sigma0^2, ``device_noise`` (K,)
    alpha_k = L eta rho_k^2 sigma_k^2, ``shift`` Delta^2. ``contraction`` (a), ``removable`` (B) and ``floor`` (C)
    belong to Phi_FT and are NaN where the problem lacks its constants.
    """

    start: float
    shift: float
    server_noise: float
    device_noise: FloatArray
    contraction: float
    removable: float
    floor: float

    @staticmethod
    def of(problem: Problem) -> "BoundTerms":
        """The coefficients of ``problem``."""
        learning = problem.learning
        noise = learning.smoothness * learning.learning_rate
        twice_per_step = 2.0 / learning.learning_rate
        contraction = math.nan if learning.pretrain_contraction is None else learning.pretrain_contraction
        gap_floor = math.nan if learning.pretrain_floor is None else learning.pretrain_floor
        return BoundTerms(
            start=twice_per_step * learning.initial_gap,
            shift=learning.discrepancy,
            server_noise=noise * problem.server.gradient_variance,
            device_noise=noise * problem.devices.weight**2 * problem.devices.gradient_variance,
            contraction=contraction,
            removable=twice_per_step * (learning.initial_gap - gap_floor),
            floor=twice_per_step * gap_floor,
        )

    def bound(self, pretrain_rounds: float, finetune_rounds: float, server_batch: float, batch: FloatArray) -> float:
        """Phi: bounds the mean of E||grad F||^2 over all N + M rounds (infinite without any round)."""
        rounds = pretrain_rounds + finetune_rounds
        if rounds <= 0.0:
            return math.inf
        pretraining = pretrain_rounds * (self.shift + self.server_noise / server_batch)
        finetuning = finetune_rounds * float(np.sum(self.device_noise / batch))
        return (self.start + pretraining + finetuning) / rounds

    def bound_ft(self, pretrain_rounds: float, finetune_rounds: float, server_batch: float, batch: FloatArray) -> float:
        """Phi_FT: predicts the mean of E||grad F||^2 over the M fine-tuning rounds.

        A fitted predictor, not a proven bound. Infinite at M = 0.
        """
        if finetune_rounds <= 0.0:
            return math.nan if math.isnan(self.removable) else math.inf
        remaining = self.removable * math.exp(-self.contraction * pretrain_rounds) + self.floor
        pretraining = pretrain_rounds * self.server_noise / server_batch
        return (remaining + pretraining) / finetune_rounds + float(np.sum(self.device_noise / batch))


def server_round(server: Server, plan: ServerPlan) -> RoundCost:
    """One pre-training round: b0 c0 / f0 seconds, kappa0 c0 b0 f0^2 joules."""
    return RoundCost(
        compute_time(plan.batch, server.cycles_per_sample, plan.frequency_hz),
        compute_energy(plan.batch, server.cycles_per_sample, plan.frequency_hz, server.capacitance),
    )


def device_round(devices: Devices, radio: Radio, plan: DevicesPlan) -> RoundCost:
    """One synchronous fine-tuning round: broadcast, then everyone computes and uploads, and the slowest decides."""
    upload_s = upload_time(radio.uplink_bits, devices.bandwidth_hz, plan.power_w, devices.gain, radio.noise_psd_w_hz)
    compute_s = compute_time(plan.batch, devices.cycles_per_sample, plan.frequency_hz)
    compute_j = compute_energy(plan.batch, devices.cycles_per_sample, plan.frequency_hz, devices.capacitance)
    return RoundCost(
        radio.downlink_delay_s + float(np.max(compute_s + upload_s)),
        radio.downlink_energy_j + float(np.sum(compute_j)) + float(np.sum(plan.power_w * upload_s)),
    )


def predict(problem: Problem, plan: Planned) -> Prediction:
    """Delay, energy and both bounds of ``plan`` on the gains of ``problem``."""
    pretraining = server_round(problem.server, plan.server)
    finetuning = device_round(problem.devices, problem.radio, plan.devices) if plan.finetune_rounds else _NO_ROUND
    terms = BoundTerms.of(problem)
    design = (plan.pretrain_rounds, plan.finetune_rounds, plan.server.batch, plan.devices.batch)
    return Prediction(
        plan.pretrain_rounds * pretraining.delay_s + plan.finetune_rounds * finetuning.delay_s,
        plan.pretrain_rounds * pretraining.energy_j + plan.finetune_rounds * finetuning.energy_j,
        terms.bound(*design),
        terms.bound_ft(*design),
    )


_NO_ROUND = RoundCost(0.0, 0.0)
