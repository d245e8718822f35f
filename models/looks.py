"""What evaluations find, of a model or of several that were put by: small ones are worked out together."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from prefine.emulator.types import Evaluation
from prefine.models.dense import Dense
from prefine.models.federation import Federation
from prefine.models.losses import losses_of
from prefine.models.objective import Batch, Objective
from prefine.models.stacked import Stacked

TOGETHER = 6000
"""Samples that pass through models together, at most: more are no quicker than one model after the other."""


class Snapshot(NamedTuple):
    """A model put by: the last iterate (P,), and the weights (P,) that would be kept, mostly the same object."""

    weights: Tensor
    kept: Tensor


def evaluations(objective: Objective, data: Federation, snapshots: Sequence[Snapshot]) -> Iterator[Evaluation]:
    """Exact task loss and scores at the kept weights, squared norm of the task gradient at the last iterate, of each.

    ``objective`` is left as it is. What is found of a snapshot does not depend on those beside it.
    """
    at_once = _at_once(objective, data, snapshots)
    if at_once < 2:
        yield from (_alone(objective, data, snapshot) for snapshot in snapshots)
        return
    models = Stacked(objective)
    for some in (snapshots[i : i + at_once] for i in range(0, len(snapshots), at_once)):
        yield from _together(objective, models, data, torch.stack([snapshot.weights for snapshot in some]))


def _at_once(objective: Objective, data: Federation, snapshots: Sequence[Snapshot]) -> int:
    """How many models to work out together: small ones of several outputs, whose bits are the same either way."""
    looked_at = [data.task, data.test, *([] if data.validation is None else [data.validation])]
    apart = any(snapshot.kept is not snapshot.weights for snapshot in snapshots)
    if len(snapshots) < 2 or apart or any(next(batch.chunks()) is not batch for batch in looked_at):
        return 1
    small = objective.kind == "classification" and Dense.like(objective.network) is not None
    return TOGETHER // max(map(len, looked_at)) if small else 1


def _alone(objective: Objective, data: Federation, snapshot: Snapshot) -> Evaluation:
    with objective.at(snapshot.weights):
        loss = objective.full_gradient(data.task)
        grad_norm_sq = _norm_sq(objective.gradient)
        if snapshot.kept is snapshot.weights:
            return _scored(objective, data, loss, grad_norm_sq)
    with objective.at(snapshot.kept):
        return _scored(objective, data, objective.loss(data.task), grad_norm_sq)


def _scored(objective: Objective, data: Federation, loss: float, grad_norm_sq: float) -> Evaluation:
    found = Evaluation(loss, objective.score(data.test), grad_norm_sq)
    held = data.validation
    if held is None:
        return found
    return found._replace(validation_loss=objective.loss(held), validation_accuracy=objective.score(held))


def _together(objective: Objective, models: Stacked, data: Federation, weights: Tensor) -> Iterator[Evaluation]:
    """As `_alone`, for all of ``weights`` (k, P), of which each is kept; sums are taken model by model, as there."""
    task, test, held = data.task, data.test, data.validation
    gradients, losses = models.data_gradients(weights, _repeated(task, len(weights)))
    answers = models.answers(weights, _repeated(test, len(weights)))
    validated = answers if held is None else models.answers(weights, _repeated(held, len(weights)))
    for i, model in enumerate(weights):
        with objective.at(model):
            objective.gradient.copy_(gradients[i])
            objective.regularise(float(task.share.sum()))
            loss = objective.loss_of(losses[i], task)
            found = Evaluation(loss, objective.score_of(answers[i], test), _norm_sq(objective.gradient))
            if held is not None:
                found = found._replace(
                    validation_loss=objective.loss_of(losses_of(validated[i], held.y, objective.kind), held),
                    validation_accuracy=objective.score_of(validated[i], held),
                )
        yield found


def _norm_sq(gradient: Tensor) -> float:
    return float(gradient.double().square().sum())


def _repeated(batch: Batch, times: int) -> Batch:
    """The samples once for each model, (k, n, ...), without a copy."""
    return Batch(*(part.expand(times, *part.shape) for part in (batch.x, batch.y, batch.share)))
