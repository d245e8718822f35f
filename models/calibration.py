"""A calibration run: both stages trained once with plain SGD, offline, measuring the bound's constants on the way.

Each measured quantity is defined in docs/learning.md, "The constants of the bound".
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from scipy.optimize import minimize

from prefine.emulator.randomness import stream
from prefine.emulator.types import CalibrationWork, FloatArray
from prefine.models.federation import Federation
from prefine.models.learner import Learner, plain_sgd
from prefine.models.objective import Batch, Objective
from prefine.models.probes import GradientNoise, Hessian, Probes, gradient_noise, top_curvature
from prefine.models.recipe import Step
from prefine.models.task_gap import BATCHES
from prefine.models.tuning import Tuning

Stage = Literal["pretrain", "finetune"]

ROUNDS = 200
"""Of each stage."""

PROBE_EVERY = 20
"""Rounds between two points at which everything is measured."""

EARLY_SHIFT = (3, 7, 13, 30)
"""Further rounds at which the shift is measured: designs choose between few rounds of pre-training."""

SERVER_BATCH = 32
"""Samples of a pre-training round."""

DEVICE_SAMPLES = 160
"""Samples of a fine-tuning round, over all devices."""

PROBED = 1000
"""General samples, at most, on which curvature and noise are measured."""

CURVED = 512
"""Task samples, at most, of the Hessian that the noise meets: bounds the work where devices hold much."""

PROBE_COUNT = 8
"""Random directions at each point: their error averages out over points and runs."""


class DivergedError(ValueError):
    """The training left the finite numbers: the step was too long."""


@dataclass(frozen=True)
class Trajectory:
    """What one calibration run saw; each array has one row per measured point.

    ``smoothness`` (2p,) over both stages; over pre-training ``shift`` (q,) at ``shift_rounds`` (q,) and
    ``server_variance``, ``server_curved`` (p,); over fine-tuning ``device_variance``, ``device_curved`` (p, K). What is
    curved is tr(H C), H the task loss's Hessian and C the covariance whose trace the variance is. ``lowest_loss`` is
    the least F found.
    """

    smoothness: FloatArray
    shift_rounds: FloatArray
    shift: FloatArray
    server_variance: FloatArray
    server_curved: FloatArray
    device_variance: FloatArray
    device_curved: FloatArray
    lowest_loss: float


def training_of(searches: int, runs: int, gaps: int, devices: int) -> CalibrationWork:
    """What all that was run trained, with ``devices`` devices.

    That is ``searches`` (calls of `largest_curvature`), ``runs`` (of `measure`), and ``gaps`` (of `task_losses`). One
    that diverged counts as a whole.
    """
    both = (searches + runs) * ROUNDS
    pretrain = dict.fromkeys(BATCHES, gaps * ROUNDS)
    pretrain[SERVER_BATCH] += both
    return CalibrationWork(
        runs=searches + runs,
        searches=searches,
        pretrain=tuple(pretrain.items()),
        finetune=((_device_batch(devices), both),),
    )


def measure(federation: Federation, objective: Objective, tuning: Tuning, rate: float, seed: int) -> Trajectory:
    """Train at step size ``rate`` from the objective's present weights and measure.

    Pre-training: curvature of F0 and F, |grad F0 - grad F|^2, noise of F0's sample gradients (on at most 1,000 general
    samples); fine-tuning, in the space of what ``tuning`` moves: curvature of F and each device's noise over all its
    samples.

    Raises DivergedError where the loss does not stay finite.
    """
    learner = _learner(federation, objective, tuning, rate, seed)
    curvature = _Curvature(federation, learner, seed)
    smoothness, shifts, server, devices = [], [], [], []
    for stage, done in _train(federation, learner):
        if stage == "pretrain" and _looks_at_shift(done):
            shifts.append((done, _shift(objective, federation)))
        if done % PROBE_EVERY:
            continue
        smoothness.append(curvature.along(stage))
        if stage == "pretrain":
            server.append(gradient_noise(objective, curvature.general, curvature.probes()))
        else:
            devices.append(_device_noise(learner.objective, federation, curvature.probes()))
    shift_rounds, shift = np.array(shifts).T
    device_noise = np.array(devices)
    return Trajectory(
        smoothness=np.array(smoothness),
        shift_rounds=shift_rounds,
        shift=shift,
        server_variance=np.array([noise.variance for noise in server]),
        server_curved=np.array([noise.curved for noise in server]),
        device_variance=device_noise[:, :, 0],
        device_curved=device_noise[:, :, 1],
        lowest_loss=lowest_loss(learner.objective, federation.task),
    )


def largest_curvature(federation: Federation, objective: Objective, tuning: Tuning, rate: float, seed: int) -> float:
    """The largest ``smoothness`` that `measure` would see, without the rest; raises DivergedError as it does."""
    learner = _learner(federation, objective, tuning, rate, seed)
    curvature = _Curvature(federation, learner, seed)
    return max(curvature.along(stage) for stage, done in _train(federation, learner) if done % PROBE_EVERY == 0)


def _train(federation: Federation, learner: Learner) -> Iterator[tuple[Stage, int]]:
    """Both stages; stops before each round, with the stage and its rounds done so far."""
    weights = np.array(federation.weights)
    batches = np.full(len(weights), _device_batch(len(weights)))
    for done in range(ROUNDS):
        yield "pretrain", done
        learner.pretrain(SERVER_BATCH)
    learner.hand_over()
    for done in range(ROUNDS):
        yield "finetune", done
        learner.finetune(batches, weights)
    _check_finite(learner.objective, federation)


def _device_batch(devices: int) -> int:
    return max(1, DEVICE_SAMPLES // devices)


def _learner(federation: Federation, objective: Objective, tuning: Tuning, rate: float, seed: int) -> Learner:
    return plain_sgd(federation, objective, tuning, Step(objective.weights, rate, momentum=0.0, decay=0.0), seed)


def _looks_at_shift(done: int) -> bool:
    return done % PROBE_EVERY == 0 or done in EARLY_SHIFT


def _check_finite(objective: Objective, federation: Federation) -> None:
    """Raises DivergedError where the task loss is not finite."""
    if not np.isfinite(objective.loss(federation.task)):
        raise DivergedError("the training of a calibration run diverges")


class _Curvature:
    """Curvature where ``learner`` is; each search for an eigenvalue starts from the last vector of its data set.

    ``general`` is what stands for the general data: a part of it where it is large.
    """

    def __init__(self, federation: Federation, learner: Learner, seed: int) -> None:
        self._federation, self._learner = federation, learner
        self.general = _sample(federation.general, PROBED, seed, "probed", learner.objective)
        self._curved = _sample(federation.task, CURVED, seed, "curved", learner.objective)
        self._first = stream(seed, "curvature").standard_normal(len(learner.objective.weights))
        self._last: dict[tuple[str, int], FloatArray] = {}
        self._signs = stream(seed, "probes")

    def along(self, stage: Stage) -> float:
        """Of the task, and while pre-training of the general data if that is larger."""
        _check_finite(self._learner.objective, self._federation)
        general = self._of("general", self.general) if stage == "pretrain" else 0.0
        return max(general, self.task())

    def task(self) -> float:
        """Of the task loss F."""
        return self._of("task", self._federation.task)

    def probes(self) -> Probes:
        """Fresh ones, of the task loss's Hessian."""
        objective = self._learner.objective
        return Probes.of(Hessian(objective, self._curved), PROBE_COUNT, objective.weights, self._signs)

    def _of(self, name: str, batch: Batch) -> float:
        """Of F over ``batch``, the data set called ``name``."""
        objective = self._learner.objective
        key = name, len(objective.weights)
        start = self._last.get(key, np.resize(self._first, len(objective.weights)))
        value, self._last[key] = top_curvature(objective, batch, start)
        return value


