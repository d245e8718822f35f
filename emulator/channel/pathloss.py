"""Path loss in dB as a function of horizontal distance: log-distance, and UMa and UMi of 3GPP TR 38.901 (V16+).

Formulas: table 7.4.1-1; line-of-sight probability: table 7.4.2-1; shadow fading: tables 7.4.1-1 and 7.5-6. Distances in
metres, carriers in Hz, losses in dB. Left out: penetration into buildings and cars (7.4.3), and the spread of the
effective environment height of UMa for devices above 13 m.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from prefine.emulator.types import FloatArray
from prefine.emulator.units import SPEED_OF_LIGHT_M_S


class PathLoss(Protocol):
    """Loss with and without line of sight, and how likely the sight is; distances are horizontal, of any shape.

    ``shadowing_db`` and ``shadowing_distance_m``, each without and with line of sight, are the standard deviation and
    correlation distance that the model itself gives for its shadowing (0 where it gives none).
    """

    @property
    def shadowing_db(self) -> tuple[float, float]:
        """Standard deviation of the shadowing in dB."""
        ...

    @property
    def shadowing_distance_m(self) -> tuple[float, float]:
        """Correlation distance of the shadowing in metres."""
        ...

    def loss_db(self, distance_m: FloatArray, sight: FloatArray) -> FloatArray:
        """Loss in dB where ``sight`` is 1 (line of sight) or 0."""
        ...

    def sight_probability(self, distance_m: FloatArray) -> FloatArray:
        """Probability of line of sight."""
        ...


@dataclass(frozen=True)
class LogDistance:
    """``reference_loss_db`` + 10 ``exponent`` log10(d / ``reference_distance_m``); the sight makes no difference."""

    reference_loss_db: float
    exponent: float
    reference_distance_m: float

    shadowing_db = (0.0, 0.0)
    shadowing_distance_m = (0.0, 0.0)

    def loss_db(self, distance_m: FloatArray, sight: FloatArray) -> FloatArray:
        """The formula above, wherever ``sight`` is; the shape of ``distance_m``."""
        loss: FloatArray = self.reference_loss_db + 10.0 * self.exponent * np.log10(
            distance_m / self.reference_distance_m
        )
        return loss

    def sight_probability(self, distance_m: FloatArray) -> FloatArray:
        """One everywhere: there is only one law."""
        return np.ones_like(distance_m)


MACRO = LogDistance(reference_loss_db=128.1, exponent=3.76, reference_distance_m=1000.0)
"""128.1 + 37.6 log10(d/km): 3GPP TR 36.942 and 36.814 (macro cell, 2 GHz)."""


def free_space_loss_db(distance_m: float, carrier_hz: float) -> float:
    """Friis: 20 log10(4 pi d f / c)."""
    return float(20.0 * np.log10(4.0 * np.pi * distance_m * carrier_hz / SPEED_OF_LIGHT_M_S))


@dataclass(frozen=True)
class DualSlope:
    """What UMa and UMi share: a steeper slope beyond the breakpoint, and a separate law without line of sight."""

    carrier_hz: float
    base_height_m: float
    device_height_m: float

    ENVIRONMENT_HEIGHT_M = 1.0
    """h_E; fixed at 1 m for UMi, and for UMa with devices up to 13 m."""

    @property
    def breakpoint_m(self) -> float:
        """d'_BP = 4 h'_BS h'_UT f_c / c."""
        base = self.base_height_m - self.ENVIRONMENT_HEIGHT_M
        device = self.device_height_m - self.ENVIRONMENT_HEIGHT_M
        return 4.0 * base * device * self.carrier_hz / SPEED_OF_LIGHT_M_S

    def _distance_3d(self, distance_m: FloatArray) -> FloatArray:
        distance: FloatArray = np.hypot(distance_m, self.base_height_m - self.device_height_m)
        return distance

    def _dual_slope(self, distance_m: FloatArray, at_1m_db: float, slope: float, correction: float) -> FloatArray:
        d3 = self._distance_3d(distance_m)
        height_m = self.base_height_m - self.device_height_m
        common = at_1m_db + 20.0 * np.log10(self.carrier_hz / 1e9)
        near = common + slope * np.log10(d3)
        far = common + 40.0 * np.log10(d3) - correction * np.log10(self.breakpoint_m**2 + height_m**2)
        loss_db: FloatArray = np.where(distance_m <= self.breakpoint_m, near, far)
        return loss_db


@dataclass(frozen=True)
class UrbanMacro(DualSlope):
    """UMa; base station typically at 25 m."""

    base_height_m: float = 25.0
    device_height_m: float = 1.5

    shadowing_db = (6.0, 4.0)
    shadowing_distance_m = (50.0, 37.0)

    def loss_db(self, distance_m: FloatArray, sight: FloatArray) -> FloatArray:
        """PL_UMa-LOS in sight, else max(PL_UMa-LOS, PL'_UMa-NLOS); TR 38.901, table 7.4.1-1."""
        line = self._dual_slope(distance_m, 28.0, 22.0, 9.0)
        d3 = self._distance_3d(distance_m)
        frequency = 20.0 * np.log10(self.carrier_hz / 1e9)
        blocked = 13.54 + 39.08 * np.log10(d3) + frequency - 0.6 * (self.device_height_m - 1.5)
        return np.where(sight > 0.0, line, np.maximum(line, blocked))

    def sight_probability(self, distance_m: FloatArray) -> FloatArray:
        """Row "UMa" of TR 38.901, table 7.4.2-1; devices up to 13 m, so C' = 0."""
        return _sight(distance_m, 63.0)


@dataclass(frozen=True)
class UrbanMicro(DualSlope):
    """UMi street canyon; base station typically at 10 m."""

    base_height_m: float = 10.0
    device_height_m: float = 1.5

    shadowing_db = (7.82, 4.0)
    shadowing_distance_m = (13.0, 10.0)

    def loss_db(self, distance_m: FloatArray, sight: FloatArray) -> FloatArray:
        """PL_UMi-LOS in sight, else max(PL_UMi-LOS, PL'_UMi-NLOS); TR 38.901, table 7.4.1-1."""
        line = self._dual_slope(distance_m, 32.4, 21.0, 9.5)
        d3 = self._distance_3d(distance_m)
        frequency = 21.3 * np.log10(self.carrier_hz / 1e9)
        blocked = 35.3 * np.log10(d3) + 22.4 + frequency - 0.3 * (self.device_height_m - 1.5)
        return np.where(sight > 0.0, line, np.maximum(line, blocked))

    def sight_probability(self, distance_m: FloatArray) -> FloatArray:
        """Row "UMi - street canyon" of TR 38.901, table 7.4.2-1."""
        return _sight(distance_m, 36.0)


def _sight(distance_m: FloatArray, decay_m: float) -> FloatArray:
    """1 up to 18 m, then 18/d + exp(-d/decay)(1 - 18/d)."""
    near = np.minimum(1.0, 18.0 / np.maximum(distance_m, 1e-9))
    probability: FloatArray = near + np.exp(-distance_m / decay_m) * (1.0 - near)
    return probability
