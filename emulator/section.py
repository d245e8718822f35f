"""What a table of the scenario file is made of: strict frozen records, numbers with limits, spreads over the devices.

A section is the object that the simulation uses: what it says and what it does stand in one class. Where a table can
say one of several things, each is a class of its own, and a key of the table (`member`) decides which.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field

from prefine.emulator.errors import InputError
from prefine.emulator.randomness import stream
from prefine.emulator.types import FloatArray

UNKNOWN_MEMBER = "unknown_member"
"""The type of the error that `member` makes pydantic raise."""

LEAST, MOST = 1e-40, 1e40
"""Beyond these no quantity in SI units has a meaning here, and products of several would leave double precision."""

MOST_WHOLE = 10**9


def _measurable(value: float) -> float:
    if not LEAST <= value <= MOST:
        raise ValueError(f"must be from {LEAST:g} to {MOST:g}")
    return value


def _not_huge(value: float) -> float:
    if abs(value) > MOST:
        raise ValueError(f"must be at most {MOST:g}")
    return value


Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False), AfterValidator(_measurable)]
NonNegative = Annotated[float, Field(ge=0.0, allow_inf_nan=False), AfterValidator(_not_huge)]
Finite = Annotated[float, Field(allow_inf_nan=False), AfterValidator(_not_huge)]
Decibel = Annotated[float, Field(ge=-400.0, le=400.0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=MOST_WHOLE)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]

NAME = re.compile(r"[\w][\w .-]{0,99}", re.ASCII)


def named(text: str) -> str:
    """``text``, if it can name files and rows of tables; raises ValueError with what is allowed."""
    if text and not NAME.fullmatch(text):
        raise ValueError("must be up to 100 letters, digits, dots, dashes, underscores and spaces, the first no dot")
    return text


Name = Annotated[str, AfterValidator(named)]
"""May be empty."""


class Section(BaseModel):
    """A table of the scenario file: unknown keys, NaN, infinity and values of another kind are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def member(key: str, default: str, other: tuple[str, Callable[[str], bool]] | None = None) -> Discriminator:
    """Chooses the class of a table by its ``key``; a table without that key is the ``default`` one.

    Each class of the union carries its name as a pydantic ``Tag``. ``other`` is the tag of the class that takes further
    names, and what says which. A name without a class is refused; the complaint names those that have one.
    """

    def tag(value: Any) -> str | None:
        name = value.get(key, default) if isinstance(value, Mapping) else getattr(value, key, None)
        return other[0] if other is not None and isinstance(name, str) and other[1](name) else name

    return Discriminator(
        tag, custom_error_type=UNKNOWN_MEMBER, custom_error_message="unknown", custom_error_context={"key": key}
    )


class Range(Section):
    """Drawn uniformly between ``low`` and ``high``, one independent draw a device."""

    low: NonNegative
    high: Positive


Spread = Positive | tuple[Positive, ...] | Range
"""A quantity that may differ between devices: one number, a list with one number each, or a range drawn from."""


class DecibelRange(Section):
    """Drawn uniformly in dB between ``low`` and ``high``, one independent draw a device."""

    low: Decibel
    high: Decibel


DecibelSpread = Decibel | tuple[Decibel, ...] | DecibelRange
"""As `Spread`, in dB or dBm."""


def draw(spread: Spread | DecibelSpread, name: str, numbers: Sequence[int], seed: int) -> FloatArray:
    """The values of ``spread`` for the devices with these ``numbers`` (K,), shape (K,).

    Each device's draw depends on ``seed``, ``name`` and its own number only.

    Raises InputError where a list has the wrong length or a range is upside down.
    """
    if isinstance(spread, Range | DecibelRange):
        if spread.low > spread.high:
            raise InputError(f"{name}: low = {spread.low:g} is above high = {spread.high:g}")
        return np.array([stream(seed, name, device).uniform(spread.low, spread.high) for device in numbers])
    if isinstance(spread, tuple):
        if len(spread) != len(numbers):
            raise InputError(f"{name}: {len(spread)} values for {len(numbers)} devices")
        return np.array(spread)
    return np.full(len(numbers), float(spread))
