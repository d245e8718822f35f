"""A channel of the user's own: ``[channel] model = "file.py:Class"``, or the name of an installed one.

The class is made with the distances in metres of the K devices, (K,) float64, the seed of the run, and the keys of
``[channel.parameters]``: ``Class(distance_m, seed, **parameters)``. It derives from `Channel` and gives the whole gain;
or it is a `Process` with ``sample(device, grid)`` and gives the fading alone, which the section's path loss, shadowing
and steps go with. Every answer is checked; docs/channels.md has an example.
"""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from prefine.emulator.channel.base import Channel, Grid, Steps
from prefine.emulator.channel.mobility import Site
from prefine.emulator.channel.section import ChannelSection
from prefine.emulator.complaints import unknown_key
from prefine.emulator.errors import InputError
from prefine.emulator.loading import find, foreign, installed, own_file
from prefine.emulator.plugins import Part
from prefine.emulator.types import FloatArray

CHANNELS = "prefine.channels"
"""The entry point group of installed channels."""


def is_own(model: str) -> bool:
    """Whether ``model`` names a class in a user's file, or an installed one."""
    return bool(own_file(model)) or model in installed(CHANNELS)


class OwnModel(ChannelSection):
    """A user's class in place of a model of ours."""

    model: str

    def build(self, site: Site, seed: int) -> Channel:
        """The user's channel, or the section's large-scale gain with the user's fading; every answer is checked."""
        made = self._made(self._class(site.folder), _distance_m(site), seed)
        return _whole(self, self.model, made, site)

    def _class(self, folder: Path) -> Callable[..., object]:
        """The one place where a class is loaded."""
        found = find(self.model, CHANNELS, "channel", folder)
        if not inspect.isclass(found):
            raise InputError(f"channel {self.model}: is no class")
        return found

    def _made(self, kind: Callable[..., object], distance_m: FloatArray, seed: int) -> object:
        takes = inspect.signature(kind).parameters.values()
        if not any(one.kind is inspect.Parameter.VAR_KEYWORD for one in takes):
            known = [one.name for one in takes][2:]
            for key in self.parameters:
                if key not in known:
                    raise InputError(unknown_key(f"channel.parameters.{key}", known))
        return _answer(self.model, "when it was made", lambda: kind(distance_m, seed, **self.parameters))


def channel_of(section: ChannelSection, part: Part, site: Site, seed: int) -> Channel:
    """The channel of a class or an instance from Python, completed by ``section`` and checked as `OwnModel` is.

    An instance is the same in every run. Raises InputError where a constructor fails, or what it makes is no channel.
    """
    made, is_class = part.given, inspect.isclass(part.given)
    made = _answer(part.label, "when it was made", lambda: part.given(_distance_m(site), seed)) if is_class else made
    return _whole(section, part.label, made, site)


def _distance_m(site: Site) -> FloatArray:
    distance_m: FloatArray = np.hypot(*site.position_m.T) if site.location_m.ndim == 2 else site.location_m
    return distance_m


def _whole(section: ChannelSection, name: str, made: Any, site: Site) -> Channel:
    """``made`` where it is a channel; the section's large-scale gain with it where it is fading."""
    if isinstance(made, Channel):
        return CheckedChannel(name, made)
    if not callable(getattr(made, "sample", None)):
        raise InputError(
            f"channel {name}: is no Channel and has no sample(device, grid); derive it from "
            "prefine.emulator.channel.base.Channel"
        )
    step_s = section.step_s or section.coherence_time_s / section.steps_per_coherence_time
    if not np.isfinite(step_s):
        raise InputError(f"channel {name}: needs step_s, or speed_m_s > 0 to take the coherence time from")
    return section.faded(section.large_scale(site), CheckedProcess(name, made), step_s)


class CheckedChannel(Channel):
    """A user's channel, whose answers are checked against the contract of `Channel` as they come."""

    def __init__(self, name: str, channel: Channel) -> None:
        self._name = name
        self._channel = channel

    def gain(self, device: int, time_s: float) -> float:
        """The user's answer. Raises InputError where it is no finite number of at least 0."""
        asked = f"gain({device}, {time_s:g})"
        gain: float = _answer(self._name, f"in {asked}", lambda: float(self._channel.gain(device, time_s)))
        if not 0.0 <= gain < np.inf:
            raise InputError(f"channel {self._name}: {asked} is {gain!r}, must be finite and at least 0")
        return gain

    def steps(self, device: int, start_s: float, count: int) -> Steps:
        """The user's answer. Raises InputError where it breaks the contract."""
        asked = f"steps({device}, {start_s:g}, {count})"
        end_s, gain = _answer(self._name, f"in {asked}", lambda: _steps(self._channel.steps(device, start_s, count)))
        if end_s.ndim != 1 or end_s.shape != gain.shape or not 1 <= len(end_s) <= count:
            raise InputError(
                f"channel {self._name}: {asked} has ends of shape {end_s.shape} and gains of shape {gain.shape}, "
                f"must be one length from 1 to {count}"
            )
        if not end_s[0] > start_s or not np.all(end_s[1:] > end_s[:-1]):
            raise InputError(f"channel {self._name}: the ends of {asked} must rise strictly from above {start_s:g}")
        if not np.all((gain >= 0.0) & (gain < np.inf)):
            raise InputError(f"channel {self._name}: the gains of {asked} must be finite and at least 0")
        return Steps(end_s, gain)


class CheckedProcess:
    """A user's fading, whose answers are checked."""

    def __init__(self, name: str, process: Any) -> None:
        self._name = name
        self._process = process

    def sample(self, device: int, grid: Grid) -> FloatArray:
        """The user's answer. Raises InputError where it is not (count,) finite numbers of at least 0."""
        asked = f"sample({device}, {grid})"
        power: FloatArray = _answer(
            self._name, f"in {asked}", lambda: np.asarray(self._process.sample(device, grid), dtype=np.float64)
        )
        if power.shape != (grid.count,) or not np.all((power >= 0.0) & (power < np.inf)):
            raise InputError(
                f"channel {self._name}: {asked} has shape {power.shape}, "
                f"must be {grid.count} finite numbers of at least 0"
            )
        return power


def _steps(answer: Any) -> Steps:
    end_s, gain = answer
    return Steps(np.asarray(end_s, dtype=np.float64), np.asarray(gain, dtype=np.float64))


def _answer(name: str, where: str, call: Callable[[], Any]) -> Any:
    """What ``call`` returns; what a user's class throws becomes one line that names it."""
    with foreign(f"channel {name}:", where):
        return call()
