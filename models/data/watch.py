"""What somebody with a watch on the wrist is doing: five people as general data, five others as the task.

Seven exercises of the shoulder, recorded at 50 Hz by accelerometer and gyroscope of a smartwatch, ten people, on each
arm once (Burns et al., 2018; inside the package seglearn). A sample is two seconds of the six signals, thinned to 24
steps of 80 ms, (1, 6, 24); neighbours overlap by half. Signals are standardised by the general data. A sample's source
is person and arm. The last fifth of each of the task's recordings is held out: no sample reaches over the cut.
"""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prefine.emulator.errors import InputError
from prefine.models.data.samples import DataPair, Samples

PACKAGE, FILE = "seglearn", "data/watch_dataset.npy"

GENERAL_PEOPLE = 5
HELD_OUT = 0.2

THINNING = 4
"""Readings that are averaged to a step."""

STEPS, STRIDE = 24, 12
"""Of a sample, and from one sample to the next."""


def other_people() -> DataPair:
    """2,289 general samples, 2,052 for the task and 442 held out; x has shape (n, 1, 6, 24), 7 classes, 10 sources.

    Raises InputError where seglearn is not installed.
    """
    recordings = _recordings()
    readings = [_thinned(np.asarray(each, np.float32)) for each in recordings["X"]]
    exercise, person = np.asarray(recordings["y"]), np.asarray(recordings["subject"])
    source = 2 * person + np.asarray(recordings["side"], dtype=np.int64)
    general, task = np.flatnonzero(person <= GENERAL_PEOPLE), np.flatnonzero(person > GENERAL_PEOPLE)
    known = np.concatenate([readings[number] for number in general])
    readings = [(each - known.mean(axis=0)) / known.std(axis=0) for each in readings]
    cuts = [int((1.0 - HELD_OUT) * len(each)) for each in readings]

    def samples(numbers: NDArray[np.int64], parts: list[NDArray[np.float32]]) -> Samples:
        windows = [_windows(parts[number]) for number in numbers]
        each = np.repeat(numbers, [len(part) for part in windows])
        return Samples(np.concatenate(windows), exercise[each], source[each])

    return DataPair(
        name="watch, to other people",
        kind="classification",
        outputs=int(exercise.max()) + 1,
        general=samples(general, readings),
        task=samples(task, [each[:cut] for each, cut in zip(readings, cuts, strict=True)]),
        test=samples(task, [each[cut:] for each, cut in zip(readings, cuts, strict=True)]),
    )


def _recordings() -> dict[str, Any]:
    """Lists by name, one entry a recording. The file alone is read: importing the package takes seconds."""
    package = importlib.util.find_spec(PACKAGE)
    if package is None or package.origin is None:
        raise InputError("task.data = \"watch\" needs seglearn: pip install 'prefine[sensors]'")
    made: dict[str, Any] = np.load(Path(package.origin).parent / FILE, allow_pickle=True).item()
    return made


def _thinned(readings: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, signals) to (n / `THINNING`, signals) by averaging."""
    steps = len(readings) // THINNING
    thinned: NDArray[np.float32] = readings[: steps * THINNING].reshape(steps, THINNING, -1).mean(axis=1)
    return thinned


def _windows(steps: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, signals) to (windows, 1, signals, `STEPS`)."""
    starts = np.arange(0, len(steps) - STEPS + 1, STRIDE)
    windows: NDArray[np.float32] = steps[starts[:, None] + np.arange(STEPS)].transpose(0, 2, 1)[:, None]
    return windows
