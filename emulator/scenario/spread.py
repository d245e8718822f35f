"""A quantity that may differ between devices: one number, a list with one number each, or a range drawn from."""

import numpy as np

from prefine.emulator.errors import InputError
from prefine.emulator.randomness import stream
from prefine.emulator.scenario.base import NonNegative, Positive, Section
from prefine.emulator.types import FloatArray


class Range(Section):
    """Drawn uniformly between ``low`` and ``high``, one independent draw a device."""

    low: NonNegative
    high: Positive


Spread = Positive | tuple[Positive, ...] | Range


def draw(spread: Spread, name: str, count: int, seed: int) -> FloatArray:
    """The (count,) values of ``spread``; each device's draw depends on ``seed``, ``name`` and its own number only.

    Raises InputError where a list has the wrong length or a range is upside down.
    """
    if isinstance(spread, Range):
        if spread.low > spread.high:
            raise InputError(f"{name}: low = {spread.low:g} is above high = {spread.high:g}")
        return np.array([stream(seed, name, device).uniform(spread.low, spread.high) for device in range(count)])
    if isinstance(spread, tuple):
        if len(spread) != count:
            raise InputError(f"{name}: {len(spread)} values for {count} devices")
        return np.array(spread)
    return np.full(count, float(spread))
