"""The training side of a rehearsal: which samples are held out, and many schedules trained as one.

A held-out federation is one whose ``test`` samples are taken from what the server or the devices train on; the
scenario's own test samples never enter it.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from prefine.emulator.errors import InputError
from prefine.emulator.types import Fold, Schedule, Validation
from prefine.models.asynchronous import AsynchronousLearner
from prefine.models.data.partition import LEAST_HELD_OUT
from prefine.models.federation import Federation, stretches
from prefine.models.objective import Batch, Objective, evenly

DISTORTION = 0.25
"""Standard deviation of the entries by which the pseudo-task's random linear map differs from the identity."""

MOST_HELD_OUT = 400
"""General samples that validate one rehearsal at most: more tell scores apart better and cost an evaluation each."""


def held_out(whole: Federation, fold: Fold, generator: np.random.Generator) -> Federation:
    """``whole`` without the task samples of ``fold``, which become its test samples.

    ``generator`` deals each device's samples over the folds, evenly over all devices. A device with two samples or
    more keeps one in every fold, a device with a single one never lends it. Raises InputError where a fold would hold
    fewer than two samples.
    """
    kept, held, dealt = [], [], 0
    for part in whole.parts:
        order = generator.permutation(part)
        if len(part) < 2:
            kept.append(part)
            continue
        out = (dealt + np.arange(len(part))) % fold.folds == fold.number % fold.folds
        dealt += len(part)
        kept.append(np.sort(order[~out]))
        held.append(order[out])
    if dealt < LEAST_HELD_OUT * fold.folds:
        raise InputError(
            f"task.samples: {dealt} on devices that hold two or more; rehearsing with {fold.folds} folds needs "
            f"{LEAST_HELD_OUT * fold.folds}"
        )
    return Federation(
        whole.general,
        evenly(whole.task, np.concatenate(kept)),
        evenly(whole.task, np.concatenate(held)),
        stretches(kept),
    )


def imagined(whole: Federation, fold: Fold, generator: np.random.Generator) -> Federation:
    """A federation made of the general samples of ``whole`` alone.

    A part of them stands in for the task: shifted on purpose by a random linear map, spread at random over as many
    devices with as many samples each (fewer where that would take more than half). Further ones, shifted alike, are
    its test samples. Raises InputError where there are too few.
    """
    general = whole.general
    sizes = np.array([len(part) for part in whole.parts])
    most = len(general) // 2
    if most < len(sizes) + LEAST_HELD_OUT:
        raise InputError(
            f"task.data: {len(general)} general samples; rehearsing on them with {len(sizes)} devices needs "
            f"{2 * (len(sizes) + LEAST_HELD_OUT)}"
        )
    held = min(MOST_HELD_OUT, max(LEAST_HELD_OUT, most // 4))
    sizes = np.maximum(1, np.floor(sizes * min(1.0, (most - held) / sizes.sum()))).astype(np.int64)
    order = generator.permutation(len(general))
    parts = np.split(order[: sizes.sum()], np.cumsum(sizes)[:-1])
    test = order[sizes.sum() : sizes.sum() + held]
    rest = order[sizes.sum() + held :]
    shift = _shift(general.x, generator)
    task, validation = (_shifted(evenly(general, rows), shift) for rows in (np.concatenate(parts), test))
    return Federation(evenly(general, np.sort(rest)), task, validation, stretches(parts))


def train(
    schedules: Sequence[Schedule], objective: Objective, learner: Callable[[], AsynchronousLearner]
) -> tuple[list[Validation], int]:
    """Each schedule from the objective's present weights, validated on the test samples; and the rounds that took.

    ``learner`` makes new learners on ``objective``, which is left as it was. Schedules with the same server batch share
    one path of pre-training; the numbers of a schedule are those that it would have alone.
    """
    results: dict[int, Validation] = {}
    trained = 0
    for batch in sorted({schedule.server_batch for schedule in schedules}):
        ordered = sorted((s.pretrain_rounds, index) for index, s in enumerate(schedules) if s.server_batch == batch)
        with objective.at(objective.weights):
            path, done = learner(), 0
            for rounds, index in ordered:
                for _ in range(rounds - done):
                    path.pretrain(batch)
                with objective.at(objective.weights):
                    results[index] = _finetuned(path, schedules[index], learner).validate()
                trained += rounds - done + schedules[index].updates
                done = rounds
    return [results[index] for index in range(len(schedules))], trained


def _finetuned(
    path: AsynchronousLearner, schedule: Schedule, learner: Callable[[], AsynchronousLearner]
) -> AsynchronousLearner:
    """What becomes of ``path`` in fine-tuning, which leaves the path itself as it is but for the objective."""
    if not schedule.finetuning:
        return path
    branch = learner()
    branch.continue_from(path)
    for told in schedule.finetuning:
        getattr(branch, told.method)(*told.arguments)
    return branch


def _shift(x: Tensor, generator: np.random.Generator) -> Tensor:
    """A random map near the identity: of the plane (2, 2) for images, else a factor for each feature (d,)."""
    if x.ndim == 4:
        return torch.from_numpy(np.eye(2) + DISTORTION * generator.standard_normal((2, 2)))
    return torch.from_numpy(1.0 + DISTORTION * generator.standard_normal(x[0].numel()))


def _shifted(batch: Batch, shift: Tensor) -> Batch:
    """``batch`` seen through ``shift``: images stretched, turned and sheared about their centre, features scaled."""
    x = batch.x
    if x.ndim == 4:
        plane = torch.cat([shift.to(x), x.new_zeros(2, 1)], dim=1).expand(len(x), 2, 3)
        grid = torch.nn.functional.affine_grid(plane, list(x.shape), align_corners=False)
        return Batch(torch.nn.functional.grid_sample(x, grid, align_corners=False), batch.y, batch.share)
    return Batch(x * shift.to(x).view(x.shape[1:]), batch.y, batch.share)
