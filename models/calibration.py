"""A calibration run: both stages trained once with plain SGD, offline, measuring the bound's constants on the way.

Each measured quantity is defined in docs/learning.md, "The constants of the bound".
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy  # its parts are loaded where they are first named
import torch

from prefine.emulator.randomness import stream
from prefine.emulator.types import CalibrationWork, FloatArray
from prefine.emulator.watch import advance
from prefine.models.federation import Federation
from prefine.models.learner import Learner, plain_sgd
from prefine.models.objective import Batch, Objective
from prefine.models.pilot import (
    BATCHES,
    DEVICE_SAMPLES,
    NOISE,
    PROBE_COUNT,
    PRODUCT,
    PRODUCTS,
    SERVER_BATCH,
    Pilot,
    looked_at,
    sample,
    shares_of,
)
from prefine.models.probes import GradientNoise, Hessian, Probes, gradient_noise, top_curvature
from prefine.models.recipe import Step
from prefine.models.tuning import Tuning

Stage = Literal["pretrain", "finetune"]


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


def training_of(pilot: Pilot, searches: int, runs: int, devices: int) -> CalibrationWork:
    """What all that was run trained, with ``devices`` devices.

    That is ``searches`` (calls of `largest_curvature`), ``runs`` (of `measure`), and the task losses of ``pilot``. One
    that diverged counts as a whole.
    """
    both = (searches + runs) * pilot.rounds
    pretrain = dict.fromkeys(BATCHES, pilot.runs * pilot.rounds)
    pretrain[SERVER_BATCH] += both
    return CalibrationWork(
        runs=searches + runs,
        searches=searches,
        pretrain=tuple(pretrain.items()),
        finetune=((_device_batch(devices), both),),
    )


def measure(
    federation: Federation, objective: Objective, tuning: Tuning, pilot: Pilot, rate: float, seed: int
) -> Trajectory:
    """Train at step size ``rate`` from the objective's present weights and measure, as closely as ``pilot`` looks.

    Pre-training: curvature of F0 and F, |grad F0 - grad F|^2, noise of F0's sample gradients; fine-tuning, in the space
    of what ``tuning`` moves: curvature of F and each device's noise.

    Raises DivergedError where the loss does not stay finite.
    """
    federation = looked_at(federation, pilot.held, seed)
    learner = _learner(federation, objective, tuning, rate, seed)
    curvature = _Curvature(federation, learner, pilot, seed)
    held, sizes = _held(federation, pilot.task, seed), [len(part) for part in federation.parts]
    smoothness, shifts, server, devices = [], [], [], []
    for stage, done in _train(federation, learner, pilot.rounds):
        if stage == "pretrain" and pilot.looks_at_shift(done):
            shifts.append((done, _shift(objective, federation)))
        if done % pilot.probe_every:
            continue
        smoothness.append(curvature.along(stage))
        if stage == "pretrain":
            server.append(gradient_noise(objective, curvature.general, curvature.probes()))
        else:
            probes = curvature.probes()
            devices.append([_noise(learner.objective, own, of, probes) for own, of in zip(held, sizes, strict=True)])
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
        lowest_loss=lowest_loss(learner.objective, federation.task, pilot.descents),
    )


def largest_curvature(
    federation: Federation, objective: Objective, tuning: Tuning, pilot: Pilot, rate: float, seed: int
) -> float:
    """The largest ``smoothness`` that `measure` would see, without the rest; raises DivergedError as it does."""
    federation = looked_at(federation, pilot.held, seed)
    learner = _learner(federation, objective, tuning, rate, seed)
    curvature = _Curvature(federation, learner, pilot, seed)
    rounds = _train(federation, learner, pilot.rounds)
    return max(curvature.along(stage) for stage, done in rounds if done % pilot.probe_every == 0)


def _train(federation: Federation, learner: Learner, rounds: int) -> Iterator[tuple[Stage, int]]:
    """``rounds`` of both stages; stops before each round, with the stage and its rounds done so far."""
    weights = np.array(federation.weights)
    batches = np.full(len(weights), _device_batch(len(weights)))
    for done in range(rounds):
        yield "pretrain", done
        learner.pretrain(SERVER_BATCH)
        advance(SERVER_BATCH)
    learner.hand_over()
    for done in range(rounds):
        yield "finetune", done
        learner.finetune(batches, weights)
        advance(DEVICE_SAMPLES)
    _check_finite(learner.objective, federation)


def _device_batch(devices: int) -> int:
    return max(1, DEVICE_SAMPLES // devices)


def _learner(federation: Federation, objective: Objective, tuning: Tuning, rate: float, seed: int) -> Learner:
    return plain_sgd(federation, objective, tuning, Step(objective.weights, rate, momentum=0.0, decay=0.0), seed)


def _check_finite(objective: Objective, federation: Federation) -> None:
    """Raises DivergedError where the task loss is not finite."""
    if not np.isfinite(objective.loss(federation.task)):
        raise DivergedError("the training of a calibration run diverges")


class _Curvature:
    """Curvature where ``learner`` is; each search for an eigenvalue starts from the last vector of its data set.

    ``general`` is what stands for the general data: the part of it that the pilot looks at.
    """

    def __init__(self, federation: Federation, learner: Learner, pilot: Pilot, seed: int) -> None:
        self._federation, self._learner = federation, learner
        self.general = sample(federation.general, pilot.general, seed, "probed")
        self._task = federation.task
        if pilot.task < len(federation.task):
            self._task = sample(federation.task, pilot.task, seed, "bent")
        self._curved = sample(federation.task, pilot.curved, seed, "curved")
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
        return self._of("task", self._task)

    def probes(self) -> Probes:
        """Fresh ones, of the task loss's Hessian."""
        objective = self._learner.objective
        advance(PRODUCT * PROBE_COUNT * len(self._curved))
        return Probes.of(Hessian(objective, self._curved), PROBE_COUNT, objective.weights, self._signs)

    def _of(self, name: str, batch: Batch) -> float:
        """Of F over ``batch``, the data set called ``name``."""
        objective = self._learner.objective
        key = name, len(objective.weights)
        start = self._last.get(key, np.resize(self._first, len(objective.weights)))
        value, self._last[key] = top_curvature(objective, batch, start)
        advance(PRODUCT * PRODUCTS * len(batch))
        return value


