"""A lower bound that whole numbers cannot beat, by the dual of docs/theory.md, section 4: N, M, b0, b_k all whole.

For any prices, numerator >= start - (mu T + lambda E) + N h0(b0) + M h1, where h1 is the least price of a round with
whole batches. Given the barrier tau, h1 is a sum of minima over each device's own batches; these minima fall in tau, so
between two barriers the earlier one's delay price and the later one's minima are a bound. All barriers up to T count.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from prefine.emulator.types import FloatArray, Problem
from prefine.policies.dual import Start, relax, relax_all_rounds
from prefine.policies.objectives.base import Prices
from prefine.policies.objectives.fine_tuned import FineTuned
from prefine.policies.subproblems import ServerStage, Stages

MOST_BATCH = 64
TOLERANCE = 2e-4
LOG_ODDS = np.linspace(-0.6, 0.6, 13)
SCALES = (0.7, 0.8, 0.9, 0.95, 0.98, 1.0, 1.02, 1.05, 1.1, 1.2)


class WholeRounds:
    """The least price of a fine-tuning round with whole batches; least energies are tabled over barriers."""

    def __init__(self, problem: Problem) -> None:
        self._problem, self._terms = problem, Stages(problem).terms
        devices, count = problem.devices, len(problem.devices)
        self._batch = np.tile(np.arange(1.0, MOST_BATCH + 1.0), count)
        owner = np.repeat(np.arange(count), MOST_BATCH)
        crowd = replace(problem, devices=devices.at(owner))
        allowed = (self._batch >= devices.min_batch[owner]) & (self._batch <= devices.max_batch[owner])
        self._forbidden = ~allowed
        self._crowd = Stages(crowd).devices.at_batches(self._batch)
        noise = self._terms.device_noise[owner] / self._batch
        # The last column stands for every larger batch too: energy rises with the batch, noise is at least 0.
        tail = (self._batch == MOST_BATCH) & (devices.max_batch[owner] > MOST_BATCH)
        self._noise = np.where(tail, 0.0, noise).reshape(count, MOST_BATCH)
        soonest = Stages(problem).devices.at_batches(np.ceil(devices.min_batch)).soonest_s
        self.most_rounds = int(problem.budget.delay_s / (problem.radio.downlink_delay_s + soonest))
        self._barriers = np.geomspace(soonest * (1.0 + 1e-12), problem.budget.delay_s, 60)
        self._energy = np.array([self._energies(barrier) for barrier in self._barriers])

    def _energies(self, barrier_s: float) -> FloatArray:
        """Least energy (K, batches) by ``barrier_s``; infinite where that is too soon."""
        cheapest = self._crowd.finish_by(barrier_s, 1.0)
        energy = np.where(cheapest.late | self._forbidden, np.inf, cheapest.energy_j)
        return energy.reshape(self._noise.shape)

    def _bounds(self, prices: Prices) -> tuple[FloatArray, FloatArray]:
        """Lower bounds on the price of a round in every interval of barriers, and prices at the barriers."""
        radio = self._problem.radio
        least = np.min(self._noise + prices.energy * self._energy, axis=2).sum(axis=1)
        delay = prices.delay * (self._barriers + radio.downlink_delay_s)
        energy = prices.energy * radio.downlink_energy_j
        return delay[:-1] + least[1:] + energy, delay + least + energy

    def refine(self, prices: Prices) -> None:
        """Split the intervals that decide at ``prices`` until `price` there is tight to ``TOLERANCE``."""
        while True:
            lower, upper = self._bounds(prices)
            loose = np.flatnonzero(lower < np.min(upper) * (1.0 - TOLERANCE))
            if not len(loose):
                return
            between = np.sqrt(self._barriers[loose] * self._barriers[loose + 1])
            self._barriers = np.insert(self._barriers, loose + 1, between)
            self._energy = np.insert(self._energy, loose + 1, [self._energies(barrier) for barrier in between], axis=0)

    def price(self, prices: Prices) -> float:
        """No round with whole batches is cheaper."""
        return float(np.min(self._bounds(prices)[0]))


def whole_lower_bound(problem: Problem, *, finetuned: bool) -> float:
    """No design with whole N, M, b0 and b_k has a smaller Phi, or Phi_FT where ``finetuned``.

    For every N up to ``most``, every M the delay allows and every b0 the best of many prices; for more N one price that
    proves it for all of them, since the bound is linear in N and M.
    """
    stages, rounds = Stages(problem), WholeRounds(problem)
    terms, budget, server = stages.terms, problem.budget, problem.server
    relaxed, start = relax(stages, FineTuned()) if finetuned else relax_all_rounds(stages)
    rounds.refine(start.prices(budget))
    most = int(2.0 * relaxed.pretrain_rounds) + 50
    pretraining = np.arange(most + 1.0)[:, np.newaxis, np.newaxis]
    finetuning = np.arange(1.0 if finetuned else 0.0, rounds.most_rounds + 1.0)[:, np.newaxis]
    batches = np.arange(max(1.0, np.ceil(server.min_batch)), min(MOST_BATCH, server.max_batch) + 1.0)
    if finetuned:
        before = terms.floor + terms.removable * np.exp(-terms.contraction * pretraining)
        last, shift, counted = terms.floor, 0.0, 0.0  # removable >= 0: what is left of it is at least 0
    else:
        before, last, shift, counted = np.array(terms.start), terms.start, terms.shift, 1.0
    denominator = np.maximum(counted * pretraining + finetuning, 1.0)
    best, beyond = np.full((1, 1, 1), -np.inf), []
    for prices in _nearby(start, problem):
        h0 = np.array([_server_price(stages, prices, batch) for batch in batches])
        if server.max_batch > MOST_BATCH:
            h0[-1] -= terms.server_noise / MOST_BATCH
        h1, paid = rounds.price(prices), prices.delay * budget.delay_s + prices.energy * budget.energy_j
        best = np.maximum(best, (before - paid + pretraining * (shift + h0) + finetuning * h1) / denominator)
        beyond.append((last - paid, shift + float(np.min(h0)), h1))
    if not finetuned:
        best[0, 0] = np.inf
    bound = float(np.min(best))
    assert any(
        h0 >= counted * bound
        and rest + most * (h0 - counted * bound) + min(0.0, rounds.most_rounds * (h1 - bound)) >= 0.0
        for rest, h0, h1 in beyond
    )
    return bound


def _nearby(start: Start, problem: Problem) -> Iterator[Prices]:
    for scale in SCALES:
        for step in LOG_ODDS:
            yield Prices.of(start.log_odds + step, problem.budget, start.total * scale)


def _server_price(stages: Stages, prices: Prices, batch: float) -> float:
    only = replace(stages.problem.server, min_batch=batch, max_batch=batch)
    response = ServerStage(only, stages.terms.server_noise).respond(prices.ratio, prices.energy)
    return response.price(prices.delay, prices.energy)
