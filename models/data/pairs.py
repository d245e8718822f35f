"""The data pair a scenario asks for, with its subset of task samples."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from models.data.digits import mnist_to_uci, uci_halves
from models.records import DataPair, Samples

NAMES = ("digits", "digits-halved")


def load(task: Mapping[str, Any], generator: np.random.Generator) -> DataPair:
    """The pair of the scenario's ``[task]``, its task samples drawn by ``generator``.

    Raises ValueError where the settings do not fit the data, OSError where a file cannot be read.
    """
    pair = _pair(task)
    return replace(pair, task=_subset(pair.task, task["samples"], generator))


def _pair(task: Mapping[str, Any]) -> DataPair:
    if task["data"] == "digits":
        return mnist_to_uci(task["stretch_columns"])
    if task["data"] == "digits-halved":
        return uci_halves()
    raise ValueError(f"data {task['data']!r} is unknown; use one of {', '.join(NAMES)}")


def _subset(samples: Samples, count: int | None, generator: np.random.Generator) -> Samples:
    if count is None:
        return samples
    if count > len(samples):
        raise ValueError(f"samples = {count}, but the task has {len(samples)}")
    return samples.take(generator.permutation(len(samples))[:count])
