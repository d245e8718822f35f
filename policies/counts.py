"""How many rounds of each stage, given what a fine-tuning round costs: whole numbers in closed form (theory, 4)."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from prefine.emulator.bound import BoundTerms
from prefine.emulator.types import Budget, FloatArray, Server

_MOST_COUNTS = 20_000


class FinetuneRound(NamedTuple):
    """What one fine-tuning round takes (seconds, joules) and its noise sum_k alpha_k / b_k."""

    delay_s: float
    energy_j: float
    noise: float


class Counts(NamedTuple):
    """Whole rounds N and M, the server's batch, and the bound they give (infinite where not one round fits)."""

    value: float
    pretrain_rounds: int = 0
    finetune_rounds: int = 0
    server_batch: int = 1


class CountingRule(Protocol):
    """Which (N, M) a policy may choose, and how it compares them."""

    def best(
        self, terms: BoundTerms, server: Server, budget: Budget, batches: FloatArray, finetuning: FinetuneRound
    ) -> Counts:
        """The best rounds and server batch (one of ``batches``) within ``budget``."""
        ...

    def neighbours(self, pretraining: int, finetuning: int, server_batch: float) -> list[tuple[int, int, float]]:
        """(N, M, b0) one step away; some may not fit."""
        ...


def most_pretraining(server: Server, batches: FloatArray, left_s: FloatArray, left_j: FloatArray) -> FloatArray:
    """The most server rounds (real) for each of ``batches`` (B, 1) in what is left of both budgets (M,).

    Shape (B, M). N rounds run at f = max(f_min, N b c / left_s), which costs kappa N b c f^2.
    """
    cycles = batches * server.cycles_per_sample
    by_delay = left_s * server.max_frequency_hz / cycles
    by_energy = np.cbrt(left_j * left_s**2 / server.capacitance) / cycles
    if server.min_frequency_hz > 0.0:
        by_energy = np.minimum(by_energy, left_j / (cycles * server.capacitance * server.min_frequency_hz**2))
    result: FloatArray = np.minimum(by_delay, by_energy)
    return result


def _finetune_counts(budget: Budget, finetuning: FinetuneRound, least: int) -> FloatArray:
    """Every M worth looking at, from ``least`` to the most both budgets allow."""
    most = min(budget.delay_s / finetuning.delay_s, budget.energy_j / finetuning.energy_j)
    if most < least:
        return np.empty(0)
    counts = np.arange(least, np.floor(most) + 1.0)
    return counts if len(counts) <= _MOST_COUNTS else np.unique(np.floor(np.linspace(least, most, _MOST_COUNTS)))


def _most_beside(
    counts: FloatArray, server: Server, budget: Budget, batches: FloatArray, finetuning: FinetuneRound
) -> FloatArray:
    """How many whole pre-training rounds (B, M) fit beside each of ``counts`` (M,).

    Where fine-tuning uses a budget up, rounding may leave less than nothing of it.
    """
    left_s = np.maximum(budget.delay_s - counts * finetuning.delay_s, 0.0)
    left_j = np.maximum(budget.energy_j - counts * finetuning.energy_j, 0.0)
    return np.floor(most_pretraining(server, batches, left_s, left_j))


def _pick(value: FloatArray, pretraining: FloatArray, counts: FloatArray, batches: FloatArray) -> Counts:
    """The entry of least ``value`` (B, M)."""
    row, column = np.unravel_index(int(np.argmin(value)), value.shape)
    return Counts(float(value[row, column]), int(pretraining[row, column]), int(counts[column]), int(batches[row, 0]))


def _steps(pretraining: int, finetuning: int, server_batch: float) -> list[tuple[int, int, float]]:
    """One round of either stage more or fewer, one exchanged, and one server sample more or fewer."""
    rounds = [(0, 1), (0, -1)]
    if pretraining:
        rounds += [(1, 0), (-1, 0), (1, -1), (-1, 1)]
    steps = [(pretraining + n, finetuning + m, server_batch) for n, m in rounds]
    return steps + [(pretraining, finetuning, server_batch + step) for step in (1.0, -1.0) if pretraining]


