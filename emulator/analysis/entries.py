"""What runs, their tables and the columns of these are called, for those who make no table and so need no pandas.

Tables are made in `prefine.emulator.analysis.tables`.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple, get_type_hints

from prefine.emulator.records import ClientRecord, DeviceRecord, RoundRecord, RunRecord, RunResult
from prefine.emulator.types import Rehearsed

Record = type[RunRecord] | type[RoundRecord] | type[DeviceRecord] | type[ClientRecord] | type[Rehearsed]
Varied = tuple[tuple[str, object], ...]
"""The scenario keys that a sweep varied, with one run's values."""

CLIENTS = "clients"
"""The table of what each device gave and got in each run."""

OF_RUNS: Mapping[str, Record] = {"rounds": RoundRecord, "devices": DeviceRecord, CLIENTS: ClientRecord}
"""The tables with several rows for each run, named as the parts of a RunResult are."""

FILES: Mapping[str, Record] = {"runs": RunRecord, **OF_RUNS}
HINDSIGHT = "hindsight"
"""The table of the runs that are only a yardstick: the same columns as ``runs``, and there only where asked for."""

REHEARSALS = "rehearsals"
"""The table of the candidates of policies that rehearsed: there only where one did."""


class Entry(NamedTuple):
    """A result with what names it in tables: its ``run_id`` and the scenario keys that a sweep varied."""

    run_id: str
    varied: Varied
    result: RunResult


def run_name(varied: Varied, policy: str, seed: int) -> str:
    """The ``run_id`` of a run: varied values, policy and seed, ``__`` between them, so that it can be taken apart.

    Keys go by their last word where that tells them apart. An underscore that another one or the end follows inside a
    part is ``%5F``, a percent sign ``%25``. Of letters, digits and ``.=+-_`` alone it is also a good name for a file.

    >>> name = run_name((("channel.file", "a__b_"), ("budget.delay_s", 1e-05)), "joint-ft", 3)
    >>> name
    'file=a%5F_b%5F__delay_s=1e-05__joint-ft__s3'
    >>> from urllib.parse import unquote
    >>> *values, policy, seed = map(unquote, name.split("__"))
    >>> dict(value.split("=", 1) for value in values), policy, int(seed[1:])
    ({'file': 'a__b_', 'delay_s': '1e-05'}, 'joint-ft', 3)
    """
    words = short([key for key, _ in varied])
    parts = [*(f"{words[key]}={value}" for key, value in varied), policy, f"s{seed}"]
    return "__".join(re.sub("_(?=_|$)", "%5F", part.replace("%", "%25")) for part in parts)


def short(keys: Sequence[str]) -> dict[str, str]:
    """Each of the varied ``keys`` with its last word, or in full where two end in the same.

    >>> short(["budget.delay_s", "server.max_batch", "devices.max_batch"])
    {'budget.delay_s': 'delay_s', 'server.max_batch': 'server.max_batch', 'devices.max_batch': 'devices.max_batch'}
    """
    last = [key.rpartition(".")[2] for key in keys]
    return {key: word if last.count(word) == 1 else key for key, word in zip(keys, last, strict=True)}


def column_types(record: Record) -> Mapping[str, str]:
    """The pandas dtype of each column of ``record``'s table, in order."""
    return _column_types(record)  # type: ignore[arg-type]  # a class is hashable


@cache
def _column_types(record: Record) -> Mapping[str, str]:
    hints = get_type_hints(record)
    return {name: {int: "int64", float: "float64"}.get(hints[name], "str") for name in record._fields}
