"""Shadowing as a map: one Gaussian field over the plane, so a place has its shadow and neighbours share it.

Gudmundson (1991), "Correlation model for shadow fading in mobile radio systems": correlation exp(-distance/d_corr). As
a sum of plane waves (spectral method): an isotropic field with this correlation has wave numbers distributed as
P(|k| <= x) = 1 - 1/sqrt(1 + (x d_corr)^2) in two dimensions.
"""

import numpy as np

from prefine.emulator.types import FloatArray

WAVES = 512


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
