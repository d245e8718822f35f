"""``[aggregation]``: when the server makes an update, and of whose work.

``synchronous``: of everyone's, behind a barrier. ``semi-synchronous``: of those who are first, or in time; the others
are called back and their work is lost. ``asynchronous``: of as many arrivals as fill a buffer, while everyone works on.
"""

import math
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, Tag, model_validator

from prefine.emulator.section import Count, NonNegative, Positive, Section, member
from prefine.emulator.types import FloatArray

Staleness = Literal["constant", "polynomial", "hinge"]

Until = Literal["plan", "budget"]


class AggregationSection(Section):
    """``[aggregation]``, whatever its mode. Each mode is a class; the keys are the same, so that modes can be swept.

    ``until = "budget"`` goes on after a plan's last fine-tuning round, with the same decision, until a budget ends.
    """

    mode: str
    buffer: Count | None = None
    deadline_s: Positive | None = None
    concurrency: Count | None = None
    staleness: Staleness = "polynomial"
    exponent: NonNegative = 0.5
    grace: Annotated[int, Field(ge=0, le=10**9)] = 4
    slope: NonNegative = 10.0
    mixing: Annotated[float, Field(gt=0.0, le=1.0)] | None = None
    until: Until = "plan"

    def enough(self, members: int) -> int:
        """How many arrivals of ``members`` end a round."""
        return members

    @property
    def limit_s(self) -> float:
        """How long after its start a round ends at the latest."""
        return math.inf


class Synchronous(AggregationSection):
    """A round waits for everyone who takes part."""

    mode: Literal["synchronous"] = "synchronous"


class SemiSynchronous(AggregationSection):
    """A round ends with its first ``buffer`` arrivals, or after ``deadline_s``; the rest of its work is lost.

    The first are the backup workers of Chen et al. (2016) and the over-selection of Bonawitz et al. (SysML 2019), both
    of which drop who comes later.
    """

    mode: Literal["semi-synchronous"] = "semi-synchronous"

    @model_validator(mode="after")
    def _ends_somewhere(self) -> Self:
        if self.buffer is None and self.deadline_s is None:
            raise ValueError('mode = "semi-synchronous" needs buffer (the first so many), deadline_s, or both')
        return self

    def enough(self, members: int) -> int:
        """``buffer``, or all where there are fewer."""
        return min(self.buffer or members, members)

    @property
    def limit_s(self) -> float:
        """``deadline_s``; infinite where there is none."""
        return self.deadline_s or math.inf


class Asynchronous(AggregationSection):
    """FedBuff (Nguyen et al., AISTATS 2022): an update of every ``buffer`` arrivals, ``concurrency`` devices at work.

    An arrival that was s updates behind weighs s(s) of what it would fresh: ``constant`` 1; ``polynomial``
    (1 + s)^-``exponent``; ``hinge`` 1 up to ``grace``, then 1 / (``slope`` (s - ``grace``) + 1) (Xie et al., 2019).
    With ``mixing``, an arrival is mixed in as a model, not added as a difference: with a buffer of 1, FedAsync.
    """

    mode: Literal["asynchronous"] = "asynchronous"

    @model_validator(mode="after")
    def _has_a_size(self) -> Self:
        if self.buffer is None:
            raise ValueError('mode = "asynchronous" needs buffer: how many arrivals make an update')
        if self.mixing is not None and self.buffer != 1:
            raise ValueError(f"mixing is FedAsync's and needs buffer = 1, buffer is {self.buffer}")
        return self

    @property
    def size(self) -> int:
        """How many arrivals make an update."""
        return self.buffer or 1

    def at_once(self, devices: int, participation: float) -> int:
        """How many of ``devices`` are at work at once: ``concurrency``, else the share ``participation`` of them."""
        return min(devices, self.concurrency or math.ceil(participation * devices))

    def discount(self, staleness: FloatArray) -> FloatArray:
        """What arrivals weigh that are ``staleness`` (n,) updates behind, in (0, 1], (n,)."""
        if self.staleness == "constant":
            return np.ones(len(staleness))
        if self.staleness == "polynomial":
            return np.asarray((1.0 + staleness) ** -self.exponent)
        return np.asarray(1.0 / (self.slope * np.maximum(staleness - self.grace, 0.0) + 1.0))


Aggregation = Annotated[
    Annotated[Synchronous, Tag("synchronous")]
    | Annotated[SemiSynchronous, Tag("semi-synchronous")]
    | Annotated[Asynchronous, Tag("asynchronous")],
    member("mode", "synchronous"),
]
"""``[aggregation]``: the class of its mode."""
