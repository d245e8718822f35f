"""Arrays of records: float64 and read-only, copied whole where a plug-in gets them."""

from dataclasses import fields, is_dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]


IntArray = NDArray[np.int64]


def frozen_array(values: ArrayLike) -> FloatArray:
    """A read-only float64 copy of ``values``."""
    array = np.array(values, dtype=np.float64)
    array.setflags(write=False)
    return array


Record = TypeVar("Record")


def own_copy(record: Record) -> Record:
    """A copy of a frozen ``record`` that shares nothing with it that can be changed: records and arrays are new."""
    if is_dataclass(record) and not isinstance(record, type):
        made: Record = type(record)(**{field.name: own_copy(getattr(record, field.name)) for field in fields(record)})
        return made
    return frozen_array(record) if isinstance(record, np.ndarray) else record  # type: ignore[return-value]  # as it is


class ArrayFields:
    """Makes every array field of a frozen dataclass float64 and read-only."""

    def __post_init__(self) -> None:
        for field in fields(self):  # type: ignore[arg-type]  # every subclass is a dataclass
            values = getattr(self, field.name)
            if values is not None:
                object.__setattr__(self, field.name, frozen_array(values))
