"""Whole rounds beside a given fine-tuning round: what the objectives share (docs/theory.md, section 4).

Arrays of shape (B, M): one row for each of B server batches, one column for each M looked at.
"""

from typing import NamedTuple

import numpy as np

from prefine.emulator.bound import RoundCost, most_server_rounds
from prefine.emulator.types import Budget, FloatArray, Server

MOST_COUNTS = 20_000
"""Numbers of rounds looked at: all up to here, beyond it evenly spaced ones.

Larger costs time and memory in proportion; smaller misses the best number by up to 1 part in MOST_COUNTS.
"""


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


def finetune_counts(budget: Budget, cost: RoundCost, least: int) -> FloatArray:
    """Every M worth looking at, from ``least`` to the most both budgets allow; shape (M,), maybe empty."""
    most = cost.affordable(budget)
    if most < least:
        return np.empty(0)
    counts = np.arange(least, np.floor(most) + 1.0)
    return counts if len(counts) <= MOST_COUNTS else np.unique(np.floor(np.linspace(least, most, MOST_COUNTS)))


def real_rounds_beside(
    counts: FloatArray, server: Server, budget: Budget, batches: FloatArray, cost: RoundCost
) -> FloatArray:
    """How many pre-training rounds (B, M), real, fit beside ``counts`` (M,) fine-tuning rounds, ``batches`` (B, 1).

    Where fine-tuning uses a budget up, rounding may leave less than nothing of it: that counts as nothing.
    """
    left_s = np.maximum(budget.delay_s - counts * cost.delay_s, 0.0)
    left_j = np.maximum(budget.energy_j - counts * cost.energy_j, 0.0)
    return most_server_rounds(server, batches, left_s, left_j)


def pick(value: FloatArray, pretraining: FloatArray, counts: FloatArray, batches: FloatArray) -> Counts:
    """The entry of least ``value`` (B, M) with its N (B, M), M (M,) and batch (B, 1)."""
    row, column = np.unravel_index(int(np.argmin(value)), value.shape)
    return Counts(float(value[row, column]), int(pretraining[row, column]), int(counts[column]), int(batches[row, 0]))


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
