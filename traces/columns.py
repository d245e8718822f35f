"""Which columns of a table are what: times, devices, and measurements with their units, by how they are called."""

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase

from prefine.emulator.text import did_you_mean, quoted, wrong
from prefine.traces.options import Unit

TIME_COLUMNS = ("time_s", "time", "t", "seconds", "timestamp_s", "timestamp", "seq_num")
DEVICE_COLUMNS = ("device", "device_id", "ue", "ue_id", "user", "user_id", "client", "client_id", "imsi", "rnti")
"""Where a table says in each row whose row it is."""
SUFFIX: dict[str, Unit] = {
    "mbps": "Mbit/s",
    "mbit_s": "Mbit/s",
    "kbps": "kbit/s",
    "kbit_s": "kbit/s",
    "bps": "bit/s",
    "bit_s": "bit/s",
    "snr": "snr_db",
    "snr_db": "snr_db",
    "sinr": "snr_db",
    "sinr_db": "snr_db",
    "rsrp": "dbm",
    "dbm": "dbm",
    "gain_db": "gain_db",
    "gain": "gain",
}
"""What a column measures, by how its name ends; the longest ending that fits counts."""

SHOWN = 20


def unit_of(name: str) -> Unit | None:
    """The unit in a column's name; None where there is none."""
    plain = _plain(name)
    fitting = [ending for ending in SUFFIX if plain == ending or plain.endswith("_" + ending)]
    return SUFFIX[max(fitting, key=len)] if fitting else None


def called(header: Sequence[str], known: Sequence[str]) -> str | None:
    """The column that is called by the first name of ``known`` that there is; None where there is none."""
    by_name = {_plain(name): name for name in reversed(header)}
    return next((by_name[name] for name in known if name in by_name), None)


def values_of(header: Sequence[str], patterns: Sequence[str], apart: Sequence[str | None], source: str) -> list[str]:
    """The columns with measurements, in the table's order: those that ``patterns`` name, else those with a unit.

    In a pattern, ``*`` is any text and ``?`` any character. Columns of ``apart`` are something else. Raises InputError
    where there is none, or a pattern fits none.
    """
    for pattern in patterns:
        if not _fitting(header, pattern):
            raise wrong(
                source,
                1,
                f"has no column {quoted(pattern)}; columns: {listed(header)}{did_you_mean(pattern, list(header))}",
            )
    named = {name for pattern in patterns for name in _fitting(header, pattern)}
    wanted = [name for name in header if (name in named if patterns else unit_of(name) is not None)]
    chosen = [name for name in wanted if name not in apart]
    if wanted and not chosen:
        raise wrong(source, 1, f"column {listed(wanted)} holds times or devices, and there is no other with values")
    if not chosen:
        raise wrong(
            source,
            1,
            f"no column ends in {', '.join(SUFFIX)}; name one by --column and --unit; columns: {listed(header)}",
        )
    return chosen


def listed(names: Sequence[str]) -> str:
    """The first of ``names`` by comma, and how many more there are."""
    more = f", and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _fitting(header: Sequence[str], pattern: str) -> list[str]:
    """The name itself where there is one: it may hold a star."""
    if pattern in header:
        return [pattern]
    return [name for name in header if fnmatchcase(name, pattern.replace("[", "[[]"))]  # brackets are themselves


def _plain(name: str) -> str:
    """``Throughput (Mbps)`` as ``throughput_mbps``."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
