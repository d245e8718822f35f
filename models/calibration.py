"""A calibration run: both stages trained once with plain SGD, offline, measuring the bound's constants on the way.

Each measured quantity is defined in docs/learning.md, "The constants of the bound".
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from scipy.optimize import curve_fit, minimize

from prefine.emulator.randomness import stream
from prefine.emulator.types import FloatArray
from prefine.models.algorithms.fedsgd import FedSGD
from prefine.models.algorithms.round import FusedRound
from prefine.models.federation import Federation
from prefine.models.learner import Learner
from prefine.models.objective import Batch, Objective
from prefine.models.probes import gradient_variance, top_curvature
from prefine.models.recipe import LastIterate, Step

Stage = Literal["pretrain", "finetune"]

ROUNDS = 200
"""Of each stage."""

PROBE_EVERY = 20
"""Rounds between two points at which everything is measured."""

SERVER_BATCH = 32
DEVICE_SAMPLES = 160
"""Samples of a fine-tuning round, over all devices."""

PROBED = 1000
"""General samples, at most, on which curvature and variance are measured."""


class DivergedError(ValueError):
    """The training left the finite numbers: the step was too long."""


@dataclass(frozen=True)
class Trajectory:
    """What one calibration run saw; each array has one row per measured point.

    ``smoothness`` (2p,) over both stages, ``discrepancy`` and ``server_variance`` (p,) over pre-training,
    ``device_variance`` (p, K) over fine-tuning. ``task_loss`` (rounds + 1,) is F after each pre-training round, from
    w_0 on; ``lowest_loss`` the least F found.
    """

    smoothness: FloatArray
    discrepancy: FloatArray
    server_variance: FloatArray
    device_variance: FloatArray
    task_loss: FloatArray
    lowest_loss: float


def measure(federation: Federation, objective: Objective, rate: float, seed: int) -> Trajectory:
    """Train at step size ``rate`` from the objective's present weights and measure.

    Pre-training: curvature of F0 and F, |grad F0 - grad F|^2, variance of F0's sample gradients (on at most 1,000
    general samples); fine-tuning: curvature of F and each device's variance over all its samples.

    Raises DivergedError where the loss does not stay finite.
    """
    curvature = _Curvature(federation, objective, seed)
    smoothness, discrepancy, server_variance, device_variance, task_loss = [], [], [], [], []
    for stage, done in _train(federation, objective, rate, seed):
        if stage == "pretrain" or done == 0:
            task_loss.append(objective.loss(federation.task))
        if done % PROBE_EVERY:
            continue
        smoothness.append(curvature.along(stage))
        if stage == "pretrain":
            discrepancy.append(_discrepancy(objective, federation))
            server_variance.append(gradient_variance(objective, curvature.general))
        else:
            device_variance.append(_device_variances(objective, federation))
    return Trajectory(
        smoothness=np.array(smoothness),
        discrepancy=np.array(discrepancy),
        server_variance=np.array(server_variance),
        device_variance=np.array(device_variance),
        task_loss=np.array(task_loss),
        lowest_loss=lowest_loss(objective, federation.task),
    )


def largest_curvature(federation: Federation, objective: Objective, rate: float, seed: int) -> float:
    """The largest ``smoothness`` that `measure` would see, without the rest; raises DivergedError as it does."""
    curvature = _Curvature(federation, objective, seed)
    rounds = _train(federation, objective, rate, seed)
    return max(curvature.along(stage) for stage, done in rounds if done % PROBE_EVERY == 0)


def _train(federation: Federation, objective: Objective, rate: float, seed: int) -> Iterator[tuple[Stage, int]]:
    """Both stages with plain SGD; stops before each round, with the stage and its rounds done so far."""
    step = Step(objective.weights, rate, momentum=0.0, decay=0.0)
    fused = FusedRound(FedSGD(), objective, federation.task)
    learner = Learner(federation, objective, fused, step, LastIterate(), seed)
    weights = np.array(federation.weights)
    batches = np.full(len(weights), max(1, DEVICE_SAMPLES // len(weights)))
    for done in range(ROUNDS):
        yield "pretrain", done
        learner.pretrain(SERVER_BATCH)
    for done in range(ROUNDS):
        yield "finetune", done
        learner.finetune(batches, weights)
    _check_finite(objective, federation)


def _check_finite(objective: Objective, federation: Federation) -> None:
    if not np.isfinite(objective.loss(federation.task)):
        raise DivergedError("the training of a calibration run diverges")


class _Curvature:
    """Top eigenvalues at the present weights; each search starts from the last eigenvector of the same data set.

    ``general`` is what stands for the general data: a part of it where it is large.
    """

    def __init__(self, federation: Federation, objective: Objective, seed: int) -> None:
        self._federation, self._objective = federation, objective
        few = stream(seed, "probed").permutation(len(federation.general))[:PROBED]
        self.general = federation.general.take(torch.from_numpy(few), torch.full((len(few),), 1.0 / len(few)))
        self.general.share = self.general.share.to(objective.weights.dtype)
        first = stream(seed, "curvature").standard_normal(len(objective.weights))
        self._last = {"general": first, "task": first}

    def along(self, stage: Stage) -> float:
        """Of the task, and while pre-training of the general data if that is larger."""
        _check_finite(self._objective, self._federation)
        general = self._of("general", self.general) if stage == "pretrain" else 0.0
        return max(general, self.task())

    def task(self) -> float:
        """Of the task loss F."""
        return self._of("task", self._federation.task)

    def _of(self, name: str, batch: Batch) -> float:
        """Of F over ``batch``, the data set called ``name``."""
        value, self._last[name] = top_curvature(self._objective, batch, self._last[name])
        return value


def _discrepancy(objective: Objective, federation: Federation) -> float:
    """|grad F0 - grad F|^2 over all general and all task data; the weight decay cancels."""
    objective.full_gradient(federation.general)
    general = objective.gradient.clone()
    objective.full_gradient(federation.task)
    return float((general - objective.gradient).double().square().sum())


def _device_variances(objective: Objective, federation: Federation) -> list[float]:
    held = (torch.from_numpy(part) for part in federation.parts)
    return [gradient_variance(objective, federation.task.take(rows, torch.ones(len(rows)))) for rows in held]


def initial_curvature(federation: Federation, objective: Objective, seed: int) -> float:
    """The largest eigenvalue of the task loss's Hessian at the objective's present weights."""
    return _Curvature(federation, objective, seed).task()


def lowest_loss(objective: Objective, batch: Batch) -> float:
    """An upper estimate of min F: what L-BFGS reaches from the present weights (they are left as they were)."""

    def value(weights: FloatArray) -> tuple[float, FloatArray]:
        with objective.at(torch.from_numpy(weights)):
            loss = objective.full_gradient(batch)
        return loss, objective.gradient.to(torch.float64, copy=True).numpy()

    start = objective.weights.to(torch.float64, copy=True).numpy()
    found = minimize(value, start, jac=True, method="L-BFGS-B", options={"maxiter": 300})
    return float(found.fun)


def fit_contraction(task_loss: FloatArray, lowest: float) -> tuple[float, float]:
    """a and G_floor of G_N = (G_0 - G_floor) exp(-a N) + G_floor, by least squares.

    ``task_loss`` (rounds + 1,) is F after each pre-training round and ``lowest`` stands for F*, so that
    G_N = task_loss[N] - lowest.
    """
    gap = task_loss - lowest
    rounds = np.arange(len(gap), dtype=np.float64)

    def curve(n: FloatArray, contraction: float, floor: float) -> FloatArray:
        result: FloatArray = (gap[0] - floor) * np.exp(-contraction * n) + floor
        return result

    guess = (3.0 / len(gap), float(np.clip(gap.min(), 0.0, gap[0])))
    (contraction, floor), _ = curve_fit(curve, rounds, gap, p0=guess, bounds=([1e-6, 0.0], [5.0, float(gap[0])]))
    return float(contraction), float(floor)
