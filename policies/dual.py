"""The relaxed joint design by its one-dimensional dual, with a certificate (docs/theory.md, sections 3 and 3c)."""

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from prefine.emulator.types import Budget, FloatArray, Relaxed
from prefine.policies.device_barrier import DeviceStage
from prefine.policies.finishing import TOLERANCE
from prefine.policies.objectives.all_rounds import AllRounds
from prefine.policies.objectives.base import Objective, Prices, Trial, imbalance
from prefine.policies.root import IncreasingRoot
from prefine.policies.subproblems import ServerRound, Stages
from prefine.policies.thinning import MOST_UNTHINNED, sample, thinned

GAP = 1e-9
"""Relative gap between primal and dual at which the search stops: larger saves trials, smaller proves more digits."""

EDGE = 25.0
"""Largest |log-odds| of theta. Stopping this short of 0 and 1 costs at most exp(-EDGE) = 1.4e-11 of the bound."""

_TRIALS = 120
"""Prices tried at most: on random problems the search takes 5, seldom 50. Fewer could end it with an open gap."""

_EXACTER = 1e-4
"""The devices' tolerance as a part of the gap that is left: larger saves Newton passes, but may hold the gap open."""

_ROUGHEST = 1e-5
"""The devices' tolerance at first: larger saves passes, smaller spares a first trial that misleads the search."""


@dataclass(frozen=True)
class Start:
    """Where a search for a similar problem ended: hand it on to save work. ``total`` is what the budgets were worth.

    ``slope`` is how fast the objective's residual rises in the log-odds there.
    """

    log_odds: float = 0.0
    total: float = 1.0
    snr_state: FloatArray | None = None
    slope: float = 0.5

    def prices(self, budget: Budget) -> Prices:
        """The prices it ended with."""
        return Prices.of(self.log_odds, budget, self.total)


class _Search:
    """Evaluates prices and remembers the best lower bound and the best design."""

    def __init__(self, stages: Stages, objective: Objective, start: Start) -> None:
        self.stages, self.objective = stages, objective
        self._state = start.snr_state
        self.lower_bound, self.value = -math.inf, math.inf
        self.best: Trial | None = None
        self.proof: Trial | None = None

    def trial(self, log_odds: float) -> Trial:
        """Both stages' responses at ``log_odds``."""
        stages, objective = self.stages, self.objective
        prices = objective.prices(stages, log_odds)
        devices = stages.devices.solve(prices.ratio, prices.energy, self._state, self._tolerance())
        self._state = devices.snr_state
        trial = Trial(log_odds, prices, objective.server(stages, prices), devices)
        lower_bound = objective.lower_bound(stages, trial)
        if lower_bound > self.lower_bound:
            self.lower_bound, self.proof = lower_bound, trial
        rounds = objective.rounds(stages, trial)
        value = float(objective.value(stages.terms, rounds[0], rounds[1], trial.server.plan.batch, trial.devices.noise))
        if value < self.value or self.best is None:
            self.value, self.best = value, trial
        return trial

    def _tolerance(self) -> float:
        """The devices need be no more exact than a part of the gap that is left."""
        if self.best is None:
            return _ROUGHEST
        return min(max(_EXACTER * (self.value / self.lower_bound - 1.0), TOLERANCE), _ROUGHEST)

    @property
    def closed(self) -> bool:
        """Whether the certificate is good enough."""
        return self.value <= self.lower_bound * (1.0 + GAP)


def relax(stages: Stages, objective: Objective, start: Start | None = None) -> tuple[Relaxed, Start]:
    """The optimum over real rounds and batches with its lower bound, and the start for a similar problem.

    Every device must be reachable (`Stages.reachable`).
    """
    start = start or _thinned_start(stages, objective)
    search = _Search(stages, objective, start)
    root = IncreasingRoot(start.log_odds, -EDGE, EDGE, slope=start.slope)
    sides: dict[bool, Trial] = {}
    previous, proposal = None, None
    for _ in range(_TRIALS):
        trial = search.trial(root.next(proposal))
        if search.closed:
            break
        residual = objective.residual(stages, trial)
        root.update(
            trial.log_odds, residual, smooth=previous is None or objective.crossing(stages, previous, trial) is None
        )
        if root.exhausted:
            search.trial(trial.log_odds)  # it may have been rough; now the gap says how exact it must be
            break
        previous, sides[residual > 0.0] = trial, trial
        proposal = objective.crossing(stages, sides[False], sides[True]) if len(sides) == 2 else None
    return _relaxed(search), replace(_start(search), slope=root.slope)


