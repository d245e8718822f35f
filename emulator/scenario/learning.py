"""``[learning]``: the constants of the bound, given or measured."""

import math
from collections.abc import Callable
from typing import Any, Literal, Self

from pydantic import model_validator

from prefine.emulator.errors import InputError
from prefine.emulator.section import Count, NonNegative, Positive, Section, Spread, draw
from prefine.emulator.types import Constants, Learning

Estimate = Literal["estimate"]

REFINES = {
    "server_curvature": "smoothness",
    "device_curvature": "smoothness",
    "discrepancy_relief": "discrepancy",
    "discrepancy_rate": "discrepancy",
    "pretrain_noise": "pretrain_floor",
}
"""Constants that a scenario may leave out, and those they refine."""

OF_EACH_DEVICE = ("device_variance", "device_curvature")

SHIFT_SLACK = 1e-6
"""Relative. The constants of the shift may have been written with few digits."""


class LearningSettings(Section):
    """The constants of the bound; ``"estimate"`` measures one on the actual data and model (docs/learning.md).

    A constant of `REFINES` that is left out is measured where the one it refines is, else it is unknown: a scenario
    that gives all the others as numbers needs no measuring. ``charge_pilots`` takes what measuring would cost in this
    world from the budgets of the policies that use constants. ``effort`` is what measuring may take, in samples times
    rounds; left out, what two minutes of one core do. The less, the wider the stated intervals.
    """

    smoothness: Positive | Estimate = "estimate"
    initial_gap: Positive | Estimate = "estimate"
    discrepancy: NonNegative | Estimate = "estimate"
    server_variance: NonNegative | Estimate = "estimate"
    device_variance: Spread | Estimate = "estimate"
    pretrain_contraction: Positive | Estimate = "estimate"
    pretrain_floor: NonNegative | Estimate = "estimate"
    server_curvature: Positive | Estimate | None = None
    device_curvature: Spread | Estimate | None = None
    discrepancy_relief: NonNegative | Estimate | None = None
    discrepancy_rate: NonNegative | Estimate | None = None
    pretrain_noise: NonNegative | Estimate | None = None
    charge_pilots: bool = False
    effort: Count | None = None

    @model_validator(mode="after")
    def _together(self) -> Self:
        relief, rate = (isinstance(one, float) for one in (self.discrepancy_relief, self.discrepancy_rate))
        if relief != rate and self.discrepancy_relief != 0.0:
            raise ValueError(
                "discrepancy_relief and discrepancy_rate belong together: give both as numbers, or neither, "
                "or discrepancy_relief = 0 for a shift that does not change"
            )
        return self

    def constants(self, measured: Callable[[], Constants], devices: int, seed: int) -> Constants:
        """The numbers given, and for what is to be measured what ``measured`` says; ``seed`` draws a range.

        Raises InputError where a list has not one value for each of ``devices`` devices, or where the shift would be
        negative in some round.
        """
        wanted = {name: self._wanted(name) for name in Constants._fields if name in type(self).model_fields}
        given: dict[str, Any] = {name: value for name, value in wanted.items() if value != "estimate"}
        for name in OF_EACH_DEVICE:
            if given.get(name):
                given[name] = tuple(draw(given[name], f"learning.{name}", range(devices), seed).tolist())
        if len(given) < len(wanted):
            constants = measured()._replace(**given)
        else:
            constants = Constants(learning_rate=1.0 / given["smoothness"], **given)
        least = constants.discrepancy - constants.discrepancy_relief * constants.discrepancy_rate
        if least < -SHIFT_SLACK * constants.discrepancy:
            raise InputError(
                f"learning.discrepancy_relief = {constants.discrepancy_relief:g}: times discrepancy_rate = "
                f"{constants.discrepancy_rate:g} it must be at most discrepancy = {constants.discrepancy:g}"
            )
        return constants

    def _wanted(self, name: str) -> Any:
        """The number given, ``"estimate"``, or where neither is said what stands for a constant that nobody knows."""
        value = getattr(self, name)
        if value is not None:
            return value
        return "estimate" if getattr(self, REFINES[name]) == "estimate" else Constants._field_defaults[name]


def unknown_constants(devices: int) -> Constants:
    """Where nothing is measured: NaN."""
    return Constants(*(math.nan,) * 5, (math.nan,) * devices, math.nan, math.nan)


def learning(constants: Constants, learning_rate: float, effective_rate: float) -> Learning:
    """The constants of the bound as policies see them; one that nobody knows (NaN) is None."""
    return Learning(
        smoothness=constants.smoothness,
        learning_rate=learning_rate,
        initial_gap=constants.initial_gap,
        discrepancy=constants.discrepancy,
        pretrain_contraction=known(constants.pretrain_contraction),
        pretrain_floor=known(constants.pretrain_floor),
        discrepancy_relief=constants.discrepancy_relief,
        discrepancy_rate=constants.discrepancy_rate,
        pretrain_noise=known(constants.pretrain_noise),
        effective_rate=None if math.isclose(effective_rate, learning_rate) else effective_rate,
    )


def known(value: float) -> float | None:
    """``value``, or None where it is NaN."""
    return None if math.isnan(value) else value
