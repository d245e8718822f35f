"""The data pair a scenario asks for: loaded, shifted, and with its subset of task samples."""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from prefine.emulator.files import is_there
from prefine.emulator.loading import own_file
from prefine.emulator.randomness import stream
from prefine.emulator.scenario.task import TaskSettings
from prefine.models.data import factory, files, shift
from prefine.models.data.cars import american_to_imported
from prefine.models.data.digits import mnist_to_uci, uci_halves
from prefine.models.data.letters import help_to_descriptions
from prefine.models.data.samples import DataPair, Samples
from prefine.models.data.watch import other_people

NAMES = ("digits", "digits-halved", "cars", "letters", "watch")


def load(task: TaskSettings, folder: Path, seed: int) -> DataPair:
    """The pair of ``task``; a path to the user's own data starts from ``folder``.

    ``seed`` draws the task samples and the synthetic shift. Raises ValueError where the settings do not fit the data,
    OSError where a file cannot be read.
    """
    pair = shift.apply(_pair(task.data, task.stretch_columns, folder), task.shift, stream(seed, "shift"))
    return replace(pair, task=_subset(pair.task, task.samples, seed))


def _pair(data: str, stretch_columns: int, folder: Path) -> DataPair:
    if own_file(data):
        return factory.load(data, folder)
    if is_there(folder / data):
        return files.load(folder / data)
    if data not in NAMES:
        raise ValueError(
            f"data {data!r} is neither one of {', '.join(NAMES)} nor a .npz file, a folder or path/to/file.py:factory"
        )
    return _bundled(data, stretch_columns if data == "digits" else 0)


@lru_cache(maxsize=len(NAMES))
def _bundled(data: str, stretch_columns: int) -> DataPair:
    """One of `NAMES`, prepared once in a process for all the scenarios of a sweep; nobody writes to it."""
    if data == "digits":
        return mnist_to_uci(stretch_columns)
    if data == "digits-halved":
        return uci_halves()
    if data == "cars":
        return american_to_imported()
    if data == "letters":
        return help_to_descriptions()
    return other_people()


def _subset(samples: Samples, count: int | None, seed: int) -> Samples:
    if count is None:
        return samples
    if count > len(samples):
        raise ValueError(f"samples = {count}, but the task has {len(samples)}")
    return samples.take(stream(seed, "task subset").permutation(len(samples))[:count])
