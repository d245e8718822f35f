"""Availability traces: CSV ``time_s,device,available``, 1 while a device can take part, 0 while it cannot."""

import csv
import math
from collections.abc import Iterable

from prefine.emulator.errors import InputError
from prefine.emulator.simulation.onoff import Switches
from prefine.emulator.text import decoded

HEADER = ["time_s", "device", "available"]


def availability_of(data: bytes, source: str, devices: int) -> Switches:
    """The availability of ``devices`` devices in the bytes of a file.

    Raises InputError: it is no text, or `parse_availability` refuses it.
    """
    return parse_availability(decoded(data, source, f"a CSV file with {','.join(HEADER)}"), source, devices)


def parse_availability(lines: Iterable[str], source: str, devices: int) -> Switches:
    """Per device, times strictly rising from 0; a state holds until the next row, the last one for good.

    A device without rows is always there. Raises InputError with ``source:line: what is wrong, what is allowed``.
    """
    states: list[list[tuple[float, bool]]] = [[] for _ in range(devices)]
    rows = [(n, line) for n, line in enumerate(lines, 1) if line.strip() and not line.startswith("#")]
    if not rows or next(csv.reader([rows[0][1]])) != HEADER:
        raise InputError(f"{source}:{rows[0][0] if rows else 1}: must begin with the header {','.join(HEADER)}")
    for number, line in rows[1:]:
        time_s, device, available = _row(line, f"{source}:{number}", devices)
        previous = states[device]
        if (time_s <= previous[-1][0]) if previous else (time_s != 0.0):
            raise InputError(f"{source}:{number}: time_s = {time_s:g} of device {device}, must rise strictly from 0")
        if not previous or previous[-1][1] != available:
            previous.append((time_s, available))
    return Switches(
        tuple(changes[0][1] if changes else True for changes in states),
        tuple(tuple(time_s for time_s, _ in changes[1:]) for changes in states),
    )


def _row(line: str, place: str, devices: int) -> tuple[float, int, bool]:
    cells = next(csv.reader([line]))
    try:
        time_s, device, available = float(cells[0]), int(cells[1]), int(cells[2])
    except (ValueError, IndexError):
        raise InputError(f"{place}: {line!r}, must be a time, a device number and 1 or 0") from None
    if len(cells) != len(HEADER) or not math.isfinite(time_s) or available not in (0, 1):
        raise InputError(f"{place}: {line!r}, must be a time, a device number and 1 or 0")
    if not 0 <= device < devices:
        raise InputError(f"{place}: device {device}, must be 0 to {devices - 1}")
    return time_s, device, available == 1
