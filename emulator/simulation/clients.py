"""What a run meant for each device: its share of the work, and the model's worth on its own data."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from prefine.emulator.device_table import Column, DeviceTable
from prefine.emulator.records import ClientRecord
from prefine.emulator.types import ClientLearner, ClientResults, FloatArray, IntArray, Learner, PopulationLearner

WORST = 0.1
"""Share of the devices whose mean is that of the worst off (at least one device)."""


def client_records(learner: Learner, devices: IntArray, rounds: DeviceTable) -> tuple[ClientRecord, ...]:
    """A record of each of ``devices`` (K,), rising, from what they did in ``rounds`` and what ``learner`` says.

    What a learner does not know of single devices is NaN, with no samples.
    """
    count = len(devices)
    told = _told(learner, devices)
    who, of = np.searchsorted(devices, rounds.columns["device"]), (rounds.delivered, rounds.energy_j)
    done, energy_j = (np.bincount(who, weights=column, minlength=count) for column in of)
    columns = (devices, told.samples, done.astype(np.int64), energy_j, *told[1:])
    return tuple(map(ClientRecord._make, zip(*map(_values, columns), strict=True)))


def _values(column: Column) -> list[float]:
    """Those of ``column``, with the same NaN everywhere, so that equal records compare equal."""
    values: list[float] = column.tolist()
    return [math.nan if value != value else value for value in values] if np.isnan(column).any() else values


def _told(learner: Learner, devices: IntArray) -> ClientResults:
    if isinstance(learner, PopulationLearner):
        return learner.results_of(devices)
    return learner.client_results() if isinstance(learner, ClientLearner) else _unknown(len(devices))


class Fairness(NamedTuple):
    """How evenly a model serves the devices: the ``client_accuracy_*`` of runs.csv."""

    mean: float = np.nan
    worst: float = np.nan
    std: float = np.nan
    jain: float = np.nan


def fairness(clients: Sequence[ClientRecord]) -> Fairness:
    """Over the devices with held-out samples: mean, mean of the worst tenth, standard deviation, and Jain's index.

    The index (Jain, Chiu and Hawe, 1984) is (sum x)^2 / (n sum x^2), where no accuracy is negative. NaN is unknown.
    """
    scores = np.array([client.test_accuracy for client in clients])
    scores = np.sort(scores[~np.isnan(scores)])
    if not len(scores):
        return Fairness()
    worst = scores[: max(1, int(WORST * len(scores)))]
    return Fairness(float(scores.mean()), float(worst.mean()), float(scores.std()), _jain(scores))


def _jain(values: FloatArray) -> float:
    squares = float(values @ values)
    return float(values.sum()) ** 2 / (len(values) * squares) if values[0] >= 0.0 and squares > 0.0 else np.nan


def _unknown(devices: int) -> ClientResults:
    nothing, nobody = np.full(devices, np.nan), np.zeros(devices, dtype=np.int64)
    return ClientResults(nobody, nothing, nobody, nothing, nothing)