def _thinned_start(stages: Stages, objective: Objective) -> Start:
    """Where the search for a sample of many devices ends; where there are few, or they share time or band, anywhere."""
    devices = stages.devices
    if len(stages.problem.devices) <= MOST_UNTHINNED or not isinstance(devices, DeviceStage):
        return Start()
    kept = sample(len(stages.problem.devices), int(np.argmax(devices.priced.soonest_each_s)))
    start = relax(replace(stages, problem=thinned(stages.problem, kept)), objective)[1]
    assert start.snr_state is not None  # noqa: S101 - every search for devices ends in a state
    state = np.full(len(stages.problem.devices), np.exp(np.mean(np.log(start.snr_state))))
    state[kept] = start.snr_state
    return replace(start, snr_state=state)


def relax_all_rounds(stages: Stages, start: Start | None = None) -> tuple[Relaxed, Start]:
    """The optimum of Phi where the shift does not bend (else `prefine.policies.bent_shift`); ``start`` as in `relax`.

    Pre-training alone is tried first: at its best prices a rough lower bound on h1 often shows that fine-tuning does
    not pay.
    """
    alone, end = relax_pretraining(stages)
    if not stages.reachable:
        return alone, end
    prices = end.prices(stages.problem.budget)
    if stages.devices.least_price(prices.ratio, prices.energy) >= alone.lower_bound:
        return alone, end
    return relax(stages, AllRounds(), start)


def _start(search: _Search) -> Start:
    assert search.proof is not None  # noqa: S101 - every search tries at least one price
    budget, prices = search.stages.problem.budget, search.proof.prices
    total = prices.delay * budget.delay_s + prices.energy * budget.energy_j
    return Start(search.proof.log_odds, total, search.proof.devices.snr_state)


def _relaxed(search: _Search) -> Relaxed:
    assert search.best is not None  # noqa: S101 - as above
    assert search.proof is not None  # noqa: S101 - as above
    stages, objective, trial = search.stages, search.objective, search.best
    rounds = objective.rounds(stages, trial)
    delay_price, energy_price = _shadow(search.proof.log_odds, search.proof.prices, 1.0 / objective.counted(*rounds))
    return Relaxed(
        rounds[0],
        rounds[1],
        trial.server.plan,
        trial.devices.plan,
        search.value,
        search.lower_bound,
        max(0.0, search.value / search.lower_bound - 1.0),
        delay_price,
        energy_price,
    )


def _shadow(log_odds: float, prices: Prices, per_round: float) -> tuple[float, float]:
    """What one more second and one more joule take off the bound; zero for a budget that does not bind."""
    delay = 0.0 if log_odds <= -EDGE else prices.delay * per_round
    energy = 0.0 if log_odds >= EDGE else prices.energy * per_round
    return delay, energy


class _ServerTrial(NamedTuple):
    """The server's response to the prices at one ``log_odds``, and what they prove."""

    log_odds: float
    prices: Prices
    server: ServerRound
    lower_bound: float
    bound: float


def relax_pretraining(stages: Stages) -> tuple[Relaxed, Start]:
    """The optimum with M = 0: the same search where only the server is priced, in scalars."""
    budget, terms = stages.problem.budget, stages.terms
    root = IncreasingRoot(0.0, -EDGE, EDGE)
    lower_bound, value = -math.inf, math.inf
    tried: list[_ServerTrial] = []
    for _ in range(_TRIALS):
        log_odds = root.next()
        prices = Prices.of(log_odds, budget, terms.start)
        server = stages.server.respond(prices.ratio, prices.energy)
        lower = terms.shift + server.price(prices.delay, prices.energy)
        bound = float(terms.bound(server.cost.affordable(budget), 0.0, server.plan.batch, 0.0))
        tried.append(_ServerTrial(log_odds, prices, server, lower, bound))
        lower_bound, value = max(lower_bound, lower), min(value, bound)
        if value <= lower_bound * (1.0 + GAP):
            break
        root.update(log_odds, imbalance(server.cost, budget))
        if root.exhausted:
            break
    server = min(tried, key=lambda trial: trial.bound).server
    proof = max(tried, key=lambda trial: trial.lower_bound)
    rounds = server.cost.affordable(budget)
    gap = max(0.0, value / lower_bound - 1.0)
    delay_price, energy_price = _shadow(proof.log_odds, proof.prices, 1.0 / rounds)
    idle = stages.idle(stages.problem.devices.min_batch)
    relaxed = Relaxed(rounds, 0.0, server.plan, idle, value, lower_bound, gap, delay_price, energy_price)
    return relaxed, Start(proof.log_odds, terms.start)
