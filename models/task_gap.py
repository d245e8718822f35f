"""How pre-training closes the task gap: the same model pre-trained with three server batches, as the recipe trains.

Phi_FT predicts the training that really happens, so its constants are those of the recipe's own steps, not of the
bound's plain SGD (docs/learning.md, "Task gap").
"""

import math

import numpy as np

from prefine.emulator.scenario.training import TrainingSettings
from prefine.emulator.types import FloatArray
from prefine.models.federation import Federation
from prefine.models.learner import Learner, plain_sgd
from prefine.models.objective import Objective
from prefine.models.recipe import Step, real_rate
from prefine.models.tuning import Everything

BATCHES = (32, 8, 128)
"""Server batches; three tell noise, which a larger batch removes, from a floor, which it does not."""

EVERY = 5
"""Rounds between two values of the task loss."""

WORST = 4.0
"""A loss counts as at most so many times the first one: how far training flies apart says no more about noise."""


def batches() -> FloatArray:
    """The server batches of `task_losses`, in its order, (3,)."""
    return np.array(BATCHES, dtype=np.float64)


def looked_at(rounds: int) -> FloatArray:
    """The rounds of pre-training at which `task_losses` looks, (m,)."""
    return np.arange(0.0, rounds + 1.0, EVERY)


def task_losses(
    federation: Federation, objective: Objective, training: TrainingSettings, smoothness: float, seed: int, rounds: int
) -> FloatArray:
    """F at the rounds `looked_at` of pre-training with each of `BATCHES`, (3, m), by the recipe ``training``.

    ``smoothness`` is L, which its step size may depend on. Starts from the objective's present weights and leaves them.
    """
    rate = real_rate(training.learning_rate, training.bound_rate(smoothness))
    initial = objective.weights.clone()
    losses = []
    for batch in BATCHES:
        with objective.at(initial):
            step = Step(objective.weights, rate, training.momentum, training.decay)
            learner = plain_sgd(federation, objective, Everything(), step, seed)
            losses.append(_course(federation, objective, learner, batch, rounds))
    return np.array(losses)


def _course(federation: Federation, objective: Objective, learner: Learner, batch: int, rounds: int) -> list[float]:
    losses: list[float] = []
    for done in range(rounds + 1):
        if done % EVERY == 0:
            loss = objective.loss(federation.task)
            losses.append(min(loss, WORST * (losses or [loss])[0]) if math.isfinite(loss) else WORST * losses[0])
        if done < rounds:
            learner.pretrain(batch)
    return losses
