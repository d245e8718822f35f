"""Device records in columns: as many as devices times rounds, so they are made only where one is asked for."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from itertools import chain, groupby
from typing import Any, NamedTuple, Self, SupportsIndex, get_type_hints, overload

import numpy as np
from numpy.typing import NDArray

from prefine.emulator.records import DeviceRecord

Column = NDArray[Any]

KINDS: Mapping[str, type] = {name: get_type_hints(DeviceRecord)[name] for name in DeviceRecord._fields}
"""``int``, ``float`` or ``str``, by column; texts are kept as objects."""

AT_ONCE = 20_000
"""Rows that become records together."""

record_of = partial(tuple.__new__, DeviceRecord)
"""``DeviceRecord._make`` in a third of the time."""


class Round(NamedTuple):
    """The records of a round: rows ``first`` to ``stop`` of ``values``, an array for each column or what all rows have.

    Rounds that were worked out together share the ``values``.
    """

    values: tuple[object, ...]
    first: int
    stop: int


class DeviceTable(Sequence[DeviceRecord]):
    """The records of many devices and rounds; ``columns`` has an array (n,) for each field of `DeviceRecord`."""

    def __init__(self, columns: Mapping[str, Column]) -> None:
        self.columns = dict(columns)

    @classmethod
    def of(cls, rows: Iterable[DeviceRecord]) -> Self:
        """The table of ``rows``; of a table, itself."""
        if isinstance(rows, cls):
            return rows
        values = list(zip(*rows, strict=True)) or [()] * len(KINDS)
        return cls({name: _array(name, column) for name, column in zip(KINDS, values, strict=True)})

    @classmethod
    def joined(cls, rounds: Iterable[Round | list[DeviceRecord]]) -> Self:
        """The table of ``rounds``, one after the other."""
        blocks = list(_blocks(rounds))
        return cls({name: _joined(name, i, blocks) for i, name in enumerate(KINDS)})

    def taken(self, which: NDArray[np.bool_] | slice) -> Self:
        """The rows of a slice, or those for which ``which`` (n,) is true."""
        return type(self)({name: column[which] for name, column in self.columns.items()})

    @cached_property
    def delivered(self) -> NDArray[np.bool_]:
        """Whose work arrived whole, (n,)."""
        return np.asarray(self.columns["outcome"] == "delivered", dtype=np.bool_)

    @property
    def energy_j(self) -> NDArray[np.float64]:
        """What each device spent in each round, (n,)."""
        spent_j: NDArray[np.float64] = self.columns["compute_energy_j"] + self.columns["uplink_energy_j"]
        return spent_j

    def __len__(self) -> int:
        return len(self.columns["device"])

    def __iter__(self) -> Iterator[DeviceRecord]:
        for first in range(0, len(self), AT_ONCE):
            yield from self[first : first + AT_ONCE]

    @overload
    def __getitem__(self, index: SupportsIndex) -> DeviceRecord: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[DeviceRecord, ...]: ...

    def __getitem__(self, index: Any) -> DeviceRecord | tuple[DeviceRecord, ...]:
        if isinstance(index, slice):
            return tuple(
                map(record_of, zip(*(column[index].tolist() for column in self.columns.values()), strict=True))
            )
        at = range(len(self))[index]
        return self[at : at + 1][0]

    def __repr__(self) -> str:
        return repr(tuple(self))

    def __eq__(self, other: object) -> bool:
        """Whether every record is the same; unknown is equal to unknown."""
        if not isinstance(other, DeviceTable | tuple | list):
            return NotImplemented
        columns = DeviceTable.of(other).columns
        return all(
            np.array_equal(mine, columns[name], equal_nan=KINDS[name] is float) for name, mine in self.columns.items()
        )

    __hash__ = None  # type: ignore[assignment]  # arrays can be changed


def _blocks(rounds: Iterable[Round | list[DeviceRecord]]) -> Iterator[Round]:
    """``rounds``; those that share their values and follow each other as one, so do lists of records."""
    for _, parts in groupby(rounds, lambda part: 0 if isinstance(part, list) else id(part.values)):
        some = list(parts)
        first, last = some[0], some[-1]
        if isinstance(first, list) or isinstance(last, list):
            records = list(chain.from_iterable(part for part in some if isinstance(part, list)))
            yield Round(tuple(DeviceTable.of(records).columns.values()), 0, len(records))
        else:
            yield Round(first.values, first.first, last.stop)


def _joined(name: str, number: int, blocks: Sequence[Round]) -> Column:
    """The column with this name and number of all ``blocks``."""
    values = [block.values[number] for block in blocks]
    sizes = np.array([block.stop - block.first for block in blocks], dtype=np.int64)
    if not any(isinstance(value, np.ndarray) for value in values):
        return np.repeat(_array(name, values), sizes)
    return np.concatenate(
        [
            value[block.first : block.stop] if isinstance(value, np.ndarray) else np.full(size, value, _TYPES[name])
            for block, size, value in zip(blocks, sizes.tolist(), values, strict=True)
        ]
    )


_TYPES: Mapping[str, Any] = {name: {int: np.int64, float: np.float64}.get(kind, object) for name, kind in KINDS.items()}


def _array(name: str, values: Iterable[object]) -> Column:
    return np.array(list(values), dtype=_TYPES[name])
