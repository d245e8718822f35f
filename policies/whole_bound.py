"""A lower bound that no design with whole N, M and batches can beat (docs/theory.md, section 4).

For any prices, numerator >= its part without costs - (mu T + lambda E) + N h0(b0) + M h1, where h0 is the price of a
server round and h1 that of a fine-tuning round with whole batches. Every (N, M, b0) takes the best of many prices; the
least of these is the bound. Designs without fine-tuning are enumerated.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prefine.emulator.types import Budget, FloatArray, Plan, Relaxed
from prefine.policies.dual import EDGE, Start
from prefine.policies.objectives.base import Objective, Prices
from prefine.policies.objectives.counting import enumerable
from prefine.policies.subproblems import Stages
from prefine.policies.whole_round import WholeRounds

MOST_DEVICES = 100
"""Above so many devices there is no such bound: the table of least energies grows with them."""

_EFFORT = 12_000_000
"""Evaluations of (N, M, b0) at one price, at most: more make the bound tighter, in proportion to the time."""

_MOST_CASES = 1_000_000
"""Cases (N, M) or (N, M, b0) held at a time; with more of them, a looser bound for all together is kept."""

_MOST_ROUNDS = 100_000
"""N looked at one by one; those beyond are bounded together."""

_LOG_ODDS = (0.0, 0.1, -0.1, 0.2, -0.2, 0.3, -0.3, 0.4, -0.4, 0.5, -0.5, 0.6, -0.6)
_SCALES = (1.0, 0.8, 1.2, 0.9, 1.1, 0.95, 1.05, 0.7, 0.98, 1.02)
"""Prices tried, as steps and factors from the relaxed ones: more make the bound tighter, in proportion to the time."""

_SINGLE = 64
_RATIO = 1.015
"""Server batches up to the first are priced one by one, larger ones in groups of this ratio: wider ones are looser."""

_ROUNDING = 1e-9
"""The least energies are exact to about 1e-12; this much is left off the bound, and the budgets are this much more."""


@dataclass(frozen=True)
class _Batches:
    """Server batches in groups (B,): the fewest samples of each group, and the noises of its largest batch.

    ``noise`` is what a round adds, ``settled`` what the server's noise settles at; one of them is 0.
    """

    samples: FloatArray
    noise: FloatArray
    settled: FloatArray


@dataclass(frozen=True)
class _Priced:
    """What stages cost at some prices: h0 of each group of batches without shift, h1, and both budgets together."""

    server: FloatArray
    devices: float
    budgets: float


def whole_lower_bound(stages: Stages, plan: Plan, objective: Objective) -> float | None:
    """No design with whole numbers has a smaller ``objective`` (Phi or Phi_FT); at most that of ``plan``.

    Of ``plan.relaxed`` it believes the lower bound alone. None where there are too many devices for it, and where bands
    are re-shared.
    """
    radio = stages.problem.radio
    reshared = radio.access == "ofdma" and radio.bandwidth == "given"  # not all of its plans are covered by the proof
    if len(stages.problem.devices) > MOST_DEVICES or plan.relaxed is None or reshared:
        return None
    budget = stages.problem.budget
    more = Budget(budget.delay_s * (1.0 + _ROUNDING), budget.energy_j * (1.0 + _ROUNDING))
    if stages.problem.radio.bandwidth == "optimise" or not enumerable(stages.problem.server, more):
        return plan.relaxed.lower_bound
    least = min(objective.of(stages.terms, plan), objective.alone(stages, more).value)
    if stages.reachable:
        least = min(least, _with_finetuning(stages, plan, objective, least))
    return max(plan.relaxed.lower_bound, least * (1.0 - _ROUNDING))


def _with_finetuning(stages: Stages, plan: Plan, objective: Objective, reached: float) -> float:
    """No design with at least one fine-tuning round is below this, or below ``reached``."""
    assert plan.relaxed is not None  # noqa: S101 - the caller has looked
    start = _start(plan.relaxed, objective, stages.problem.budget)
    base = start.prices(stages.problem.budget)
    rounds = WholeRounds(stages, base)
    if not rounds.most_rounds:
        return reached
    most = min(int(2.0 * max(plan.relaxed.pretrain_rounds, plan.pretrain_rounds)) + 50, _MOST_ROUNDS)
    cases = _Cases(stages, rounds, objective.name == "bound_ft", most)
    certified = cases.over_all(cases.priced(base))
    if (most + 1) * rounds.most_rounds <= _MOST_CASES:
        nearby = [cases.priced(prices) for prices in _nearby(start, stages)]
        if cases.proves_beyond(nearby, reached):
            certified = max(certified, cases.over_each(nearby, reached))
    return certified


def _start(relaxed: Relaxed, objective: Objective, budget: Budget) -> Start:
    """The prices of the relaxed optimum, from its shadow prices; one that is zero becomes nearly so."""
    counted = objective.counted(relaxed.pretrain_rounds, relaxed.finetune_rounds)
    delay, energy = counted * relaxed.delay_price * budget.delay_s, counted * relaxed.energy_price * budget.energy_j
    if not delay > 0.0 or not energy > 0.0:
        return Start(math.copysign(EDGE, delay - energy), delay + energy or 1.0)
    return Start(min(max(math.log(delay / energy), -EDGE), EDGE), delay + energy)


class _Cases:
    """Bounds over whole (N, M, b0): N up to ``most``, every M >= 1 that the delay allows, groups of server batches."""

    def __init__(self, stages: Stages, rounds: WholeRounds, finetuned: bool, most: int) -> None:
        self._stages, self._rounds, self._finetuned, self._most = stages, rounds, finetuned, most
        self._batches = _batches(stages, finetuned)
        self._counted = 0.0 if finetuned else 1.0

    def priced(self, prices: Prices) -> _Priced:
        """Both stages at ``prices``."""
        budget = self._stages.problem.budget
        sample = self._stages.server.sample_price(prices.ratio, prices.energy)
        server = self._batches.noise + self._batches.samples * sample
        paid = prices.delay * budget.delay_s + prices.energy * budget.energy_j
        return _Priced(server, self._rounds.price(prices), paid)

    def _remaining(self, n: FloatArray) -> FloatArray:
        """The numerator's part that depends on N alone."""
        terms = self._stages.terms
        if self._finetuned:
            return terms.remaining(n)
        return terms.start + terms.total_shift(n)

    def _settled(self, n: FloatArray) -> FloatArray:
        """How much of its last value the server's noise has reached."""
        reached: FloatArray = -np.expm1(-self._stages.terms.contraction * n) if self._finetuned else 0.0 * n
        return reached

    def _pretraining(self, n: FloatArray, priced: _Priced) -> FloatArray:
        """The numerator's part that does not depend on M, less the budgets, with the best batch for every N."""
        settled = self._batches.settled
        if np.any(settled > 0.0) and len(n) * len(settled) > _MOST_CASES:
            rounds = self._settled(n) * np.min(settled) + n * np.min(priced.server)
        elif np.any(settled > 0.0):
            rounds = np.min(self._settled(n)[:, np.newaxis] * settled + n[:, np.newaxis] * priced.server, axis=1)
        else:
            rounds = n * np.min(priced.server)
        result: FloatArray = self._remaining(n) - priced.budgets + rounds
        return result

    def over_all(self, priced: _Priced) -> float:
        """One price for every N and M: the bound of section 3b, or 3c, with a whole round's h1."""
        n = np.arange(self._most + 1.0)
        before = self._pretraining(n, priced)
        first, more = self._last(priced)
        if self._finetuned:
            return priced.devices + min(0.0, float(np.min(before)), first)
        each = float(np.min(before[1:] / n[1:]))
        return min(priced.devices + min(0.0, float(before[0])), each, more, first / self._most)

    def over_each(self, nearby: list[_Priced], reached: float) -> float:
        """The least over all (N, M, b0) of the best of ``nearby``; only those below ``reached`` are followed up."""
        pretraining, finetuning = np.arange(self._most + 1.0), np.arange(1.0, self._rounds.most_rounds + 1.0)
        n, m = np.repeat(pretraining, len(finetuning)), np.tile(finetuning, len(pretraining))
        best, effort = np.full(len(n), -np.inf), float(_EFFORT)
        for priced in nearby[:: len(_LOG_ODDS)]:
            before = self._pretraining(pretraining, priced)
            best = np.maximum(best, (before[n.astype(np.int64)] + m * priced.devices) / (self._counted * n + m))
            left = best < reached
            effort -= len(n)
            n, m, best = n[left], m[left], best[left]
        count = len(self._batches.samples)
        if not len(n) or len(n) * count > _MOST_CASES:
            return float(np.min(best, initial=reached))
        group = np.tile(np.arange(count), len(n))
        n, m, best = (np.repeat(each, count) for each in (n, m, best))
        return self._with_batches(n, m, group, best, nearby, reached, effort)

    def _with_batches(
        self,
        n: FloatArray,
        m: FloatArray,
        group: NDArray[np.int64],
        best: FloatArray,
        nearby: list[_Priced],
        reached: float,
        effort: float,
    ) -> float:
        """The same for each group of batches; ``best`` is what is known already."""
        for priced in nearby:
            settling = self._settled(n) * self._batches.settled[group]
            before = self._remaining(n) - priced.budgets + settling + n * priced.server[group]
            best = np.maximum(best, (before + m * priced.devices) / (self._counted * n + m))
            left = best < reached
            effort -= len(n)
            n, m, group, best = n[left], m[left], group[left], best[left]
            if effort <= 0.0 or not len(n):
                break
        return float(np.min(best, initial=reached))

    def _last(self, priced: _Priced) -> tuple[float, float]:
        """For every N > ``most``: numerator >= first + (N - most) second + M h1."""
        terms, most, cheapest = self._stages.terms, float(self._most), float(np.min(priced.server))
        if self._finetuned:
            decay = float(np.exp(-terms.contraction * most))
            each = float(np.min(self._batches.settled * (1.0 - decay) + most * priced.server))
            return terms.floor + min(0.0, terms.removable * decay) - priced.budgets + each, cheapest
        slope = terms.shift - terms.relief * terms.relief_rate * float(np.exp(-terms.relief_rate * most))
        first = terms.start + float(terms.total_shift(most)) - priced.budgets + most * cheapest
        return first, slope + cheapest

    def proves_beyond(self, nearby: list[_Priced], reached: float) -> bool:
        """Whether one of ``nearby`` shows that no N > ``most`` comes below ``reached``."""
        level = self._counted * reached
        for priced in nearby:
            first, more = self._last(priced)
            fewest = min(0.0, self._rounds.most_rounds * (priced.devices - reached))
            if more >= level and first - self._most * level + fewest >= 0.0:
                return True
        return False


def _batches(stages: Stages, finetuned: bool) -> _Batches:
    """Server batches one by one, then in groups."""
    server, terms = stages.problem.server, stages.terms
    least, most = np.ceil(server.min_batch), np.floor(server.max_batch)
    single = np.arange(least, min(_SINGLE, most) + 1.0)
    begin = max(least, _SINGLE + 1.0)
    steps = np.arange(0.0, np.log(max(most / begin, 1.0)) / np.log(_RATIO) + 1.0)
    grouped = np.unique(np.floor(begin * _RATIO**steps))
    first = np.concatenate([single, grouped[grouped <= most]])
    last = np.append(first[1:] - 1.0, most)
    if terms.settled_noise is None or not finetuned:
        return _Batches(first, terms.server_noise / last, np.zeros_like(first))
    return _Batches(first, np.zeros_like(first), terms.settled_noise / last)


def _nearby(start: Start, stages: Stages) -> Iterator[Prices]:
    for scale in _SCALES:
        for step in _LOG_ODDS:
            yield Prices.of(start.log_odds + step, stages.problem.budget, start.total * scale)
