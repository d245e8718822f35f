"""The relaxed optimum of Phi where the shift summed over the rounds bends (docs/theory.md, section 3d).

D(N) is convex, so it lies above each of its tangents, and Phi above the Phi with a tangent in the place of D: a problem
with a straight shift, solved by `prefine.policies.dual`. The best tangent's optimum is that of Phi.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import scipy

from prefine.emulator.bound import most_server_rounds
from prefine.emulator.types import Relaxed
from prefine.policies.dual import GAP, Start, relax, relax_all_rounds, relax_pretraining
from prefine.policies.mixing import mixed
from prefine.policies.objectives.given_share import GivenShare
from prefine.policies.root import IncreasingRoot
from prefine.policies.subproblems import Stages

_TANGENTS = 60
"""Tangents tried at most: 3 to 8 are needed, more where N jumps. Fewer could leave the gap open."""

_PATIENCE, _SMALL_GAP = 6, 1e-6
"""Tangents that may fail to halve a small gap before the search ends: where designs jump, rounding limits it."""

_LEAST_START = 1e-11
"""Part of A that a tangent must leave. Stopping here costs at most this part of the bound."""


def relax_phi(stages: Stages, share: float | None = None, start: Start | None = None) -> tuple[Relaxed, Start]:
    """The optimum of Phi over real rounds and batches, with N / (N + M) = ``share`` where that is given.

    With ``share`` below 1 every device must be reachable (`Stages.reachable`). ``start`` and the second value: see
    `prefine.policies.dual.relax`.
    """
    if share == 0.0 or not stages.terms.bends:
        return _straight(stages, share, start)
    search, start = _Search(stages, share), start or Start()
    root = IncreasingRoot(0.0, 0.0, 1.0, reach=1.0)
    sides: dict[bool, _Tangent] = {}
    proposal, open_gaps = None, []
    for _ in range(_TANGENTS):
        tangent = search.at(root.next(proposal) * search.most, start)
        start = tangent.start
        excess = tangent.rounds - tangent.relaxed.pretrain_rounds
        sides[excess > 0.0] = tangent
        if len(sides) == 2:
            search.mix(sides[True], sides[False], tangent.rounds)
        open_gaps.append(search.gap)
        stuck = len(open_gaps) > _PATIENCE and 0.5 * open_gaps[-_PATIENCE - 1] < search.gap <= _SMALL_GAP
        if search.closed or stuck or root.exhausted or (tangent.rounds == 0.0 and excess == 0.0):
            break
        root.update(tangent.rounds / search.most, excess / search.most)
        jumps = len(sides) == 2 and sides[False].stages_used != sides[True].stages_used
        proposal = search.crossing(sides[False], sides[True]) / search.most if jumps else None
    return search.result()


def _straight(stages: Stages, share: float | None, start: Start | None) -> tuple[Relaxed, Start]:
    if share is None:
        return relax_all_rounds(stages, start)
    return relax_pretraining(stages) if share == 1.0 else relax(stages, GivenShare(share), start)


@dataclass(frozen=True)
class _Tangent:
    """The optimum with the tangent of D at ``rounds``, whose slope is ``shift``."""

    rounds: float
    shift: float
    relaxed: Relaxed
    start: Start

    @property
    def slope(self) -> float:
        """Of the optimum in the tangent's slope, by the envelope theorem."""
        relaxed = self.relaxed
        return (relaxed.pretrain_rounds - self.rounds) / (relaxed.pretrain_rounds + relaxed.finetune_rounds)

    @property
    def stages_used(self) -> tuple[bool, bool]:
        """Whether it pre-trains, and whether it fine-tunes."""
        return self.relaxed.pretrain_rounds > 0.0, self.relaxed.finetune_rounds > 0.0


