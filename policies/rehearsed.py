"""The rehearsed design: many exact designs tried out in training, the best of them taken (docs/rehearsal.md)."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal, NamedTuple

import numpy as np

from prefine.emulator.errors import InfeasibleError, InputError
from prefine.emulator.types import Audience, FloatArray, Plan, Policy, Problem, RehearsalTable, Rehearse, Rehearsed
from prefine.policies.baselines import FinetuneOnly, PretrainOnly, Separate
from prefine.policies.feasibility import require_at_least, require_one_of, shortfall
from prefine.policies.joint import Joint, JointFinetune, JointSimple
from prefine.policies.lattice import Lattice
from prefine.policies.smoothing import Scores
from prefine.policies.subproblems import Stages

OTHERS: dict[str, Policy] = {
    "joint": Joint(),
    "joint-ft": JointFinetune(),
    "joint-simple": JointSimple(),
    "separate": Separate(),
    "finetune-only": FinetuneOnly(),
    "pretrain-only": PretrainOnly(),
}
"""Designs that are rehearsed beside the lattice."""

_SHARES = (0.35, 0.25, 0.2, 0.2)
"""Parts of the effort for the lattice and for each halving after it; each doubles the rehearsals of those it keeps."""

_NOISES = (1.0, 3.0)
"""Weights of the devices' gradient noise in the lattice: more makes fewer rounds of larger batches."""

_SPACINGS = (math.sqrt(2.0), 2.0, 4.0, 16.0)
"""Factors from one number of server samples in the lattice to the next: the finest that the effort allows is taken."""

_BATCH_SPACING = 4
_LEAST_BATCH = 8
_MOST_ROUNDS = 256
"""The lattice's server batches begin at 8 and rise fourfold; more rounds cost more than small batches gain."""

_STEPS = (1.5, 1.25, 1.12)
"""Factors by which a refinement changes the server's samples; the noise changes by their squares, b0 by two."""

_CENTRES = (4, 2, 1)
"""How many of the best are refined at each halving."""


class Share(NamedTuple):
    """A member of the lattice: the server's rounds and batch, and the weight of the devices' noise (0: they rest)."""

    rounds: int
    batch: int
    noise: float = 1.0

    @property
    def label(self) -> str:
        """As tables show it."""
        devices = {0.0: ", server alone", 1.0: ""}.get(self.noise, f", noise {self.noise:.3g}")
        return f"{self.rounds} x {self.batch}{devices}"


@dataclass
class Candidate:
    """A plan with its rehearsals so far, one entry for each seed from 0 on."""

    label: str
    share: Share
    plan: Plan
    loss: FloatArray = field(default_factory=lambda: np.zeros(0))
    score: FloatArray = field(default_factory=lambda: np.zeros(0))


@dataclass(frozen=True)
class JointRehearsed:
    """Rehearses exact designs for many shares of pre-training and takes the one that validates best.

    ``effort`` is how many rehearsals it may spend, ``score`` what it goes by ("accuracy", "loss", or "both"), ``on``
    whose data it uses: "task" sees every device's task samples, "general" the server's own alone. ``folds`` is in how
    many parts they are split. Source: docs/rehearsal.md; successive halving of Jamieson and Talwalkar (2016).
    """

    effort: int = 480
    score: Literal["accuracy", "loss", "both"] = "accuracy"
    on: Audience = "task"
    folds: int = 5

    rehearses: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_at_least("joint-rehearsed", "folds", self.folds, 2)
        require_at_least("joint-rehearsed", "effort", self.effort, 10 * self.folds)
        require_one_of("joint-rehearsed", "score", self.score, ("accuracy", "loss", "both"))
        require_one_of("joint-rehearsed", "on", self.on, ("task", "general"))

    def plan(self, problem: Problem, rehearse: Rehearse) -> Plan:
        """The plan of the best smoothed validation score, with the table of all that were rehearsed.

        Raises InfeasibleError where not one round fits the budgets.
        """
        return _Search(self, problem, rehearse).plan()


