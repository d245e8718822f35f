"""Devices drawn by what their data are worth against what they cost, and weighted so that nobody's are favoured."""

from dataclasses import dataclass, replace

import numpy as np

from prefine.emulator.access import sending_s
from prefine.emulator.physics import compute_energy, compute_time
from prefine.emulator.types import FloatArray, IntArray, Observation
from prefine.policies.feasibility import require_flag
from prefine.policies.selection.base import PLACE, Choice, Counted, own_draws

_LEAST = 1e-3
"""Of a probability, before the sum is made right: a device that is never asked cannot be weighted for."""


@dataclass(frozen=True, kw_only=True)
class Priced(Counted):
    """``count`` devices, device k with the probability p_k that makes the noise of drawing least for what it costs.

    That is the least sum of rho_k^2 g_k^2 / p_k at a price on the sum of p_k c_k: p_k in proportion to rho_k g_k /
    sqrt(c_k), at most 1. rho_k is the share of the task loss; g_k stands for the norm of its gradient: the root mean
    square of its last reported losses (of those that have not reported, the mean of the others). c_k is what its round
    as planned, on the gain just seen, takes of what is left of both budgets, added up. With ``unbiased`` an update's
    weight is rho_k / p_k, so that the mean step is that of all candidates.

    Source: Chen, Horvath, Richtarik, "Optimal Client Sampling for Federated Learning", TMLR 2022, for p_k without
    costs; Luo et al., INFOCOM 2022, for their square root; Madow (1949) for drawing a fixed number with given p_k.
    """

    unbiased: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        require_flag(PLACE, "unbiased", self.unbiased)

    def choose(self, observation: Observation, candidates: IntArray) -> Choice:
        """See `Selection`."""
        share = observation.problem.devices.weight[candidates]
        worth = share * _learning(observation.facts.rms_loss[candidates]) / np.sqrt(_cost(observation, candidates))
        probability = filled(worth, min(self.count, len(candidates)))
        at = systematic(probability, float(own_draws(observation).random()))
        return Choice(candidates[at], share[at] / probability[at] if self.unbiased else None)


def filled(worth: FloatArray, count: int) -> FloatArray:
    """Probabilities (n,) in proportion to ``worth`` (n,), positive, at most 1, that sum to ``count`` <= n."""
    worth = np.maximum(worth / worth.max(), _LEAST)
    certain = np.zeros(len(worth), dtype=bool)
    while True:
        free = count - int(certain.sum())
        scaled = np.where(certain, 1.0, worth * free / max(float(worth[~certain].sum()), np.finfo(float).tiny))
        if not np.any(above := (scaled > 1.0) & ~certain):
            return np.minimum(1.0, scaled)
        certain |= above


def systematic(probability: FloatArray, start: float) -> IntArray:
    """Who is drawn, in rising order, where ``start`` is uniform in [0, 1): as many as ``probability`` (n,) sums to.

    Laid end to end, the probabilities cover a line; drawn is whose stretch holds start, start + 1, ... Each device is
    drawn with its own probability.
    """
    ends = np.cumsum(probability)
    count = round(float(ends[-1]))
    ends[-1] = count  # to the last digit
    return np.searchsorted(ends, start + np.arange(count), side="right").astype(np.int64)


def _learning(rms_loss: FloatArray) -> FloatArray:
    """``rms_loss`` (n,) with the mean of the known for what is unknown or infinite, 1 where nothing is known."""
    known = np.isfinite(rms_loss)
    usual = float(rms_loss[known].mean()) if known.any() else 1.0
    result: FloatArray = np.maximum(np.where(known, rms_loss, usual), np.finfo(float).tiny)
    return result


def _cost(observation: Observation, of: IntArray) -> FloatArray:
    """What each planned round of the devices ``of`` (n,) takes of what is left: shares of both budgets, added up."""
    plan, problem, left = observation.plan.devices.at(of), observation.problem, observation.remaining
    devices = replace(problem.devices.at(of), gain=observation.gain[of])
    send_s = sending_s(devices, problem.radio, plan.power_w, plan.bandwidth_hz)
    own_s = compute_time(plan.batch, devices.cycles_per_sample, plan.frequency_hz) + send_s
    own_j = compute_energy(plan.batch, devices.cycles_per_sample, plan.frequency_hz, devices.capacitance)
    own_j = own_j + plan.power_w * send_s
    tiny = np.finfo(float).tiny
    return np.clip(own_s / max(left.delay_s, tiny) + own_j / max(left.energy_j, tiny), 1e-12, 1e12)
