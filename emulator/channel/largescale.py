"""Path loss, shadowing and antenna gain along a device's way, as one factor of the gain.

Shadowing is a map: one Gaussian field over the plane, so a place has its shadow and neighbours share it. Gudmundson
(1991), "Correlation model for shadow fading in mobile radio systems": correlation exp(-distance/d_corr). As a sum of
plane waves (spectral method): an isotropic field with this correlation has wave numbers distributed as
P(|k| <= x) = 1 - 1/sqrt(1 + (x d_corr)^2) in two dimensions.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import scipy

from prefine.emulator.channel.base import Grid
from prefine.emulator.channel.mobility import Mobility
from prefine.emulator.channel.pathloss import PathLoss
from prefine.emulator.types import FloatArray

WAVES = 512
"""Plane waves that make up a field."""


class ScalarField(Protocol):
    """A value at each place."""

    def at(self, position_m: FloatArray) -> FloatArray:
        """Values at ``position_m`` (n, 2), shape (n,)."""
        ...


@dataclass(frozen=True)
class ConstantField:
    """The same value everywhere: no shadowing (0), always sight (-inf), never sight (inf)."""

    value: float

    def at(self, position_m: FloatArray) -> FloatArray:
        """The value at each of ``position_m`` (n, 2), shape (n,)."""
        return np.full(len(position_m), self.value)


class GaussianField:
    """A zero-mean, unit-variance field with correlation exp(-distance/``correlation_m``), the same at every asking."""

    def __init__(self, correlation_m: float, random: np.random.Generator, waves: int = WAVES) -> None:
        quantile = (np.arange(waves) + random.random(waves)) / waves
        number = np.sqrt((1.0 - quantile) ** -2 - 1.0) / correlation_m
        angle = 2.0 * np.pi * random.random(waves)
        self._wave = np.stack((number * np.cos(angle), number * np.sin(angle)))
        self._phase = 2.0 * np.pi * random.random(waves)
        self._amplitude = np.sqrt(2.0 / waves)

    def at(self, position_m: FloatArray) -> FloatArray:
        """Values at ``position_m`` (n, 2), shape (n,)."""
        value: FloatArray = self._amplitude * np.cos(position_m @ self._wave + self._phase).sum(axis=-1)
        return value


@dataclass(frozen=True)
class Shadowing:
    """Standard deviation in dB and unit-variance field, for places without (0) and with (1) line of sight."""

    deviation_db: tuple[float, float]
    field: tuple[ScalarField, ScalarField]

    def shadow_db(self, position_m: FloatArray, sight: FloatArray) -> FloatArray:
        """Shadowing in dB at each place."""
        blocked, line = (s * f.at(position_m) for s, f in zip(self.deviation_db, self.field, strict=True))
        return np.where(sight > 0.0, line, blocked)


NO_SHADOWING = Shadowing((0.0, 0.0), (ConstantField(0.0), ConstantField(0.0)))


@dataclass(frozen=True)
class LargeScale:
    """The slow `Process`: 10^((antenna gain - path loss + shadowing)/10).

    A place has line of sight where the standard normal ``sight`` field, mapped to (0, 1), is below the probability.
    """

    mobility: Mobility
    path_loss: PathLoss
    shadowing: Shadowing
    sight: ScalarField
    antenna_gain_db: float = 0.0
    min_distance_m: float = 1.0

    @property
    def is_plain(self) -> bool:
        """Whether the distance alone counts: nothing varies from place to place, so all go at once."""
        return all(isinstance(field, ConstantField) for field in (self.sight, *self.shadowing.field))

    def sample(self, device: int, grid: Grid) -> FloatArray:
        """Linear power gain at the instants of ``grid``."""
        return self.gain(self.mobility.positions(device, grid.times()))

    def gain(self, position_m: FloatArray) -> FloatArray:
        """Linear power gain at each of ``position_m`` (n, 2), shape (n,)."""
        distance_m = np.maximum(np.hypot(position_m[:, 0], position_m[:, 1]), self.min_distance_m)
        sight = (scipy.special.ndtr(self.sight.at(position_m)) < self.path_loss.sight_probability(distance_m)).astype(
            np.float64
        )
        loss_db = self.path_loss.loss_db(distance_m, sight) - self.shadowing.shadow_db(position_m, sight)
        gain: FloatArray = 10.0 ** ((self.antenna_gain_db - loss_db) / 10.0)
        return gain
