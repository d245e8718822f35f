"""The law of the power |h|^2 of fading with mean one, as values that are equally likely.

Each function answers ``count`` values (count,), rising: the quantiles at (i + 1/2)/count.
"""

import math

import numpy as np
import scipy

from prefine.emulator.types import FloatArray

_LEAST, _MOST = 1e-9, 40.0
"""Powers between which the law of a sum of waves is tabulated; beyond lie 1e-9 and 1e-17 of the time."""
_TABULATED = 500
_PANEL_POINTS = 32
_TAIL = 1e-8
_ROUNDING = 1e-12
_ANGLES = 4

GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0
"""The parts of its multiples that are left above whole numbers fill [0, 1) as evenly as can be."""


def shares(count: int) -> FloatArray:
    """(i + 1/2)/count for i < ``count``."""
    middles: FloatArray = (np.arange(count) + 0.5) / count
    return middles


def gaussian(count: int) -> FloatArray:
    """Of a Gaussian field without a line of sight (Rayleigh): exponential."""
    power: FloatArray = -np.log1p(-shares(count))
    return power


def of_waves(count: int, waves: int) -> FloatArray:
    """Of the sum of ``waves`` waves of equal strength and random phase; Gaussian as their number grows."""
    power = np.geomspace(_LEAST, min(_MOST, float(waves)), _TABULATED)
    as_if_gaussian = -np.log1p(-np.clip(_below(power, waves), 0.0, 1.0 - _ROUNDING))  # nearly the power itself
    found: FloatArray = np.interp(gaussian(count), np.maximum.accumulate(as_if_gaussian), power)
    return found


def beside_a_line(scattered: FloatArray, k_factor: float) -> FloatArray:
    """Of a field whose power alone is ``scattered`` (count,), beside a constant wave of ``k_factor`` times its power.

    The angle between them is uniform: each power is met at a few angles, so that powers and angles together fill their
    rectangle evenly (a lattice of the golden section).
    """
    if k_factor == 0.0:
        return scattered
    field = np.sqrt(np.repeat(scattered, _ANGLES) / (k_factor + 1.0))
    h = np.sqrt(k_factor / (k_factor + 1.0)) + field * np.exp(1j * np.pi * (np.arange(len(field)) * GOLDEN % 1.0))
    power: FloatArray = np.sort(h.real**2 + h.imag**2).reshape(-1, _ANGLES).mean(axis=1)
    return power


def _below(power: FloatArray, waves: int) -> FloatArray:
    """The chance of a power of at most ``power`` (n,), shape (n,).

    Kluyver (1906), "A local probability problem": P(r) = r times the integral of J1(r t) J0(t/sqrt(N))^N over t > 0 for
    N waves of strength 1/sqrt(N). Gauss-Legendre on panels short enough for the fastest turn of the integrand.
    """
    reach = max(12.0, 2.0 / np.pi * np.sqrt(waves) * _TAIL ** (-2.0 / waves))
    radius = np.sqrt(power)
    panels = int(np.ceil(reach * (radius[-1] + 1.0) / _PANEL_POINTS * 2.0)) + 1
    node, weight = np.polynomial.legendre.leggauss(_PANEL_POINTS)
    edge, half = np.arange(panels) * reach / panels, 0.5 * reach / panels
    t = (edge[:, None] + half * (1.0 + node)).ravel()
    field = np.tile(half * weight, panels) * scipy.special.j0(t / np.sqrt(waves)) ** waves
    chance: FloatArray = radius * (scipy.special.j1(np.multiply.outer(radius, t)) @ field)
    return chance
