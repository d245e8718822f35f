"""The contract's audit over random worlds with every kind of fault, independently of the program's own audit.

A hundred worlds; `make fuzz` runs two thousand.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefine.emulator.channel.base import Channel
from prefine.emulator.errors import AuditError
from prefine.emulator.randomness import stream
from prefine.emulator.records import RunResult
from prefine.emulator.simulation.aggregation import Asynchronous, SemiSynchronous, Synchronous
from prefine.emulator.simulation.audit import audit
from prefine.emulator.simulation.availability import AlwaysOn, ExponentialOnOff
from prefine.emulator.simulation.downlink import Broadcast, FixedDownlink, Unicast
from prefine.emulator.simulation.faults import Faults, Outage
from prefine.emulator.simulation.processor import NoLoad, OnOffLoad, ProcessorModel
from prefine.emulator.simulation.radio import Access, Fdma, FixedPower, Ofdma, Shares, TargetPower, Tdma
from prefine.emulator.simulation.run import run
from prefine.emulator.simulation.spec import RunSpec
from prefine.emulator.simulation.thermal import Heat
from tests.emulator.simulation.worlds import StepChannel, plan, problem, run_spec
from tests.fuzz.effort import examples

HOT = Heat(resistance_c_w=60.0, time_constant_s=0.3, throttle_c=60.0, resume_c=45.0, throttled_hz=4e8)
LADDER = {"levels_hz": (5e8, 1e9, 2e9), "switching_latency_s": 0.001}
OUTAGE = Outage(snr_threshold_db=10.0, attempt_s=0.01, backoff_s=0.02, retries=3)


@dataclass(frozen=True)
class Watched:
    """An access whose answers are checked as they come: the bands in use never sum to more than there is."""

    access: Access
    band_hz: float
    used_hz: dict[int, float] = field(default_factory=dict)

    @property
    def is_separate(self) -> bool:
        return self.access.is_separate

    def share(self, sending: Collection[int], joined: int | None, now_s: float) -> Shares:
        shares = self.access.share(sending, joined, now_s)
        bands = {**self.used_hz, **shares.bandwidth_hz}
        self.used_hz.clear()
        self.used_hz.update({device: bands[device] for device in sending})
        assert all(band_hz >= 0.0 for band_hz in self.used_hz.values())
        assert math.fsum(self.used_hz.values()) <= self.band_hz * (1.0 + 1e-12)
        assert shares.until_s > now_s
        return shares


@st.composite
def worlds(draw: Any) -> RunSpec:
    """A world with budgets, channel, access, processors and faults at random."""
    seed = draw(st.integers(0, 1000))
    world = problem(
        draw(st.integers(1, 5)), seed, delay_s=draw(st.floats(0.3, 20.0)), energy_j=draw(st.floats(0.05, 20.0))
    )
    ends = np.cumsum(draw(st.lists(st.floats(0.01, 1.0), min_size=1, max_size=20)))
    gains = draw(st.lists(st.sampled_from([0.0, 1e-12, 1e-11, 1e-9]), min_size=len(ends), max_size=len(ends)))
    channel: Channel = StepChannel(tuple(float(end) for end in ends), (*gains, 1e-11))
    band_hz = draw(st.sampled_from([1e4, 1e6]))
    own_hz = np.full(len(world.devices), band_hz)
    world = replace(
        world,
        devices=replace(world.devices, bandwidth_hz=own_hz),
        radio=replace(world.radio, uplink_bits=draw(st.sampled_from([6.4e3, 6.4e5]))),
    )
    slot_s = draw(st.floats(0.001, 1.0))
    accesses = [Fdma(own_hz), Ofdma(own_hz), Tdma(own_hz), Tdma(own_hz, slot_s)]
    load = OnOffLoad(ExponentialOnOff(0.1, 0.2, lambda k: stream(seed, "load", k)), 0.6)
    processor = ProcessorModel(
        **draw(st.sampled_from([{}, LADDER])),
        heat=draw(st.sampled_from([None, HOT])),
        static_power_w=draw(st.sampled_from([0.0, 0.05])),
    )
    leaving = ExponentialOnOff(1.0, 0.3, lambda k: stream(seed, "dropout", k))
    faults = Faults(
        outage=draw(st.sampled_from([None, OUTAGE])),
        round_deadline_s=draw(st.sampled_from([None, 0.8])),
        min_participants=draw(st.sampled_from([1, 2])),
        battery_j=draw(st.none() | st.floats(0.001, 0.5)),
    )
    aggregations = [
        Synchronous(),
        SemiSynchronous(buffer=draw(st.integers(1, 5)), deadline_s=draw(st.sampled_from([None, 0.6]))),
        Asynchronous(buffer=draw(st.integers(1, 4)), concurrency=draw(st.sampled_from([None, 1, 3]))),
    ]
    shared = [kind(payload_bits=1e5, power_w=0.5) for kind in (Broadcast, Unicast)]
    return run_spec(
        world,
        plan(world, draw(st.integers(0, 3)), draw(st.integers(0, 6))),
        channel,
        access=Watched(draw(st.sampled_from(accesses)), float(own_hz.sum())),
        downlink=draw(st.sampled_from([FixedDownlink(delay_s=0.01, energy_j=0.02), *shared])),
        processor=processor,
        load=draw(st.sampled_from([NoLoad(), load])),
        faults=faults,
        availability=draw(st.sampled_from([AlwaysOn(), leaving])),
        power_control=draw(st.sampled_from([FixedPower(), TargetPower()])),
        participation=draw(st.sampled_from([0.5, 1.0])),
        aggregation=draw(st.sampled_from(aggregations)),
        stop_at_budget=draw(st.sampled_from([True, True, True, False])),
    )


@settings(max_examples=examples(100, 2000), deadline=None)
@given(worlds())
def test_what_must_hold_under_every_fault(world: RunSpec) -> None:
    result = run(world, "p", 0)
    _energy_adds_up(result)
    _budgets_hold(result, world)
    _uploads_deliver(result, world)
    _time_runs_forward(result)
    _batteries_hold(result, world)


def _energy_adds_up(result: RunResult) -> None:
    total = result.run
    assert total.energy_j == pytest.approx(
        total.server_energy_j + total.compute_energy_j + total.uplink_energy_j + total.downlink_energy_j, rel=1e-9
    )
    assert sum(d.compute_energy_j for d in result.devices) == pytest.approx(total.compute_energy_j, rel=1e-9)
    assert sum(d.uplink_energy_j for d in result.devices) == pytest.approx(total.uplink_energy_j, rel=1e-9)
    lost = sum(d.compute_energy_j + d.uplink_energy_j for d in result.devices if d.outcome != "delivered")
    assert total.wasted_energy_j >= lost * (1.0 - 1e-9)


def _budgets_hold(result: RunResult, world: RunSpec) -> None:
    if world.stop_at_budget:
        assert result.run.energy_j <= world.problem.budget.energy_j * (1.0 + 1e-8)
        assert result.run.delay_s <= world.problem.budget.delay_s
    assert result.run.stop_reason in {"plan", "delay" if world.stop_at_budget else "no signal", "energy"}


def _uploads_deliver(result: RunResult, world: RunSpec) -> None:
    bits = world.problem.radio.uplink_bits
    for record in result.devices:
        if record.outcome == "delivered":
            assert record.delivered_bits == pytest.approx(bits, rel=1e-9)
            assert not math.isnan(record.upload_end_s)
        else:
            assert record.delivered_bits <= bits * (1.0 + 1e-9)
            assert record.outcome in {"late", "dropped", "outage", "battery", "budget"}
    for row in result.rounds:
        if row.stage == "finetune":
            arrived = [d for d in result.devices if d.round == row.round and d.outcome == "delivered"]
            assert row.participants == len(arrived)


def _time_runs_forward(result: RunResult) -> None:
    for before, after in pairwise(result.rounds):
        assert after.start_s >= before.end_s
    for record in result.devices:
        instants = [
            record.download_start_s,
            record.download_end_s,
            record.compute_start_s,
            record.compute_end_s,
            record.upload_start_s,
            record.upload_end_s,
        ]
        seen = [instant for instant in instants if not math.isnan(instant)]
        assert all(after >= before * (1 - 1e-12) for before, after in pairwise(seen))


def _batteries_hold(result: RunResult, world: RunSpec) -> None:
    """Whatever the access, no device draws more than its battery holds, and one that is empty never returns."""
    for k in range(len(world.problem.devices)):
        mine = sorted((d for d in result.devices if d.device == k), key=lambda d: d.download_start_s)
        drawn_j = math.fsum(d.compute_energy_j + d.uplink_energy_j for d in mine)
        assert drawn_j <= world.faults.capacity_j * (1.0 + 1e-9)
        assert all(d.outcome != "battery" for d in mine[:-1])


def test_the_audit_notices() -> None:
    """A record that was tampered with does not pass."""
    world = run_spec(problem(), plan(problem()))
    result = run(world, "p", 0)
    audit(result, world, 3e6, {})
    wrong = [
        replace(result, run=result.run._replace(energy_j=result.run.energy_j * 1.001)),
        replace(result, run=result.run._replace(compute_energy_j=result.run.compute_energy_j * 1.001)),
        replace(result, rounds=result.rounds[::-1]),
        replace(result, devices=(result.devices[0]._replace(delivered_bits=1.0), *result.devices[1:])),
        replace(result, devices=(result.devices[0]._replace(power_w=1.0), *result.devices[1:])),
        replace(result, devices=(result.devices[0]._replace(compute_end_s=0.0), *result.devices[1:])),
    ]
    for tampered in wrong:
        with pytest.raises(AuditError):
            audit(tampered, world, 3e6, {})
    with pytest.raises(AuditError, match="in use at once"):
        audit(result, world, 3.1e6, {})
    spent_j = max(record.compute_energy_j + record.uplink_energy_j for record in result.devices)
    with pytest.raises(AuditError, match="from a battery of"):
        audit(result, replace(world, faults=Faults(battery_j=spent_j)), 3e6, {})
