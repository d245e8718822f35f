"""Where devices are at any time: at rest, on a straight line, or between random waypoints; base station at (0, 0)."""

from typing import Protocol

import numpy as np

from emulator.randomness import stream
from emulator.types import FloatArray


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
    """Devices that start at ``position_m`` and keep a random heading and ``speed_m_s``."""

    def __init__(self, position_m: FloatArray, speed_m_s: float, seed: int) -> None:
        self._position_m = position_m
        heading = np.array([2.0 * np.pi * stream(seed, "heading", k).random() for k in range(len(position_m))])
        self._velocity_m_s = speed_m_s * np.stack((np.cos(heading), np.sin(heading)), axis=-1)

    def positions(self, device: int, time_s: FloatArray) -> FloatArray:
        """Start + velocity x time."""
        position_m: FloatArray = self._position_m[device] + np.multiply.outer(time_s, self._velocity_m_s[device])
        return position_m


class RandomWaypoint:
    """Devices that walk straight to a uniformly random point of a disc, pause, and pick the next.

    Johnson and Maltz (1996). Legs are drawn as time demands and kept, so any time can be asked for in any order.
    """

    def __init__(self, position_m: FloatArray, speed_m_s: float, radius_m: float, pause_s: float, seed: int) -> None:
        self._speed_m_s = speed_m_s
        self._radius_m = radius_m
        self._pause_s = pause_s
        self._random = [stream(seed, "waypoints", k) for k in range(len(position_m))]
        self._time_s = [[0.0] for _ in position_m]
        self._point_m = [[tuple(point)] for point in position_m.tolist()]

    def positions(self, device: int, time_s: FloatArray) -> FloatArray:
        """Linear interpolation between the corners of the path; a pause is a corner that lasts."""
        self._walk(device, float(np.max(time_s)))
        corner_s, corner_m = self._time_s[device], np.array(self._point_m[device])
        return np.stack([np.interp(time_s, corner_s, corner_m[:, axis]) for axis in (0, 1)], axis=-1)

    def _walk(self, device: int, until_s: float) -> None:
        corner_s, corner_m, random = self._time_s[device], self._point_m[device], self._random[device]
        while corner_s[-1] <= until_s:
            radius_m = self._radius_m * np.sqrt(random.random())
            angle = 2.0 * np.pi * random.random()
            point = (float(radius_m * np.cos(angle)), float(radius_m * np.sin(angle)))
            here = corner_m[-1]
            walk_s = float(np.hypot(point[0] - here[0], point[1] - here[1])) / self._speed_m_s
            corner_s += [corner_s[-1] + walk_s, corner_s[-1] + walk_s + self._pause_s]
            corner_m += [point, point]


def place(distance_m: FloatArray, seed: int) -> FloatArray:
    """Positions (K, 2) at the given distances (K,) from the base station, in random directions."""
    angle = np.array([2.0 * np.pi * stream(seed, "direction", k).random() for k in range(len(distance_m))])
    position_m: FloatArray = distance_m[:, None] * np.stack((np.cos(angle), np.sin(angle)), axis=-1)
    return position_m