class _Search:
    """Successive halving over candidates; every candidate has the rehearsals 0, 1, ... and those kept have more."""

    def __init__(self, policy: JointRehearsed, problem: Problem, rehearse: Rehearse) -> None:
        self._policy, self._problem, self._rehearse = policy, problem, rehearse
        self._candidates = list(_designs(problem))
        try:
            self._lattice: Lattice | None = Lattice(problem)
        except InfeasibleError:
            self._lattice = None
        self._tried: set[Share] = set()
        self._decisions = {_decision(one.plan) for one in self._candidates}

    def plan(self) -> Plan:
        """The winner, with the table."""
        folds = self._policy.folds
        room = int(_SHARES[0] * self._policy.effort) // folds - len(self._candidates)
        self._add(_finest(self._lattice, room) if self._lattice else (), room)
        if not self._candidates:
            raise InfeasibleError(shortfall(Stages(self._problem)))
        self._bring_to(self._candidates, folds)
        left = self._policy.effort - folds * len(self._candidates)
        rehearsed = folds
        for share, centres, step in zip(_SHARES[1:], _CENTRES, _STEPS, strict=True):
            allowance = int(left * share / sum(_SHARES[1:]))
            if allowance < 2 * rehearsed:
                break
            best = self._ranked()
            near = (neighbour for one in best[:centres] for neighbour in _neighbours(one.share, step))
            fresh = self._add(near, allowance // 2 // (2 * rehearsed))
            kept = best[: (allowance - 2 * rehearsed * len(fresh)) // rehearsed]
            rehearsed *= 2
            self._bring_to([*kept, *fresh], rehearsed)
        return self._decided()

    def _add(self, shares: Iterable[Share], room: int) -> list[Candidate]:
        """Candidates of those ``shares`` that are new and fit the budgets, at most ``room`` of them."""
        fresh: list[Candidate] = []
        for share in shares:
            if len(fresh) >= room:
                break
            if self._lattice is None or not self._lattice.has(share.batch) or share in self._tried:
                continue
            self._tried.add(share)
            plan = self._lattice.plan(*share) if share.noise else self._lattice.server_only(*share[:2])
            if plan is not None and (decision := _decision(plan)) not in self._decisions:
                self._decisions.add(decision)
                fresh.append(Candidate(share.label, share, plan))
        self._candidates += fresh
        return fresh

    def _bring_to(self, candidates: list[Candidate], rehearsals: int) -> None:
        """Rehearse ``candidates`` until each has so many rehearsals."""
        for done in sorted({len(one.score) for one in candidates}):
            group = [one for one in candidates if len(one.score) == done]
            if done < rehearsals:
                seeds = range(done, rehearsals)
                seen = self._rehearse([one.plan for one in group], seeds, folds=self._policy.folds, on=self._policy.on)
                for one, loss, score in zip(group, seen.loss, seen.score, strict=True):
                    one.loss, one.score = np.append(one.loss, loss), np.append(one.score, score)

    def _scores(self) -> Scores:
        if self._policy.score == "accuracy":
            return Scores([one.score for one in self._candidates])
        if self._policy.score == "loss":
            return Scores([-one.loss for one in self._candidates])
        least = float(np.nanmin([np.mean(one.loss) for one in self._candidates]))
        return Scores([one.score - one.loss / least for one in self._candidates])

    def _smoothed(self, scores: Scores) -> FloatArray:
        return scores.smoothed([one.plan for one in self._candidates], self._policy.folds)

    def _ranked(self) -> list[Candidate]:
        """Of the candidates with the most rehearsals, the best first."""
        scores = self._scores()
        order = np.argsort(-self._smoothed(scores), kind="stable")
        return [self._candidates[index] for index in order if scores.counts[index] == scores.counts.max()]

    def _decided(self) -> Plan:
        winner, scores = self._ranked()[0], self._scores()
        columns = zip(self._candidates, scores.mean, scores.half_width, self._smoothed(scores), strict=True)
        rows = [_row(one, *map(float, figures)) for one, *figures in columns]
        rows.sort(key=lambda row: (row.candidate != winner.label, -row.rehearsals, -row.smoothed_score))
        table = RehearsalTable(self._policy.on, tuple(rows))
        return replace(winner.plan, relaxed=None, integer_gap=None, rehearsal=table)


def _row(one: Candidate, score: float, half_width: float, smoothed: float) -> Rehearsed:
    plan, loss, count = one.plan, float(np.mean(one.loss)), len(one.loss)
    rounds = plan.pretrain_rounds, float(plan.server.batch), plan.finetune_rounds
    return Rehearsed(one.label, *rounds, score, half_width, smoothed, loss, count)


def _designs(problem: Problem) -> Iterator[Candidate]:
    """The plans of `OTHERS`, where they have one."""
    for label, policy in OTHERS.items():
        try:
            plan = policy.plan(problem)
        except (InfeasibleError, InputError):  # no round fits, or it needs constants that nobody knows
            continue
        yield Candidate(label, Share(plan.pretrain_rounds, round(plan.server.batch)), plan)


def _finest(lattice: Lattice, room: int) -> tuple[Share, ...]:
    """The finest lattice over server samples, batches and noise with at most ``room`` members."""
    for spacing in _SPACINGS:
        shares = tuple(dict.fromkeys(_members(lattice, spacing)))
        if len(shares) <= room:
            return shares
    return shares[:: math.ceil(len(shares) / max(1, room))]


def _members(lattice: Lattice, spacing: float) -> Iterator[Share]:
    least, most = lattice.batches
    batches = [max(least, _LEAST_BATCH)]
    while batches[-1] * _BATCH_SPACING <= most:
        batches.append(batches[-1] * _BATCH_SPACING)
    yield from (Share(0, batches[0], noise) for noise in _NOISES)
    samples, all_samples = float(batches[0]), float(lattice.most_samples)
    for batch in batches:
        if 1 <= all_samples // batch <= _MOST_ROUNDS:
            yield Share(int(all_samples // batch), batch, 0.0)
    count = math.floor(math.log(all_samples / samples) / math.log(spacing)) if all_samples > samples else 0
    for step in range(1, count + 1):
        worked = _rounded(all_samples * spacing**-step)
        for batch in batches:
            rounds = round(worked / batch)
            if 2 <= rounds <= _MOST_ROUNDS:
                yield from (Share(rounds, batch, noise) for noise in _NOISES)


def _rounded(samples: float) -> int:
    """``samples`` to two binary digits after the first: then equal numbers of samples are often shared by batches."""
    unit = 2.0 ** max(0, math.floor(math.log2(samples)) - 2)
    return round(samples / unit) * int(unit)


def _neighbours(share: Share, step: float) -> Iterator[Share]:
    """Shares with a little more or less of N or the noise, or half or twice the batch on as many samples."""
    rounds, batch, noise = share
    for factor in (step, 1.0 / step):
        if rounds:
            moved = round(rounds * factor)
            yield Share(max(1, moved if moved != rounds else rounds + (1 if factor > 1.0 else -1)), batch, noise)
        if noise:
            yield Share(rounds, batch, noise * factor**2)
    if rounds:
        yield Share(max(1, rounds // 2), 2 * batch, noise)
        if 2 * rounds <= _MOST_ROUNDS:
            yield Share(2 * rounds, batch // 2, noise)


def _decision(plan: Plan) -> tuple[object, ...]:
    """What tells plans apart that do the same."""
    server = (plan.server.batch, plan.server.frequency_hz) if plan.pretrain_rounds else ()
    return plan.pretrain_rounds, plan.finetune_rounds, server, plan.devices.batch.tobytes()
