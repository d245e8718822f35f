"""Which rows of devices.csv a run leaves behind, where all would be too many to keep."""

from collections.abc import Iterator
from dataclasses import replace

from prefine.emulator.options import DeviceRows
from prefine.emulator.records import DeviceRecord, RunResult

SAMPLED = 100
"""Devices of a sample, at most: at even distances by number, the first among them."""


def with_rows(result: RunResult, kept: DeviceRows, devices: int) -> RunResult:
    """``result`` of a run with so many ``devices``, with the rows of all, of none, or of a sample.

    A sample has every round of `SAMPLED` devices, and of each round the device that arrived last: with that, what the
    round waited for is known. It was all counted in the run, whatever is kept.
    """
    if kept == "all" or (kept == "sample" and devices <= SAMPLED):
        return result
    return replace(result, devices=tuple(_sample(result.devices, devices)) if kept == "sample" else ())


def _sample(rows: tuple[DeviceRecord, ...], devices: int) -> Iterator[DeviceRecord]:
    last: dict[int, DeviceRecord] = {}
    for row in rows:
        if row.outcome == "delivered" and (row.round not in last or row.upload_end_s > last[row.round].upload_end_s):
            last[row.round] = row
    apart = -(-devices // SAMPLED)
    return (row for row in rows if row.device % apart == 0 or last.get(row.round) is row)