class _Search:
    """Tries tangents and remembers the best lower bound and the best design."""

    def __init__(self, stages: Stages, share: float | None) -> None:
        self.stages, self._share = stages, share
        self.most = _most_rounds(stages)
        self._proof: _Tangent | None = None
        self._best: Relaxed | None = None

    def at(self, rounds: float, start: Start) -> _Tangent:
        """The optimum with the tangent of D at ``rounds``."""
        stages, terms = self.stages, self.stages.terms
        shift = terms.shift - terms.relief * terms.relief_rate * math.exp(-terms.relief_rate * rounds)
        left = terms.start - (rounds * shift - float(terms.total_shift(rounds)))
        learning = replace(
            stages.problem.learning,
            initial_gap=left * stages.problem.learning.learning_rate / 2.0,
            discrepancy=shift,
            discrepancy_relief=0.0,
        )
        straight = Stages(replace(stages.problem, learning=learning), stages.full_power)
        warm = start if start.snr_state is not None else None
        tangent = _Tangent(rounds, shift, *_straight(straight, self._share, warm))
        if self._proof is None or tangent.relaxed.lower_bound > self._proof.relaxed.lower_bound:
            self._proof = tangent
        relaxed = tangent.relaxed
        self._consider(relaxed)
        if relaxed.pretrain_rounds > rounds:  # budgets may allow more rounds than help
            shorter, total = rounds / relaxed.pretrain_rounds, relaxed.finetune_rounds
            self._consider(replace(relaxed, pretrain_rounds=rounds, finetune_rounds=shorter * total))
        return tangent

    def _consider(self, relaxed: Relaxed) -> None:
        """Remember ``relaxed`` if it is the best by its true Phi."""
        terms, noise = self.stages.terms, float(self.stages.terms.round_noise(relaxed.devices.batch))
        rounds = relaxed.pretrain_rounds, relaxed.finetune_rounds
        bound = float(terms.bound(*rounds, relaxed.server.batch, noise))
        if self._best is None or bound < self._best.bound:
            self._best = replace(relaxed, bound=bound)

    def mix(self, few: _Tangent, many: _Tangent, rounds: float) -> None:
        """Consider the design with N = ``rounds`` between an optimum with fewer and one with more."""
        least, most = few.relaxed.pretrain_rounds, many.relaxed.pretrain_rounds
        if least < rounds < most:
            part = (rounds - least) / (most - least)
            self._consider(mixed(self.stages.problem, few.relaxed, many.relaxed, part))

    @property
    def gap(self) -> float:
        """Of the best design over the best lower bound, once a tangent was tried."""
        assert self._proof is not None  # noqa: S101 - see above
        assert self._best is not None  # noqa: S101 - see above
        return max(0.0, self._best.bound / self._proof.relaxed.lower_bound - 1.0)

    @property
    def closed(self) -> bool:
        """Whether tangents leave no more of the gap than the search with one of them may leave."""
        assert self._proof is not None  # noqa: S101 - see above
        return self.gap <= GAP + self._proof.relaxed.gap

    def crossing(self, low: _Tangent, high: _Tangent) -> float:
        """The N whose tangent has the slope at which the optimum's own tangents at ``low`` and ``high`` meet."""
        rise = high.relaxed.lower_bound - low.relaxed.lower_bound
        gain = (rise - high.slope * (high.shift - low.shift)) / (low.slope - high.slope)
        part = min(max(gain / (high.shift - low.shift), 0.0), 1.0)
        rate = self.stages.terms.relief_rate
        return low.rounds - math.log1p(part * math.expm1(rate * (low.rounds - high.rounds))) / rate

    def result(self) -> tuple[Relaxed, Start]:
        """The best design with the best certificate."""
        assert self._proof is not None  # noqa: S101 - at least one tangent is tried
        assert self._best is not None  # noqa: S101 - as above
        best, proof = self._best, self._proof.relaxed
        per_round = (proof.pretrain_rounds + proof.finetune_rounds) / (best.pretrain_rounds + best.finetune_rounds)
        certified = replace(
            best,
            lower_bound=proof.lower_bound,
            gap=self.gap,
            delay_price=proof.delay_price * per_round,
            energy_price=proof.energy_price * per_round,
        )
        return certified, self._proof.start


def _most_rounds(stages: Stages) -> float:
    """The N beyond which no tangent helps: all that the budgets allow, or the tangent that leaves nothing of A.

    The tangent at N takes N D'(N) - D(N) = c P(2, r N) off A, where P is the regularised incomplete gamma function.
    """
    terms, problem = stages.terms, stages.problem
    budget, server = problem.budget, problem.server
    batch, delay_s, energy_j = (np.array([value]) for value in (server.min_batch, budget.delay_s, budget.energy_j))
    alone = float(most_server_rounds(server, batch, delay_s, energy_j)[0])
    part = terms.start * (1.0 - _LEAST_START) / terms.relief
    return alone if part >= 1.0 else min(alone, float(scipy.special.gammaincinv(2.0, part)) / terms.relief_rate)
