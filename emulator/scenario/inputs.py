"""The files a scenario names, each read once and remembered."""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from prefine.emulator.channel.trace import Trace
from prefine.emulator.channel.tracefile import read_trace
from prefine.emulator.errors import InputError, PrefineError
from prefine.emulator.files import checksum
from prefine.emulator.scenario.scenario import Scenario
from prefine.emulator.simulation.availability import parse_availability
from prefine.emulator.simulation.onoff import Switches

T = TypeVar("T")


class Inputs:
    """What the files below ``folder`` say, as they were when first read; shared by all scenarios of a command.

    ``expected`` are SHA-256 checksums by name: a file that has others by now is refused.
    """

    def __init__(self, folder: Path, expected: Mapping[str, str] = MappingProxyType({})) -> None:
        self.folder = folder
        self._expected = expected
        self._known: dict[tuple[object, ...], object] = {}
        self._checksums: dict[str, str] = {}

    def trace(self, name: str) -> Trace:
        """The channel trace in file ``name``; raises InputError where it is missing or malformed."""
        trace = self._once(lambda: read_trace(self.folder / name), "trace", name)
        self._check(name, trace.sha256)
        return trace

    def availability(self, name: str, devices: int) -> Switches:
        """The availability of ``devices`` devices in file ``name``; raises InputError as `trace` does."""
        path = self.folder / name
        data = self._once(lambda: _bytes(path), "bytes", name)
        self._check(name, hashlib.sha256(data).hexdigest())
        return self._once(lambda: parse_availability(_lines(data, path), str(path), devices), "states", name, devices)

    def checksums(self, scenario: Scenario) -> tuple[tuple[str, str], ...]:
        """SHA-256 of each of the user's files that ``scenario`` reads, by the name it gives them.

        Raises InputError where a trace is missing or malformed, PrefineError where a file is not what was expected.
        """
        trace, availability, task = scenario.channel.trace, scenario.faults.availability, scenario.task
        if trace is not None:
            self.trace(trace)
        if availability is not None:
            self.availability(availability, scenario.device_count)
        names = (trace, availability, task.data, _file(task.model), _file(task.workload))
        return tuple((name, self._checksum(name)) for name in names if name and (self.folder / name).exists())

    def _checksum(self, name: str) -> str:
        if name not in self._checksums:
            self._check(name, checksum(self.folder / name))
        return self._checksums[name]

    def _check(self, name: str, sha256: str) -> None:
        if self._expected.get(name, sha256) != sha256:
            raise PrefineError(f"{self.folder / name}: has changed since the command was started; run the same again")
        self._checksums[name] = sha256

    def _once(self, read: Callable[[], T], *key: object) -> T:
        if key not in self._known:
            self._known[key] = read()
        known: T = self._known[key]  # type: ignore[assignment]  # each key has one reader
        return known


def _file(name: str) -> str:
    """The file of ``file.py:Name``; nothing of a plain name."""
    return name.rpartition(":")[0] if ".py:" in name else ""


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read as text ({error})") from error


def _lines(data: bytes, path: Path) -> list[str]:
    try:
        return data.decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: cannot be read as text ({error})") from error
