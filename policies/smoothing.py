"""What rehearsals say of plans, and what their neighbours make of it."""

import math
from collections.abc import Sequence

import numpy as np
import scipy

from prefine.emulator.types import FloatArray, Plan

_LENGTHS = np.array([1.0, 2.0, 0.6])
"""How far apart plans must be to be strangers, in doublings of N, b0 and M: larger smooths more, and may smooth a
narrow optimum away."""

_NEAR = 5.0
"""Standard errors of one rotation within which a plan counts as near the best: more let clearly worse ones have a say
in how rough the score is."""

_OWN = 0.1
"""Part of the spread that a plan does not share with its neighbours: more smooths less."""

_OUTLYING = 4.0
"""Scores are cut off so many times the distance from the middle to the best below the middle, that of a diverged plan
too."""

_NO_BATCH = 5.0
"""Where a plan without pre-training stands among the server batches, in doublings: its batch means nothing."""


class Scores:
    """The scores of plans, each with its first seeds: ``runs[i]`` (S_i,), larger is better, S_i >= 2."""

    def __init__(self, runs: Sequence[FloatArray]) -> None:
        runs = _cut(runs)
        self.counts = np.array([len(run) for run in runs])
        most = [run for run in runs if len(run) == self.counts.max()]
        shared: FloatArray = np.mean(most, axis=0)
        apart = [run - shared[: len(run)] for run in runs]
        self.mean: FloatArray = np.array([float(np.mean(each)) for each in apart]) + float(np.mean(shared))
        """(P,) means, with the effect of each seed (the mean of the plans that had it) taken out."""
        squares = sum(float(np.sum((each - np.mean(each)) ** 2)) for each in apart)
        self.deviation = math.sqrt(squares / max(1, int(np.sum(self.counts - 1))))
        """Standard deviation of one rehearsal, all plans together."""
        self.half_width: FloatArray = np.array([_half_width(each) for each in apart])
        """(P,) half-widths of the means' 95 % intervals (Student's t)."""

    def smoothed(self, plans: Sequence[Plan], rotation: int) -> FloatArray:
        """(P,) means of those near the best as a Gaussian process over log N, b0 and M sees them; the others' own.

        ``rotation`` is how many rehearsals are one rotation. Source: Rasmussen and Williams (2006), equation 2.25.
        """
        smoothed = self.mean.copy()
        near = np.flatnonzero(self.mean >= self.mean.max() - _NEAR * self.deviation / math.sqrt(rotation))
        noise = self.deviation**2 / self.counts[near]
        spread = max(float(np.var(self.mean[near])) - float(np.mean(noise)), float(np.min(noise)), 1e-12)
        places = np.array([_place(plans[index]) for index in near.tolist()]) / _LENGTHS
        distance = np.sum((places[:, None] - places[None]) ** 2, axis=-1)
        covariance = spread * ((1.0 - _OWN) * np.exp(-0.5 * distance) + _OWN * np.eye(len(near)))
        centre = float(np.average(self.mean[near], weights=1.0 / (spread + noise)))
        weights = np.linalg.solve(covariance + np.diag(noise), self.mean[near] - centre)
        smoothed[near] = centre + covariance @ weights
        return smoothed


def _cut(runs: Sequence[FloatArray]) -> list[FloatArray]:
    """``runs`` without numbers so low, or none at all, that they would drown the differences between the others."""
    with np.errstate(invalid="ignore", over="ignore"):
        means = np.array([np.mean(run) for run in runs])
    known = means[np.isfinite(means)]
    if not len(known):
        return [np.zeros(len(run)) for run in runs]
    middle, best = float(np.median(known)), float(known.max())
    low = middle - _OUTLYING * max(best - middle, 1e-3 * abs(best), 1e-9)
    return [np.maximum(np.nan_to_num(run, nan=low, posinf=best, neginf=low), low) for run in runs]


def _half_width(values: FloatArray) -> float:
    return float(scipy.special.stdtrit(len(values) - 1, 0.975) * np.std(values, ddof=1) / math.sqrt(len(values)))


def _place(plan: Plan) -> tuple[float, float, float]:
    rounds = plan.pretrain_rounds
    batch = math.log2(plan.server.batch) if rounds else _NO_BATCH
    return math.log2(1.0 + rounds), batch, math.log2(1.0 + plan.finetune_rounds)