def _sample(batch: Batch, most: int, seed: int, purpose: str, objective: Objective) -> Batch:
    """At most so many samples of ``batch``, drawn without replacement, each with the same share."""
    few = torch.from_numpy(stream(seed, purpose).permutation(len(batch))[:most])
    return batch.take(few, torch.full((len(few),), 1.0 / len(few), dtype=objective.weights.dtype))


def _shift(objective: Objective, federation: Federation) -> float:
    """|grad F0 - grad F|^2 over all general and all task data; the weight decay cancels."""
    objective.full_gradient(federation.general)
    general = objective.gradient.clone()
    objective.full_gradient(federation.task)
    return float((general - objective.gradient).double().square().sum())


def _device_noise(objective: Objective, federation: Federation, probes: Probes) -> list[GradientNoise]:
    held = (torch.from_numpy(part) for part in federation.parts)
    return [gradient_noise(objective, federation.task.take(rows, torch.ones(len(rows))), probes) for rows in held]


def initial_curvature(federation: Federation, objective: Objective, seed: int) -> float:
    """The largest eigenvalue of the task loss's Hessian at the objective's present weights."""
    first = stream(seed, "curvature").standard_normal(len(objective.weights))
    return top_curvature(objective, federation.task, first)[0]


def lowest_loss(objective: Objective, batch: Batch) -> float:
    """An upper estimate of min F: what L-BFGS reaches from the present weights (they are left as they were)."""

    def value(weights: FloatArray) -> tuple[float, FloatArray]:
        with objective.at(torch.from_numpy(weights)):
            loss = objective.full_gradient(batch)
        return loss, objective.gradient.to(torch.float64, copy=True).numpy()

    start = objective.weights.to(torch.float64, copy=True).numpy()
    found = minimize(value, start, jac=True, method="L-BFGS-B", options={"maxiter": 300})
    return float(found.fun)
