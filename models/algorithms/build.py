"""The algorithm that ``[training]`` names, with its parameters."""

import inspect
from pathlib import Path

from prefine.emulator.errors import InputError
from prefine.emulator.loading import find, foreign
from prefine.emulator.scenario.training import ALGORITHMS, TrainingSettings
from prefine.emulator.text import unknown
from prefine.models.algorithms.base import Algorithm


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
