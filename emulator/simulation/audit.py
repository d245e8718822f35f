"""Every run checks itself: what must hold on the clock, whatever the policy, channel and faults."""

import math
from collections.abc import Iterable, Mapping
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from prefine.emulator.access import whole_band_hz
from prefine.emulator.charge import Charge
from prefine.emulator.device_table import Column, DeviceTable
from prefine.emulator.errors import AuditError
from prefine.emulator.records import RunRecord, RunResult
from prefine.emulator.simulation.aggregation import Asynchronous
from prefine.emulator.simulation.energy import BUDGET_SLACK
from prefine.emulator.simulation.spec import RunSpec

Columns = Mapping[str, Column]
Chosen = Mapping[int, NDArray[np.bool_]]
"""Whom the policy chose, (K,), by the number of the fine-tuning round; a round that is not there was open to all."""

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


def audit(result: RunResult, spec: RunSpec, peak_band_hz: float, chosen: Chosen) -> None:
    """Check ``result`` against ``spec`` and against whom its policy ``chosen``.

    Raises AuditError naming the run and the first invariant that does not hold.
    """
    for problem in _problems(result, spec, peak_band_hz, chosen):
        raise AuditError(f"the run of {result.run.policy} with seed {result.run.seed} broke an invariant: {problem}")


def _problems(result: RunResult, spec: RunSpec, peak_band_hz: float, chosen: Chosen) -> Iterable[str]:
    table = DeviceTable.of(result.devices)
    columns = table.columns
    yield from _energy(result, columns, spec.charge)
    yield from _budgets(result.run, spec)
    yield from _batteries(table, spec)
    yield from _rounds(result)
    yield from _participants(result, table, spec, chosen)
    yield from _times(columns)
    yield from _limits(table, spec)
    band_hz = whole_band_hz(spec.problem.devices, spec.problem.radio)
    if peak_band_hz > band_hz * (1.0 + SLACK):
        yield f"{peak_band_hz} Hz in use at once, of {band_hz} Hz"


def _energy(result: RunResult, columns: Columns, charge: Charge) -> Iterable[str]:
    run = result.run
    parts = math.fsum((run.server_energy_j, run.compute_energy_j, run.uplink_energy_j, run.downlink_energy_j))
    if not _same(parts, run.energy_j):
        yield f"parts sum to {parts} J, total is {run.energy_j} J"
    compute = charge.compute_j + float(columns["compute_energy_j"].sum())
    if not _same(compute, run.compute_energy_j):
        yield f"devices computed with {compute} J, total says {run.compute_energy_j} J"
    uplink = charge.uplink_j + float(columns["uplink_energy_j"].sum())
    if not _same(uplink, run.uplink_energy_j):
        yield f"devices sent with {uplink} J, total says {run.uplink_energy_j} J"
    rounds = math.fsum([charge.energy_j, *(record.energy_j for record in result.rounds)])
    if rounds > run.energy_j * (1.0 + SLACK):
        yield f"rounds used {rounds} J, the run {run.energy_j} J"


def _budgets(run: RunRecord, spec: RunSpec) -> Iterable[str]:
    budget = spec.problem.budget
    if spec.stop_at_budget and run.energy_j > budget.energy_j * (1.0 + 2.0 * BUDGET_SLACK):
        yield f"{run.energy_j} J spent of {budget.energy_j} J"
    if spec.stop_at_budget and run.delay_s > budget.delay_s * (1.0 + 2.0 * BUDGET_SLACK):
        yield f"{run.delay_s} s used of {budget.delay_s} s"


def _batteries(table: DeviceTable, spec: RunSpec) -> Iterable[str]:
    if math.isinf(spec.faults.capacity_j):
        return
    spent_j = np.bincount(table.columns["device"], table.energy_j, len(spec.problem.devices))
    for device in np.flatnonzero(spent_j > spec.faults.capacity_j * (1.0 + SLACK))[:1]:
        yield f"device {device} drew {spent_j[device]} J from a battery of {spec.faults.capacity_j} J"


def _rounds(result: RunResult) -> Iterable[str]:
    for before, after in pairwise(result.rounds):
        if after.start_s < before.end_s:
            yield f"round {after.round} started at {after.start_s} s, before {before.end_s} s"
    for record in result.rounds:
        if record.end_s < record.start_s:
            yield f"round {record.round} ended at {record.end_s} s, before it started at {record.start_s} s"


