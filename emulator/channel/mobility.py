"""Where devices are: the site they begin at, and their way from there; the base station is at (0, 0).

At rest, on a straight line, or between random waypoints.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np

from prefine.emulator.channel.base import Process
from prefine.emulator.channel.trace import Trace
from prefine.emulator.channel.tracefile import read_trace
from prefine.emulator.randomness import stream
from prefine.emulator.types import FloatArray


@dataclass(frozen=True)
class Site:
    """Where K devices are and what stands in the way: the same in every run of a world.

    ``location_m`` are distances (K,) from the base station, or positions (K, 2), in metres. ``layout_seed`` draws what
    belongs to the place: directions, routes, line of sight and shadowing. A user's own files are in ``folder``.
    ``trace`` reads the channel trace of a name; it raises InputError where the file is missing or malformed.
    ``clients`` (K,) are the numbers by which devices draw what is theirs; left empty, the k-th draws as number k.
    """

    location_m: FloatArray
    layout_seed: int
    folder: Path = Path()
    trace: Callable[[str], Trace] = field(default=lambda name: read_trace(Path(name)), repr=False, compare=False)
    clients: Sequence[int] = ()
    _still: list[tuple[object, Process]] = field(default_factory=list, init=False, repr=False, compare=False)

    def still(self, section: object, make: Callable[[], Process]) -> Process:
        """What does not change here by ``section``: made by ``make`` where it was not the last that was asked for."""
        if not self._still or self._still[0][0] != section:
            self._still[:] = [(section, make())]
        return self._still[0][1]

    def __len__(self) -> int:
        return len(self.location_m)

    @cached_property
    def position_m(self) -> FloatArray:
        """Positions (K, 2); of devices given by their distance, in random directions."""
        if self.location_m.ndim == 1:
            return place(self.location_m, self.layout_seed, self.numbers)
        return self.location_m

    @property
    def numbers(self) -> Sequence[int]:
        """By which each device's streams are found, (K,)."""
        return self.clients or range(len(self))


class Mobility(Protocol):
    """Positions as a function of time."""

    def positions(self, device: int, time_s: FloatArray) -> FloatArray:
        """Position in metres at each of ``time_s`` (n,), shape (n, 2)."""
        ...


class Fixed:
    """Devices that stay at ``position_m`` (K, 2)."""

    def __init__(self, position_m: FloatArray) -> None:
        self._position_m = position_m

    def positions(self, device: int, time_s: FloatArray) -> FloatArray:
        """The one position, n times."""
        return np.broadcast_to(self._position_m[device], (len(time_s), 2))


class ConstantVelocity:
    """Devices that start at ``position_m`` and keep a random heading, drawn by ``numbers`` (K,), and ``speed_m_s``."""

    def __init__(self, position_m: FloatArray, speed_m_s: float, seed: int, numbers: Sequence[int]) -> None:
        self._position_m = position_m
        heading = np.array([2.0 * np.pi * stream(seed, "heading", k).random() for k in numbers])
        self._velocity_m_s = speed_m_s * np.stack((np.cos(heading), np.sin(heading)), axis=-1)

    def positions(self, device: int, time_s: FloatArray) -> FloatArray:
        """Start + velocity x time."""
        position_m: FloatArray = self._position_m[device] + np.multiply.outer(time_s, self._velocity_m_s[device])
        return position_m


class RandomWaypoint:
    """Devices that walk straight to a uniformly random point of a disc, pause, and pick the next.

    Johnson and Maltz (1996). Legs are drawn as time demands and kept, so any time can be asked for in any order; those
    of each device by its own of the ``numbers`` (K,).
    """

    def __init__(
        self,
        position_m: FloatArray,
        speed_m_s: float,
        radius_m: float,
        pause_s: float,
        seed: int,
        numbers: Sequence[int],
    ) -> None:
        self._speed_m_s = speed_m_s
        self._radius_m = radius_m
        self._pause_s = pause_s
        self._random = [stream(seed, "waypoints", k) for k in numbers]
        self._corners = [(np.zeros(1), position_m[k : k + 1]) for k in range(len(position_m))]

    def positions(self, device: int, time_s: FloatArray) -> FloatArray:
        """Linear interpolation between the corners of the path; a pause is a corner that lasts."""
        while self._corners[device][0][-1] <= np.max(time_s):
            self._walk_on(device)
        corner_s, corner_m = self._corners[device]
        return np.stack([np.interp(time_s, corner_s, corner_m[:, axis]) for axis in (0, 1)], axis=-1)

    def _walk_on(self, device: int) -> None:
        """As many legs again as there are; so corners do not depend on what was asked for before."""
        corner_s, corner_m = self._corners[device]
        share, turn = self._random[device].random((max(64, len(corner_s) // 2), 2)).T
        radius_m, angle = self._radius_m * np.sqrt(share), 2.0 * np.pi * turn
        point_m = np.stack((radius_m * np.cos(angle), radius_m * np.sin(angle)), axis=-1)
        leg_m = np.diff(np.concatenate((corner_m[-1:], point_m)), axis=0)
        leave_s = corner_s[-1] + np.cumsum(np.hypot(leg_m[:, 0], leg_m[:, 1]) / self._speed_m_s + self._pause_s)
        both_s = np.stack((leave_s - self._pause_s, leave_s), axis=-1).ravel()
        self._corners[device] = (
            np.concatenate((corner_s, both_s)),
            np.concatenate((corner_m, np.repeat(point_m, 2, axis=0))),
        )


def place(distance_m: FloatArray, seed: int, numbers: Sequence[int]) -> FloatArray:
    """Positions (K, 2) at the given distances (K,) from the base station, in directions drawn by ``numbers`` (K,)."""
    angle = np.array([2.0 * np.pi * stream(seed, "direction", k).random() for k in numbers])
    position_m: FloatArray = distance_m[:, None] * np.stack((np.cos(angle), np.sin(angle)), axis=-1)
    return position_m
