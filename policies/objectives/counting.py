"""Whole rounds beside a given fine-tuning round: what the objectives share (docs/theory.md, section 4).

Arrays of shape (B, M): one row for each of B server batches, one column for each M looked at.
"""

from typing import NamedTuple

import numpy as np

from prefine.emulator.bound import BoundTerms, RoundCost, most_server_rounds
from prefine.emulator.types import Budget, FloatArray, Server

MOST_COUNTS = 20_000
"""Numbers of rounds looked at: all up to here, beyond it evenly spaced ones.

Larger costs time and memory in proportion; smaller misses the best number by up to 1 part in MOST_COUNTS.
"""
MOST_ROOTS = 1_000_000
"""Server batches looked at where no fine-tuning competes: traded as `MOST_COUNTS`."""

_BENT_STEPS = 8
"""Newton steps for the N of least Phi, from a start near it: 6 reach the last digits, and whole N need three."""

_FLATTEST = 1e-9
"""Least slope that Newton's method divides by, where the root is double: N = 0, and M = 0."""


class FinetuneRound(NamedTuple):
    """What one fine-tuning round costs and its noise sum_k alpha_k / b_k."""

    cost: RoundCost
    noise: float


class Counts(NamedTuple):
    """Whole rounds N and M, the server's batch, and the objective they give (infinite where not one round fits)."""

    value: float
    pretrain_rounds: int = 0
    finetune_rounds: int = 0
    server_batch: int = 1


def finetune_counts(budget: Budget, cost: RoundCost) -> FloatArray:
    """Every M worth looking at, from none to the most both budgets allow; shape (M,)."""
    most = cost.affordable(budget)
    if np.floor(most) < MOST_COUNTS:
        return np.arange(np.floor(most) + 1.0)
    return np.unique(np.floor(np.linspace(0.0, most, MOST_COUNTS)))


def real_rounds_beside(
    counts: FloatArray, server: Server, budget: Budget, batches: FloatArray, cost: RoundCost
) -> FloatArray:
    """How many pre-training rounds (B, M), real, fit beside ``counts`` (M,) fine-tuning rounds, ``batches`` (B, 1).

    Where fine-tuning uses a budget up, rounding may leave less than nothing of it: that counts as nothing.
    """
    left_s = np.maximum(budget.delay_s - counts * cost.delay_s, 0.0)
    left_j = np.maximum(budget.energy_j - counts * cost.energy_j, 0.0)
    return most_server_rounds(server, batches, left_s, left_j)


def bent_rounds(terms: BoundTerms, counts: FloatArray, batches: FloatArray, noise: float) -> FloatArray:
    """The real N >= 0 of least Phi beside ``counts`` (M,) rounds of ``noise``, with ``batches`` (B, 1); shape (B, M).

    For a shift that bends (`BoundTerms.bends`). Phi falls, then rises in N; the slope vanishes where, with x = r N,
    exp(-x) (1 + r M + x) = [c - A + M (Delta^2 + alpha0 / b0 - noise)] / c. Newton's method in logarithms, from above.
    Infinite where Phi falls for good.
    """
    rate, relief = terms.relief_rate, terms.relief
    wanted = (relief - terms.start + counts * (terms.shift + terms.server_noise / batches - noise)) / relief
    first = 1.0 + rate * counts
    inside = (wanted > 0.0) & (wanted < first)
    below = np.log(first / np.where(inside, wanted, first))
    x = below + np.sqrt(2.0 * below)
    for _ in range(_BENT_STEPS):
        error = x - np.log1p(x / first) - below
        x = np.maximum(x - error / np.maximum(1.0 - 1.0 / (first + x), _FLATTEST), 0.0)
    return np.where(inside, x / rate, np.where(wanted <= 0.0, np.inf, 0.0))


def enumerable(server: Server, budget: Budget) -> bool:
    """Whether `best_alone` is exact: not where more than `MOST_ROOTS` squared samples fit."""
    return _most_samples(server, budget) <= float(MOST_ROOTS) ** 2


def _most_samples(server: Server, budget: Budget) -> float:
    """The most samples (real) that the server can work on within ``budget``."""
    one, delay_s, energy_j = (np.array([value]) for value in (1.0, budget.delay_s, budget.energy_j))
    return most_server_rounds(server, one, delay_s, energy_j).item()


def best_alone(terms: BoundTerms, server: Server, budget: Budget, most_rounds: float = np.inf) -> Counts:
    """The whole N <= ``most_rounds`` and b0 of least Phi without fine-tuning, exactly (docs/theory.md, section 4).

    N rounds of b0 samples fit where N b0 samples do, so every b0 is tried with its best N; where these are too many,
    every b0 up to the root of all samples that fit, and for every N up to there the largest b0 (see `enumerable`).
    """
    samples = _most_samples(server, budget)
    least, most = np.ceil(server.min_batch), min(np.floor(server.max_batch), np.floor(samples))
    if most < least:
        return Counts(np.inf)
    if most - least < MOST_COUNTS:
        batches = np.arange(least, most + 1.0)
    else:
        root = np.floor(np.sqrt(samples))
        small = (
            np.arange(1.0, root + 1.0) if root <= MOST_ROOTS else np.unique(np.geomspace(1.0, root, MOST_ROOTS) // 1.0)
        )
        batches = np.unique(np.clip(np.concatenate([small, np.floor(samples / small)]), least, most))
    column = batches[:, np.newaxis]
    fits = np.minimum(np.floor(samples / column), most_rounds)
    tried = [fits]
    if terms.bends:
        wanted = bent_rounds(terms, np.zeros(1), column, 0.0)
        tried += [np.clip(rounding(wanted), 1.0, fits) for rounding in (np.floor, np.ceil)]
    return min(pick(terms.bound(rounds, 0.0, column, 0.0), rounds, np.zeros(1), column) for rounds in tried)


def pick(value: FloatArray, pretraining: FloatArray, counts: FloatArray, batches: FloatArray) -> Counts:
    """The entry of least ``value`` (B, M) with its N (B, M), M (M,) and batch (B, 1)."""
    row, column = np.unravel_index(int(np.argmin(value)), value.shape)
    return Counts(
        float(value[row, column]), int(pretraining[row, column]), int(counts[column]), int(batches[row].item())
    )


def steps(pretrain_rounds: int, finetune_rounds: int, server_batch: float) -> list[tuple[int, int, float]]:
    """One round of either stage more or fewer, one exchanged, and one server sample more or fewer."""
    rounds = [(0, 1), (0, -1)]
    if pretrain_rounds:
        rounds += [(1, 0), (-1, 0), (1, -1), (-1, 1)]
    moved = [(pretrain_rounds + n, finetune_rounds + m, server_batch) for n, m in rounds]
    return moved + server_steps(pretrain_rounds, finetune_rounds, server_batch)


def server_steps(pretrain_rounds: int, finetune_rounds: int, server_batch: float) -> list[tuple[int, int, float]]:
    """One server sample more or fewer, where the server has rounds at all."""
    return [(pretrain_rounds, finetune_rounds, server_batch + step) for step in (1.0, -1.0) if pretrain_rounds]
