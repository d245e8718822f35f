"""Which rows of devices.csv a run leaves behind, where all would be too many to keep."""

from dataclasses import replace

import numpy as np

from prefine.emulator.device_table import DeviceTable
from prefine.emulator.options import DeviceRows
from prefine.emulator.records import RunResult

SAMPLED = 100
"""Devices of a sample, at most: at even distances by number, the first among them."""


def with_rows(result: RunResult, kept: DeviceRows, devices: int) -> RunResult:
    """``result`` of a run with so many ``devices``, with the rows of all, of none, or of a sample.

    A sample has every round of `SAMPLED` devices, and of each round the device that arrived last: with that, what the
    round waited for is known. It was all counted in the run, whatever is kept.
    """
    if kept == "all" or (kept == "sample" and devices <= SAMPLED):
        return result
    return replace(result, devices=_sample(DeviceTable.of(result.devices), devices) if kept == "sample" else ())


def _sample(table: DeviceTable, devices: int) -> DeviceTable:
    rounds, device = table.columns["round"], table.columns["device"]
    which = device % -(-devices // SAMPLED) == 0
    arrived_s = np.where(table.delivered, table.columns["upload_end_s"], -np.inf)
    order = np.lexsort((-np.arange(len(table)), arrived_s, rounds))  # of those who arrive together, the first is last
    last = order[np.flatnonzero(np.diff(rounds[order], append=-1))]
    which[last[table.delivered[last]]] = True
    return table.taken(which)