def _shift(objective: Objective, federation: Federation) -> float:
    """|grad F0 - grad F|^2 over all general and all task data; the weight decay cancels."""
    advance(len(federation.general) + len(federation.task))
    objective.full_gradient(federation.general)
    general = objective.gradient.clone()
    objective.full_gradient(federation.task)
    return float((general - objective.gradient).double().square().sum())


def _held(federation: Federation, most: int, seed: int) -> list[Batch]:
    """Each device's samples on which its noise is measured: about ``most`` over all devices."""
    counts = shares_of(most, [len(part) for part in federation.parts])
    rows = [
        part if count == len(part) else stream(seed, "noise", device).permutation(part)[:count]
        for device, (part, count) in enumerate(zip(federation.parts, counts, strict=True))
    ]
    return [federation.task.take(torch.from_numpy(own), torch.ones(len(own))) for own in rows]


def _noise(objective: Objective, few: Batch, size: int, probes: Probes) -> GradientNoise:
    """Of a draw from all ``size`` samples, estimated without bias from ``few`` of them."""
    noise = gradient_noise(objective, few, probes)
    advance(NOISE * len(few))
    if 1 < len(few) < size:
        correction = len(few) / (len(few) - 1) * (size - 1) / size
        return GradientNoise(correction * noise.variance, correction * noise.curved)
    return noise


def initial_curvature(federation: Federation, objective: Objective, seed: int) -> float:
    """The largest eigenvalue of the task loss's Hessian at the objective's present weights."""
    first = stream(seed, "curvature").standard_normal(len(objective.weights))
    return top_curvature(objective, federation.task, first)[0]


def lowest_loss(objective: Objective, batch: Batch, descents: int = Pilot.descents) -> float:
    """An upper estimate of min F: what ``descents`` steps of L-BFGS reach from the present weights, which stay."""

    def value(weights: FloatArray) -> tuple[float, FloatArray]:
        advance(len(batch))
        with objective.at(torch.from_numpy(weights)):
            loss = objective.full_gradient(batch)
        return loss, objective.gradient.to(torch.float64, copy=True).numpy()

    start = objective.weights.to(torch.float64, copy=True).numpy()
    found = scipy.optimize.minimize(value, start, jac=True, method="L-BFGS-B", options={"maxiter": descents})
    return float(found.fun)
