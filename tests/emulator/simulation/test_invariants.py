"""The contract's audit over random worlds with every kind of fault, independently of the program's own audit."""

import math
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
from prefine.emulator.simulation.access import Fdma, Ofdma, Tdma
from prefine.emulator.simulation.audit import audit
from prefine.emulator.simulation.downlink import Broadcast, FixedDownlink, Unicast
from prefine.emulator.simulation.faults import Faults, Outage
from prefine.emulator.simulation.onoff import AlwaysOn, ExponentialOnOff, OnOffLoad
from prefine.emulator.simulation.power import FixedPower, TargetPower
from prefine.emulator.simulation.processor import ContinuousLadder, DiscreteLadder, NoLoad, ProcessorModel
from prefine.emulator.simulation.run import run
from prefine.emulator.simulation.spec import Setting
from prefine.emulator.simulation.thermal import COLD, FirstOrderHeat
from tests.emulator.simulation.worlds import StepChannel, plan, problem, setting

HOT = FirstOrderHeat(25.0, 60.0, 0.3, 60.0, 45.0, 4e8)


@st.composite
def worlds(draw: Any) -> Setting:
    """A world with budgets, channel, access, processors and faults at random."""
    seed = draw(st.integers(0, 1000))
    world = problem(
        draw(st.integers(1, 5)), seed, delay_s=draw(st.floats(0.3, 20.0)), energy_j=draw(st.floats(0.05, 20.0))
    )
    ends = np.cumsum(draw(st.lists(st.floats(0.01, 1.0), min_size=1, max_size=20)))
    gains = draw(st.lists(st.sampled_from([0.0, 1e-12, 1e-11, 1e-9]), min_size=len(ends), max_size=len(ends)))
    channel: Channel = StepChannel(tuple(float(end) for end in ends), (*gains, 1e-11))
    own_hz = world.devices.bandwidth_hz
    noise, horizon_s = world.radio.noise_psd_w_hz, world.budget.delay_s
    load = OnOffLoad(ExponentialOnOff(0.1, 0.2, lambda k: stream(seed, "load", k)), 0.6)
    processor = ProcessorModel(
        ladder=draw(st.sampled_from([ContinuousLadder(), DiscreteLadder((5e8, 1e9, 2e9), 0.001)])),
        load=draw(st.sampled_from([NoLoad(), load])),
        heat=draw(st.sampled_from([COLD, HOT])),
        static_power_w=draw(st.sampled_from([0.0, 0.05])),
    )
    leaving = ExponentialOnOff(1.0, 0.3, lambda k: stream(seed, "dropout", k))
    faults = Faults(
        availability=draw(st.sampled_from([AlwaysOn(), leaving])),
        outage=draw(st.sampled_from([Outage(), Outage(10.0, 0.01, 0.02, 3)])),
        round_deadline_s=draw(st.sampled_from([math.inf, 0.8])),
        min_participants=draw(st.sampled_from([1, 2])),
        battery_j=draw(st.sampled_from([math.inf, 0.5])),
    )
    downlinks = [FixedDownlink(0.01, 0.02), *(kind(1e5, 0.5, 1e6, noise, horizon_s) for kind in (Broadcast, Unicast))]
    return setting(
        world,
        plan(world, draw(st.integers(0, 3)), draw(st.integers(0, 6))),
        channel,
        access=draw(st.sampled_from([Fdma(own_hz), Ofdma(own_hz), Tdma(own_hz), Tdma(own_hz, 0.05)])),
        downlink=draw(st.sampled_from(downlinks)),
        processor=processor,
        faults=faults,
        power_control=draw(st.sampled_from([FixedPower(), TargetPower()])),
        participation=draw(st.sampled_from([0.5, 1.0])),
    )


@settings(max_examples=250, deadline=None)
@given(worlds())
def test_what_must_hold_under_every_fault(world: Setting) -> None:
    result = run(world, "r", "p", 0)
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


def _budgets_hold(result: RunResult, world: Setting) -> None:
    assert result.run.energy_j <= world.problem.budget.energy_j * (1.0 + 1e-8)
    assert result.run.delay_s <= world.problem.budget.delay_s
    assert result.run.stop_reason in {"plan", "delay", "energy"}


def _uploads_deliver(result: RunResult, world: Setting) -> None:
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


def _batteries_hold(result: RunResult, world: Setting) -> None:
    """With its own band a device never draws more than its battery holds."""
    if isinstance(world.access, Fdma):
        for k in range(len(world.problem.devices)):
            drawn = sum(d.compute_energy_j + d.uplink_energy_j for d in result.devices if d.device == k)
            assert drawn <= world.faults.battery_j * (1.0 + 1e-9)


def test_the_audit_notices() -> None:
    """A record that was tampered with does not pass."""
    from dataclasses import replace

    world = setting(problem(), plan(problem()))
    result = run(world, "r", "p", 0)
    audit(result, world, 3e6)
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
            audit(tampered, world, 3e6)
    with pytest.raises(AuditError, match="in use at once"):
        audit(result, world, 3.1e6)