def _participants(result: RunResult, table: DeviceTable, spec: RunSpec, chosen: Chosen) -> Iterable[str]:
    """Nobody who was not chosen does anything, nobody takes part twice, and who delivered is counted."""
    count, columns, whole = len(spec.problem.devices), table.columns, table.delivered
    rounds, device, behind = (columns[name] for name in ("round", "device", "staleness"))
    if chosen:
        open_to_all = np.ones(count, dtype=np.bool_)
        masks = np.array([chosen.get(number, open_to_all) for number in range(int(rounds.max(initial=0)) + 1)])
        yield from _name(~masks[rounds - behind, device], columns, "it was not chosen, its outcome:", "outcome")
    delivered = np.bincount(rounds[whole], minlength=len(result.rounds) + 1)
    for record in result.rounds:
        if record.stage == "finetune" and record.participants != delivered[record.round]:
            yield f"{delivered[record.round]} devices delivered in round {record.round}, not {record.participants}"
    if isinstance(spec.aggregation, Asynchronous):
        yield from _versions(result, columns, rounds - behind, whole)
        yield from _one_at_a_time(columns, spec.aggregation.at_once(count, spec.participation))
    elif behind.any() or not _are_different(rounds * count + device):
        yield "a device took part twice in one round, or with a model of another"


def _are_different(numbers: NDArray[np.int64]) -> bool:
    """Whether no number is there twice; most runs leave them in rising order."""
    return bool((numbers[1:] > numbers[:-1]).all()) or len(np.unique(numbers)) == len(numbers)


def _versions(
    result: RunResult, columns: Columns, number: NDArray[np.int64], whole: NDArray[np.bool_]
) -> Iterable[str]:
    """Who began while update ``number`` was being made did so between that one and the one before; so did arrivals."""
    ends_s = np.array([-math.inf, *(r.end_s for r in result.rounds if r.stage == "finetune"), math.inf])
    begun_s, arrived_s = columns["download_start_s"], columns["upload_end_s"]
    other = (begun_s < ends_s[number - 1]) | (begun_s > ends_s[number])
    yield from _name(other, columns, "its model is of another version:", "staleness", "download_start_s")
    rounds = columns["round"]
    other = whole & ((arrived_s < ends_s[rounds - 1]) | (arrived_s > ends_s[rounds]))
    yield from _name(other, columns, "it arrived for another update:", "upload_end_s")


def _one_at_a_time(columns: Columns, at_once: int) -> Iterable[str]:
    """No device does two things at once, and never more than ``at_once`` are at work."""
    if not len(columns["device"]):
        return
    begun_s = columns["download_start_s"]
    ended_s = np.fmax.reduce(np.array([columns[name] for name in INSTANTS]))
    order = np.lexsort((begun_s, columns["device"]))
    device = columns["device"][order]
    overlap = np.zeros(len(order), dtype=np.bool_)
    overlap[order[1:]] = (device[1:] == device[:-1]) & (begun_s[order[1:]] < ended_s[order[:-1]])
    yield from _name(overlap, columns, "it had not ended what it began before", "download_start_s")
    starts, ends = np.sort(begun_s), np.sort(ended_s)
    if np.max(np.arange(1, len(starts) + 1) - np.searchsorted(ends, starts, side="right")) > at_once:
        yield f"more than {at_once} devices at work at once"


def _times(columns: Columns) -> Iterable[str]:
    instants = np.array([columns[name] for name in INSTANTS])
    latest = np.fmax.accumulate(instants)
    back = np.logical_or.reduce(instants[1:] < latest[:-1] * (1.0 - SLACK))
    yield from _name(back, columns, "time ran back between the instants", *INSTANTS)


def _limits(table: DeviceTable, spec: RunSpec) -> Iterable[str]:
    columns, own = table.columns, spec.problem.devices
    devices, device = spec.crew.hardware(own, columns["round"] - columns["staleness"], columns["device"])
    power_w, frequency_hz = columns["power_w"], columns["frequency_hz"]
    most_w = devices.max_power_w[device] * (1.0 + SLACK)
    least_w = devices.least_power_w[device] * (1.0 - SLACK)
    in_range = (power_w > 0.0) & (power_w >= least_w) & (power_w <= most_w)
    yield from _name(~in_range, columns, "its power is out of range:", "power_w")
    tops_hz, which = np.unique(devices.max_frequency_hz, return_inverse=True)
    top_hz = np.array([spec.processor.level(top) for top in tops_hz.tolist()])[which]
    most_hz = top_hz[device] * (1.0 + SLACK)
    wrong = ~((frequency_hz > 0.0) & (frequency_hz <= most_hz))
    yield from _name(wrong, columns, "its frequency is out of range:", "frequency_hz")
    bits, delivered = spec.problem.radio.uplink_bits, columns["delivered_bits"]
    wrong = table.delivered & (delivered < bits * (1.0 - SLACK)) | ~(delivered <= bits * (1.0 + SLACK))
    yield from _name(wrong, columns, f"of {bits:g} bits it delivered", "delivered_bits")


def _name(wrong: NDArray[np.bool_], columns: Columns, what: str, *shown: str) -> Iterable[str]:
    """What is wrong in the first row that is."""
    for row in np.flatnonzero(wrong)[:1]:
        values = ", ".join(str(columns[column][row]) for column in shown)
        yield f"device {columns['device'][row]} in round {columns['round'][row]}: {what} {values}"


def _same(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=SLACK, abs_tol=1e-15)
