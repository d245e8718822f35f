"""The algorithm that ``[training]`` names, with its parameters, and how its rounds are run."""

import inspect
from collections.abc import Sequence
from pathlib import Path

from prefine.emulator.errors import InputError
from prefine.emulator.loading import find, foreign
from prefine.emulator.scenario.training import ALGORITHMS, TrainingSettings
from prefine.emulator.text import unknown
from prefine.models.algorithms.apart import DeviceRound
from prefine.models.algorithms.base import Algorithm
from prefine.models.algorithms.fedavg import FedAvg
from prefine.models.algorithms.round import FusedRound, Round
from prefine.models.objective import Batch, Objective
from prefine.models.uploads import Exact, Upload


def algorithm_class(training: TrainingSettings, folder: Path) -> type[Algorithm]:
    """The class of ``training.algorithm``; the path of a user's own starts from ``folder``.

    Raises InputError where it cannot be found or does not know the parameters.
    """
    name, parameters = training.algorithm, training.algorithm_parameters
    found = find(name, ALGORITHMS, "algorithm", folder)
    if not inspect.isclass(found) or not issubclass(found, Algorithm):
        raise InputError(f"algorithm {name}: must be a class derived from prefine.models.algorithms.base.Algorithm")
    known = inspect.signature(found).parameters
    for key in parameters:
        if key not in known:
            raise InputError(unknown(f"training.algorithm_parameters.{key}, a parameter of {name},", key, known))
    return found


def build(found: type[Algorithm], training: TrainingSettings) -> Algorithm:
    """A new ``found`` with the parameters of ``training``.

    Raises InputError where it cannot be made, or does not take so many local steps.
    """
    name = training.algorithm
    with foreign(f"algorithm {name}:", "when it was made"):
        algorithm = found(**training.algorithm_parameters)
    if training.local_steps > algorithm.max_local_steps:
        raise InputError(
            f"training.local_steps = {training.local_steps}: algorithm {name} takes at most {algorithm.max_local_steps}"
        )
    return algorithm


def round_of(
    algorithm: Algorithm, objective: Objective, task: Batch, shares: Sequence[float], local_steps: int, upload: Upload
) -> Round:
    """How to run ``algorithm``: fused where the mean update is the gradient of one weighted mini-batch.

    That is so with one local step, exact uploads, and a client step that is nothing but SGD. ``shares`` are the
    devices' shares of the task loss.
    """
    only_sgd = type(algorithm).client_step is FedAvg.client_step
    if only_sgd and local_steps == 1 and isinstance(upload, Exact):
        return FusedRound(algorithm, objective, task)
    return DeviceRound(algorithm, objective, task, shares, local_steps, upload)
