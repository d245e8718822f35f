"""Oort: devices whose data still teach much and that do not hold the round up."""

import math
from dataclasses import dataclass

import numpy as np

from prefine.emulator.physics import compute_time
from prefine.emulator.types import FloatArray, IntArray, Observation
from prefine.policies.feasibility import require_fraction, require_not_negative
from prefine.policies.selection.base import PLACE, Choice, Counted, own_draws, planned_round_s

_MOST = 1e100
"""Largest worth in a draw: a training that diverges reports infinite losses, and the sum has to stay finite."""


@dataclass(frozen=True, kw_only=True)
class Oort(Counted):
    """Draws most of the ``count`` devices by their utility, and some that it does not know yet by their speed.

    Utility of a device that has reported: |B| sqrt(mean of its squared sample losses), plus sqrt(0.1 log R / L) for
    what it may have become since its last round L, times (T / t)^``penalty`` where its last round took t, longer than
    the preferred T = ``preferred_s`` (0: as long as the plan's round). |B| counts its samples in units of the mean
    device's. Utilities are cut at their quantile ``clip``; those above ``cutoff`` times the last that would be taken
    are drawn from, with probabilities in proportion. The part explored begins at ``explore`` and shrinks by
    ``explore_decay`` a round down to ``explore_least``.

    Source: Lai, Zhu, Madhyastha, Chowdhury, "Oort: Efficient Federated Learning via Guided Participant Selection", OSDI
    2021, equation 1 and algorithm 1. Left out: its pacer, which moves T, and its limit on how often one is chosen.
    """

    preferred_s: float = 0.0
    penalty: float = 2.0
    explore: float = 0.9
    explore_decay: float = 0.98
    explore_least: float = 0.2
    cutoff: float = 0.95
    clip: float = 0.95

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("explore", "explore_decay", "explore_least", "cutoff", "clip"):
            require_fraction(PLACE, name, getattr(self, name))
        require_not_negative(PLACE, "preferred_s", self.preferred_s)
        require_not_negative(PLACE, "penalty", self.penalty)

    def choose(self, observation: Observation, candidates: IntArray) -> Choice:
        """See `Selection`."""
        draws, count = own_draws(observation), min(self.count, len(candidates))
        known = candidates[~np.isnan(observation.facts.rms_loss[candidates])]
        unknown = np.setdiff1d(candidates, known, assume_unique=True)
        part = max(self.explore * self.explore_decay**observation.finetune_rounds_done, self.explore_least)
        exploring = min(max(round(part * count), count - len(known)), len(unknown))
        exploited = self._exploited(observation, known, count - exploring, draws)
        explored = _drawn(draws, unknown, _speed(observation, unknown), exploring)
        return Choice(np.sort(np.concatenate([exploited, explored])))

    def _exploited(self, observation: Observation, known: IntArray, count: int, draws: np.random.Generator) -> IntArray:
        """``count`` of the ``known``, drawn by utility among those near or above the last that would be taken."""
        if not count:
            return known[:0]
        utility = self.utility(observation)[known]
        least = self.cutoff * np.sort(utility)[-count]
        return _drawn(draws, known[utility >= least], utility[utility >= least], count)

    def utility(self, observation: Observation) -> FloatArray:
        """Of each device, (K,); NaN where it has not reported."""
        facts, weight = observation.facts, observation.problem.devices.weight
        learnt = len(weight) * weight * facts.rms_loss
        if np.all(np.isnan(learnt)):
            return learnt
        learnt = np.minimum(learnt, np.nanquantile(learnt, self.clip))
        number = observation.finetune_rounds_done + 1
        unsure = np.sqrt(0.1 * math.log(number) / np.maximum(facts.last_round, 1.0))
        preferred_s = self.preferred_s or planned_round_s(observation)
        slow = np.minimum(1.0, preferred_s / facts.duration_s) ** self.penalty
        result: FloatArray = (learnt + unsure) * slow
        return result


def _drawn(draws: np.random.Generator, of: IntArray, worth: FloatArray, count: int) -> IntArray:
    """``count`` of the devices ``of``, without replacement, with probabilities in proportion to ``worth``."""
    if count == 0:
        return of[:0]
    worth = np.clip(worth, np.finfo(np.float64).tiny, _MOST)
    drawn: IntArray = draws.choice(of, count, replace=False, p=worth / worth.sum())
    return drawn


def _speed(observation: Observation, of: IntArray) -> FloatArray:
    """Rounds a second that each of the devices ``of`` would do by itself, as planned."""
    plan, cycles = observation.plan.devices, observation.problem.devices.cycles_per_sample[of]
    own_s = compute_time(plan.batch[of], cycles, plan.frequency_hz[of]) + plan.upload_s[of]
    speed: FloatArray = 1.0 / own_s
    return speed
