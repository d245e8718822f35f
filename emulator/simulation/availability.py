"""Availability: when each device is there. By chance, by a trace, or always; also what background work follows.

Availability traces are CSV ``time_s,device,available``, 1 while a device can take part, 0 while it cannot.
"""

import bisect
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from prefine.emulator.errors import InputError
from prefine.emulator.text import decoded, quoted

HEADER = ["time_s", "device", "available"]


class OnOff(Protocol):
    """Per device, on or off as a function of time: the same question always has the same answer, in any order."""

    @property
    def can_change(self) -> bool:
        """Whether any device is ever off."""
        ...

    def at(self, device: int, time_s: float) -> tuple[bool, float]:
        """Whether ``device`` is on at ``time_s``, and when that next changes (``inf``: never)."""
        ...


class AlwaysOn:
    """Every device is on for good."""

    can_change = False

    def at(self, device: int, time_s: float) -> tuple[bool, float]:
        """On at every time, without a next change."""
        return True, math.inf


@dataclass(frozen=True)
class Switches:
    """Given instants at which each device changes state; ``first_on[k]`` is its state before the first of them."""

    first_on: tuple[bool, ...]
    at_s: tuple[tuple[float, ...], ...]

    @property
    def can_change(self) -> bool:
        """Whether any device begins off or has an instant at which it changes."""
        return not all(self.first_on) or any(self.at_s)

    def at(self, device: int, time_s: float) -> tuple[bool, float]:
        """By bisection; a change holds from its very instant."""
        changes = self.at_s[device]
        passed = bisect.bisect_right(changes, time_s)
        return self.first_on[device] ^ (passed % 2 == 1), changes[passed] if passed < len(changes) else math.inf


class ExponentialOnOff:
    """Alternating exponential sojourns of given means, begun in the stationary state.

    One generator per device; sojourns are drawn once, in order, and remembered: the same question always has the same
    answer, in whatever order it is asked.
    """

    can_change = True

    def __init__(self, mean_on_s: float, mean_off_s: float, generator: Callable[[int], np.random.Generator]) -> None:
        self._means_s = (mean_off_s, mean_on_s)
        self._generator = generator
        self._paths: dict[int, tuple[np.random.Generator, bool, list[float]]] = {}

    def at(self, device: int, time_s: float) -> tuple[bool, float]:
        """Draws further sojourns as far as ``time_s`` needs."""
        generator, first_on, changes = self._path(device)
        while not changes or changes[-1] <= time_s:
            on = first_on ^ (len(changes) % 2 == 1)
            begin_s = changes[-1] if changes else 0.0
            changes.append(max(begin_s + generator.exponential(self._means_s[on]), math.nextafter(begin_s, math.inf)))
        passed = bisect.bisect_right(changes, time_s)
        return first_on ^ (passed % 2 == 1), changes[passed]

    def _path(self, device: int) -> tuple[np.random.Generator, bool, list[float]]:
        if device not in self._paths:
            generator = self._generator(device)
            off_s, on_s = self._means_s
            self._paths[device] = (generator, bool(generator.random() < on_s / (on_s + off_s)), [])
        return self._paths[device]


def availability_of(data: bytes, source: str, devices: int) -> Switches:
    """The availability of ``devices`` devices in the bytes of a file.

    Raises InputError: it is no text, or `parse_availability` refuses it.
    """
    return parse_availability(decoded(data, source, f"a CSV file with {','.join(HEADER)}"), source, devices)


def parse_availability(lines: Iterable[str], source: str, devices: int) -> Switches:
    """Per device, times strictly rising from 0; a state holds until the next row, the last one for good.

    A device without rows is always there. Raises InputError with ``source:line: what is wrong, what is allowed``.
    """
    states: list[list[tuple[float, bool]]] = [[] for _ in range(devices)]
    rows = [(n, line) for n, line in enumerate(lines, 1) if line.strip() and not line.startswith("#")]
    if not rows or _cells(rows[0][1]) != HEADER:
        raise InputError(f"{source}:{rows[0][0] if rows else 1}: must begin with the header {','.join(HEADER)}")
    for number, line in rows[1:]:
        time_s, device, available = _row(line, f"{source}:{number}", devices)
        previous = states[device]
        if (time_s <= previous[-1][0]) if previous else (time_s != 0.0):
            raise InputError(f"{source}:{number}: time_s = {time_s:g} of device {device}, must rise strictly from 0")
        if not previous or previous[-1][1] != available:
            previous.append((time_s, available))
    return Switches(
        tuple(changes[0][1] if changes else True for changes in states),
        tuple(tuple(time_s for time_s, _ in changes[1:]) for changes in states),
    )


def _cells(line: str) -> list[str]:
    return [cell.strip().strip('"') for cell in line.split(",")]


def _row(line: str, place: str, devices: int) -> tuple[float, int, bool]:
    cells = _cells(line)
    try:
        time_s, device, available = float(cells[0]), int(cells[1]), int(cells[2])
    except (ValueError, IndexError):
        raise InputError(f"{place}: {quoted(line)}, must be a time, a device number and 1 or 0") from None
    if len(cells) != len(HEADER) or not math.isfinite(time_s) or available not in (0, 1):
        raise InputError(f"{place}: {quoted(line)}, must be a time, a device number and 1 or 0")
    if not 0 <= device < devices:
        raise InputError(f"{place}: device {device}, must be 0 to {devices - 1}")
    return time_s, device, available == 1
