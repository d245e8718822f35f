"""How pre-training closes the task gap: the same model pre-trained with three server batches, as the recipe trains.

Phi_FT predicts the training that really happens, so its constants are those of the recipe's own steps, not of the
bound's plain SGD (docs/learning.md, "Task gap").
"""

import math

import numpy as np

from prefine.emulator.scenario.training import TrainingSettings
from prefine.emulator.types import FloatArray
from prefine.emulator.watch import advance
from prefine.models.federation import Federation
from prefine.models.learner import Learner, plain_sgd
from prefine.models.objective import Objective
from prefine.models.pilot import BATCHES, LOSS, Pilot, looked_at
from prefine.models.recipe import Step, real_rate
from prefine.models.tuning import Everything

WORST = 4.0
"""A loss counts as at most so many times the first one: how far training flies apart says no more about noise."""


def batches() -> FloatArray:
    """The server batches of `task_losses`, in its order, (3,)."""
    return np.array(BATCHES, dtype=np.float64)


def task_losses(
    federation: Federation, objective: Objective, training: TrainingSettings, pilot: Pilot, smoothness: float, seed: int
) -> FloatArray:
    """F at the rounds ``pilot.losses_at`` of pre-training with each of `BATCHES`, (3, m), by the recipe ``training``.

    ``smoothness`` is L, which its step size may depend on. Starts from the objective's present weights and leaves them.
    """
    federation = looked_at(federation, pilot.held, seed)
    rate = real_rate(training.learning_rate, training.bound_rate(smoothness))
    initial = objective.weights.clone()
    losses = []
    for batch in BATCHES:
        with objective.at(initial):
            step = Step(objective.weights, rate, training.momentum, training.decay)
            learner = plain_sgd(federation, objective, Everything(), step, seed)
            losses.append(_course(federation, objective, learner, batch, pilot))
    return np.array(losses)


def _course(federation: Federation, objective: Objective, learner: Learner, batch: int, pilot: Pilot) -> list[float]:
    losses: list[float] = []
    for done in range(pilot.rounds + 1):
        if done % pilot.loss_every == 0:
            loss = objective.loss(federation.task)
            advance(LOSS * len(federation.task))
            losses.append(min(loss, WORST * (losses or [loss])[0]) if math.isfinite(loss) else WORST * losses[0])
        if done < pilot.rounds:
            learner.pretrain(batch)
            advance(batch)
    return losses
