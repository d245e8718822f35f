"""Every run checks itself: what must hold on the clock, whatever the policy, channel and faults."""

import math
from collections.abc import Iterable
from itertools import pairwise

from emulator.clock.ledger import BUDGET_SLACK
from emulator.clock.setting import Setting
from emulator.errors import AuditError
from emulator.records import DeviceRecord, RunRecord, RunResult

SLACK = 1e-9
"""Relative, of sums and integrals in double precision."""


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
    for record in result.devices:
        yield from _times(record)
        yield from _limits(record, setting)
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


def _times(record: DeviceRecord) -> Iterable[str]:
    instants = (
        record.download_start_s,
        record.download_end_s,
        record.compute_start_s,
        record.compute_end_s,
        record.upload_start_s,
        record.upload_end_s,
    )
    for before, after in pairwise(instant for instant in instants if not math.isnan(instant)):
        if after < before * (1.0 - SLACK):
            yield f"device {record.device} in round {record.round}: time ran back from {before} s to {after} s"


def _limits(record: DeviceRecord, setting: Setting) -> Iterable[str]:
    devices, where = setting.problem.devices, f"device {record.device} in round {record.round}"
    if not 0.0 < record.power_w <= float(devices.max_power_w[record.device]) * (1.0 + SLACK):
        yield f"{where}: power {record.power_w} W"
    top_hz = setting.processor.ladder.level(float(devices.max_frequency_hz[record.device]))
    if not 0.0 < record.frequency_hz <= top_hz * (1.0 + SLACK):
        yield f"{where}: frequency {record.frequency_hz} Hz"
    bits = setting.problem.radio.uplink_bits
    if record.outcome == "delivered" and not _same(record.delivered_bits, bits):
        yield f"{where}: delivered {record.delivered_bits} bit of {bits}"
    if record.delivered_bits > bits * (1.0 + SLACK):
        yield f"{where}: delivered {record.delivered_bits} bit of {bits}"


def _same(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=SLACK, abs_tol=1e-15)