@dataclass(frozen=True)
class MeanOfAllRounds:
    """Any N and M, by Phi. Phi is monotone in N, so N is 0 or all that fits."""

    def best(
        self, terms: BoundTerms, server: Server, budget: Budget, batches: FloatArray, finetuning: FinetuneRound
    ) -> Counts:
        """See `CountingRule`."""
        counts = _finetune_counts(budget, finetuning, 0)
        column = batches[:, np.newaxis]
        most = _most_beside(counts, server, budget, column, finetuning)
        picks = []
        for pretraining in (most, np.zeros_like(most)):
            total = terms.start + pretraining * (terms.shift + terms.server_noise / column) + counts * finetuning.noise
            rounds = pretraining + counts
            value = np.where(rounds > 0.0, total / np.maximum(rounds, 1.0), np.inf)
            picks.append(_pick(value, pretraining, counts, column))
        return min(picks)

    def neighbours(self, pretraining: int, finetuning: int, server_batch: float) -> list[tuple[int, int, float]]:
        """See `CountingRule`."""
        return _steps(pretraining, finetuning, server_batch)


@dataclass(frozen=True)
class MeanOfFinetuning:
    """Any N and at least one M, by Phi_FT. Phi_FT is convex in N, so N is next to its stationary point."""

    def best(
        self, terms: BoundTerms, server: Server, budget: Budget, batches: FloatArray, finetuning: FinetuneRound
    ) -> Counts:
        """See `CountingRule`."""
        counts = _finetune_counts(budget, finetuning, 1)
        if not len(counts):
            return Counts(np.inf)
        column = batches[:, np.newaxis]
        most = _most_beside(counts, server, budget, column, finetuning)
        wanted = np.zeros_like(column)
        pull = terms.contraction * terms.removable
        if pull > 0.0:
            with np.errstate(divide="ignore"):
                wanted = np.maximum(np.log(pull * column / terms.server_noise) / terms.contraction, 0.0)
        picks = []
        for pretraining in (np.minimum(np.floor(wanted), most), np.minimum(np.ceil(wanted), most)):
            left = terms.removable * np.exp(-terms.contraction * pretraining) + terms.floor
            value = (left + pretraining * terms.server_noise / column) / counts + finetuning.noise
            picks.append(_pick(value, pretraining, counts, column))
        return min(picks)

    def neighbours(self, pretraining: int, finetuning: int, server_batch: float) -> list[tuple[int, int, float]]:
        """See `CountingRule`."""
        return _steps(pretraining, finetuning, server_batch)


@dataclass(frozen=True)
class GivenShare:
    """N the nearest integer to ``share`` of all rounds, by Phi."""

    share: float

    def best(
        self, terms: BoundTerms, server: Server, budget: Budget, batches: FloatArray, finetuning: FinetuneRound
    ) -> Counts:
        """See `CountingRule`."""
        column = batches[:, np.newaxis]
        most = self._most_total(server, budget, float(np.min(batches)), finetuning)
        total = np.arange(1.0, most + 1.0) if most <= _MOST_COUNTS else np.floor(np.linspace(1.0, most, _MOST_COUNTS))
        if not len(total):
            return Counts(np.inf)
        pretraining = np.round(self.share * total)
        counts = total - pretraining
        left_s = np.maximum(budget.delay_s - counts * finetuning.delay_s, 0.0)
        left_j = np.maximum(budget.energy_j - counts * finetuning.energy_j, 0.0)
        fits = (pretraining <= most_pretraining(server, column, left_s, left_j)) & (
            (counts * finetuning.delay_s <= budget.delay_s) & (counts * finetuning.energy_j <= budget.energy_j)
        )
        noise = pretraining * (terms.shift + terms.server_noise / column) + counts * finetuning.noise
        value = np.where(fits, (terms.start + noise) / total, np.inf)
        return _pick(value, np.broadcast_to(pretraining, value.shape), counts, column)

    def neighbours(self, pretraining: int, finetuning: int, server_batch: float) -> list[tuple[int, int, float]]:
        """See `CountingRule`: one round more or fewer, one server sample more or fewer."""
        totals = pretraining + finetuning + 1, pretraining + finetuning - 1
        splits = [(round(self.share * total), total - round(self.share * total)) for total in totals]
        same = [(pretraining, finetuning, server_batch + step) for step in (1.0, -1.0) if pretraining]
        return [(n, m, server_batch) for n, m in splits] + same

    def _most_total(self, server: Server, budget: Budget, batch: float, finetuning: FinetuneRound) -> float:
        """No more rounds than this fit, at the least batch."""
        most = np.inf
        if self.share > 0.0:
            whole = most_pretraining(
                server, np.array([[batch]]), np.array([budget.delay_s]), np.array([budget.energy_j])
            )
            most = float(whole[0, 0] + 1.0) / self.share
        if self.share < 1.0:
            finetune = min(budget.delay_s / finetuning.delay_s, budget.energy_j / finetuning.energy_j)
            most = min(most, (finetune + 1.0) / (1.0 - self.share))
        return float(np.floor(most))
