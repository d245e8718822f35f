"""Every run checks itself: what must hold on the clock, whatever the policy, channel and faults."""

import math
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emulator.clock.ledger import BUDGET_SLACK
from emulator.clock.setting import Setting
from emulator.errors import AuditError
from emulator.records import DeviceRecord, RunRecord, RunResult

Columns = Mapping[str, NDArray[Any]]

SLACK = 1e-9
"""Relative, of sums and integrals in double precision."""

INSTANTS = (
    "download_start_s",
    "download_end_s",
    "compute_start_s",
    "compute_end_s",
    "upload_start_s",
    "upload_end_s",
)
"""Of a device's round, in the order in which they happen."""


def audit(result: RunResult, setting: Setting, peak_band_hz: float) -> None:
    """Check ``result`` against ``setting``.

    Raises AuditError naming the run and the first invariant that does not hold.
    """
    for problem in _problems(result, setting, peak_band_hz):
        raise AuditError(f"run {result.run.run_id} broke an invariant: {problem}")


def _problems(result: RunResult, setting: Setting, peak_band_hz: float) -> Iterable[str]:
    yield from _energy(result)
    yield from _budgets(result.run, setting)
    yield from _rounds(result)
    if result.devices:
        named = zip(DeviceRecord._fields, zip(*result.devices, strict=True), strict=True)
        rows = {name: np.array(values) for name, values in named if name != "run_id"}
        yield from _times(rows)
        yield from _limits(rows, setting)
    band_hz = float(setting.problem.devices.bandwidth_hz.sum())
    if peak_band_hz > band_hz * (1.0 + SLACK):
        yield f"{peak_band_hz} Hz in use at once, of {band_hz} Hz"


def _energy(result: RunResult) -> Iterable[str]:
    run = result.run
    parts = math.fsum((run.server_energy_j, run.compute_energy_j, run.uplink_energy_j, run.downlink_energy_j))
    if not _same(parts, run.energy_j):
        yield f"parts sum to {parts} J, total is {run.energy_j} J"
    compute = math.fsum(record.compute_energy_j for record in result.devices)
    if not _same(compute, run.compute_energy_j):
        yield f"devices computed with {compute} J, total says {run.compute_energy_j} J"
    uplink = math.fsum(record.uplink_energy_j for record in result.devices)
    if not _same(uplink, run.uplink_energy_j):
        yield f"devices sent with {uplink} J, total says {run.uplink_energy_j} J"
    rounds = math.fsum(record.energy_j for record in result.rounds)
    if rounds > run.energy_j * (1.0 + SLACK):
        yield f"rounds used {rounds} J, the run {run.energy_j} J"


def _budgets(run: RunRecord, setting: Setting) -> Iterable[str]:
    budget = setting.problem.budget
    if setting.stop_at_budget and run.energy_j > budget.energy_j * (1.0 + 2.0 * BUDGET_SLACK):
        yield f"{run.energy_j} J spent of {budget.energy_j} J"
    if setting.stop_at_budget and run.delay_s > budget.delay_s * (1.0 + 2.0 * BUDGET_SLACK):
        yield f"{run.delay_s} s used of {budget.delay_s} s"


def _rounds(result: RunResult) -> Iterable[str]:
    for before, after in pairwise(result.rounds):
        if after.start_s < before.end_s:
            yield f"round {after.round} started at {after.start_s} s, before {before.end_s} s"
    for record in result.rounds:
        if record.end_s < record.start_s:
            yield f"round {record.round} ended at {record.end_s} s, before it started at {record.start_s} s"


def _times(rows: Columns) -> Iterable[str]:
    instants = np.array([rows[name] for name in INSTANTS])
    latest = np.fmax.accumulate(instants)
    back = np.logical_or.reduce(instants[1:] < latest[:-1] * (1.0 - SLACK))
    yield from _name(back, rows, "time ran back between the instants", *INSTANTS)


def _limits(rows: Columns, setting: Setting) -> Iterable[str]:
    devices, device = setting.problem.devices, rows["device"].astype(np.int64)
    power_w, frequency_hz = rows["power_w"], rows["frequency_hz"]
    most_w = devices.max_power_w[device] * (1.0 + SLACK)
    yield from _name(~((power_w > 0.0) & (power_w <= most_w)), rows, "its power is out of range:", "power_w")
    top_hz = np.array([setting.processor.ladder.level(float(top)) for top in devices.max_frequency_hz])
    most_hz = top_hz[device] * (1.0 + SLACK)
    wrong = ~((frequency_hz > 0.0) & (frequency_hz <= most_hz))
    yield from _name(wrong, rows, "its frequency is out of range:", "frequency_hz")
    bits, delivered = setting.problem.radio.uplink_bits, rows["delivered_bits"]
    too_few = (rows["outcome"] == "delivered") & (delivered < bits * (1.0 - SLACK))
    wrong = too_few | ~(delivered <= bits * (1.0 + SLACK))
    yield from _name(wrong, rows, f"of {bits:g} bits it delivered", "delivered_bits")


def _name(wrong: NDArray[Any], rows: Columns, what: str, *columns: str) -> Iterable[str]:
    """What is wrong in the first row that is."""
    for row in np.flatnonzero(wrong)[:1]:
        values = ", ".join(str(rows[column][row]) for column in columns)
        yield f"device {rows['device'][row]:g} in round {rows['round'][row]:g}: {what} {values}"


def _same(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=SLACK, abs_tol=1e-15)
