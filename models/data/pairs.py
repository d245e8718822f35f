"""The data pair a scenario asks for: loaded, shifted, and with its subset of task samples."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from prefine.emulator.randomness import stream
from prefine.models.data import files, shift
from prefine.models.data.cars import american_to_imported
from prefine.models.data.digits import mnist_to_uci, uci_halves
from prefine.models.data.samples import DataPair, Samples

NAMES = ("digits", "digits-halved", "cars")


def load(task: Mapping[str, Any], seed: int) -> DataPair:
    """The pair of the scenario's ``[task]``; ``seed`` draws its task samples and its synthetic shift.

    Raises ValueError where the settings do not fit the data, OSError where a file cannot be read.
    """
    pair = shift.apply(_pair(task["data"], task["stretch_columns"]), task["shift"], stream(seed, "shift"))
    return replace(pair, task=_subset(pair.task, task["samples"], seed))


def _pair(data: str, stretch_columns: int) -> DataPair:
    if data == "digits":
        return mnist_to_uci(stretch_columns)
    if data == "digits-halved":
        return uci_halves()
    if data == "cars":
        return american_to_imported()
    if Path(data).exists():
        return files.load(Path(data))
    raise ValueError(f"data {data!r} is neither one of {', '.join(NAMES)} nor a .npz file or folder")


def _subset(samples: Samples, count: int | None, seed: int) -> Samples:
    if count is None:
        return samples
    if count > len(samples):
        raise ValueError(f"samples = {count}, but the task has {len(samples)}")
    return samples.take(stream(seed, "task subset").permutation(len(samples))[:count])
