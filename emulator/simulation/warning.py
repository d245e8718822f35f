"""What a reader of one run should know before believing its figures, in a few words (docs/tables.md, "Warnings")."""

import math
from collections.abc import Iterator, Sequence

from prefine.emulator.records import RunRecord
from prefine.emulator.types import Budget, Evaluation

DIVERGED_FROM = 2.0
"""Training loss, as a multiple of that before training, from which on a run has diverged."""

CHANCE_MARGIN = 0.02
"""Test accuracy above that of the best constant answer up to which a run is at chance."""

USED = 0.9
"""Share of a budget from which on it counts as used."""


def warnings(run: RunRecord, untrained: Evaluation, budget: Budget, doubts: Sequence[str] = ()) -> str:
    """The warnings on ``run``, separated by commas; ``untrained`` is the model before the first round.

    ``diverged``, ``at chance``, ``bound broken`` (the realised mean squared gradient norm is above the plan's bound;
    the bound is on an expectation, so one run may pass it by luck), ``budget unused`` (a plan carried out to its end
    that used neither budget), and the ``doubts`` about the world's inputs.
    """
    return ",".join([*_warnings(run, untrained, budget), *doubts])


def _warnings(run: RunRecord, untrained: Evaluation, budget: Budget) -> Iterator[str]:
    if not math.isfinite(run.train_loss) or run.train_loss > DIVERGED_FROM * untrained.train_loss:
        yield "diverged"
    if run.test_accuracy <= untrained.chance_accuracy + CHANCE_MARGIN:
        yield "at chance"
    if run.mean_grad_norm_sq > run.bound:
        yield "bound broken"
    if run.stop_reason == "plan" and max(run.delay_s / budget.delay_s, run.energy_j / budget.energy_j) < USED:
        yield "budget unused"
