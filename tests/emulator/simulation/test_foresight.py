"""A round that is foreseen leaves the same records as one that the devices' own processes live through."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefine.emulator.channel.trace import Trace, TraceChannel
from prefine.emulator.records import RunResult
from prefine.emulator.simulation import run
from prefine.emulator.simulation.access import Ofdma
from prefine.emulator.simulation.assignment import Assignment
from prefine.emulator.simulation.control import FollowPlan
from prefine.emulator.simulation.downlink import Broadcast, FixedDownlink, Unicast
from prefine.emulator.simulation.fastpath import Blind, ClearSky, Foreseen, foresight
from prefine.emulator.simulation.faults import Faults
from prefine.emulator.simulation.power import FixedPower, TargetPower
from prefine.emulator.simulation.processor import DiscreteLadder, ProcessorModel
from prefine.emulator.simulation.spec import Setting
from tests.emulator.simulation.worlds import CountingLearner, StepChannel, plan, problem, setting


class Watched:
    """Counts what is foreseen."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.foreseen, self.asked = inner, 0, 0

    def foresee(self, assignment: Assignment) -> Foreseen | None:
        found: Foreseen | None = self.inner.foresee(assignment)
        self.asked += 1
        self.foreseen += found is not None
        return found


def both_ways(world: Setting) -> tuple[RunResult, RunResult, Watched]:
    """With foresight and without; what the foresight did."""
    watched = Watched(None)

    def looking(*arguments: Any) -> Watched:
        watched.inner = foresight(*arguments)
        return watched

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "foresight", looking)
        foreseen = run.run(fresh(world), "r", "p", 0)
        patch.setattr(run, "foresight", lambda *_: Blind())
        lived = run.run(fresh(world), "r", "p", 0)
    return foreseen, lived, watched


def fresh(world: Setting) -> Setting:
    """``world`` with its pilot, its learner and its random draws at their start."""
    return replace(world, pilot=FollowPlan(world.plan), learner=CountingLearner(), selection=np.random.default_rng(0))


def assert_same(one: RunResult, other: RunResult) -> None:
    tables: list[tuple[Any, Any]] = [([one.run], [other.run]), (one.rounds, other.rounds), (one.devices, other.devices)]
    for rows, others in tables:
        assert len(rows) == len(others)
        for row, also in zip(rows, others, strict=True):
            for name, value, twin in zip(row._fields, row, also, strict=True):
                if isinstance(value, float):
                    assert value == pytest.approx(twin, rel=1e-12, abs=1e-15, nan_ok=True), name
                else:
                    assert value == twin, name


@st.composite
def quiet_worlds(draw: Any) -> Setting:
    """Worlds in which nothing goes wrong, under any channel, downlink, power control and budget."""
    world = problem(
        draw(st.integers(1, 5)),
        draw(st.integers(0, 1000)),
        delay_s=draw(st.floats(0.3, 60.0)),
        energy_j=draw(st.floats(0.5, 60.0)),
    )
    ends = np.cumsum(draw(st.lists(st.floats(0.01, 1.0), min_size=1, max_size=30)))
    gains = draw(st.lists(st.sampled_from([0.0, 1e-12, 1e-11, 1e-9]), min_size=len(ends), max_size=len(ends)))
    channel = StepChannel(tuple(float(end) for end in ends), (*gains, draw(st.sampled_from([0.0, 1e-11]))))
    noise, horizon_s = world.radio.noise_psd_w_hz, run.OVERRUN_HORIZON * world.budget.delay_s
    downlinks = [FixedDownlink(), FixedDownlink(0.01, 0.02)]
    shared = [kind(1e5, 0.5, 1e6, noise, horizon_s) for kind in (Broadcast, Unicast)]
    return setting(
        world,
        plan(world, draw(st.integers(0, 3)), draw(st.integers(1, 6))),
        channel,
        downlink=draw(st.sampled_from([*downlinks, *shared])),
        processor=ProcessorModel(static_power_w=draw(st.sampled_from([0.0, 0.05]))),
        faults=Faults(min_participants=draw(st.sampled_from([1, 2]))),
        power_control=draw(st.sampled_from([FixedPower(), TargetPower()])),
        participation=draw(st.sampled_from([0.5, 1.0])),
        stop_at_budget=draw(st.booleans()),
    )


@settings(max_examples=200, deadline=None)
@given(quiet_worlds())
def test_foreseen_rounds_are_the_lived_ones(world: Setting) -> None:
    foreseen, lived, watched = both_ways(world)
    assert_same(foreseen, lived)
    assert watched.foreseen <= watched.asked


def test_most_rounds_are_foreseen_and_the_last_is_lived_through() -> None:
    """A delay budget that ends within the fifth of six rounds."""
    world = problem(4)
    round_s = run.run(setting(world, plan(world, 0, 1)), "r", "p", 0).run.delay_s
    world = replace(world, budget=replace(world.budget, delay_s=4.5 * round_s))
    foreseen, lived, watched = both_ways(setting(world, plan(world, 0, 6)))
    assert_same(foreseen, lived)
    assert (watched.foreseen, watched.asked) == (4, 5)
    assert foreseen.run.stop_reason == "delay"


def test_energy_that_runs_out_is_lived_through() -> None:
    world = problem(4)
    round_j = run.run(setting(world, plan(world, 0, 1)), "r", "p", 0).run.energy_j
    world = replace(world, budget=replace(world.budget, energy_j=4.5 * round_j))
    foreseen, lived, _ = both_ways(setting(world, plan(world, 0, 6)))
    assert_same(foreseen, lived)
    assert (foreseen.run.stop_reason, foreseen.run.finetune_rounds) == ("energy", 4)


def test_a_trace_that_ends_after_the_energy_did_is_no_error() -> None:
    """The foresight meets the end of the trace; the devices stop before it."""
    world = problem(1, energy_j=0.03)
    trace = Trace((np.array([0.0, 0.1]),), (np.array([-90.0, -160.0]),), (0.3,))
    channel = TraceChannel(trace, np.zeros(1), "error")
    foreseen, lived, watched = both_ways(setting(world, plan(world, 0, 2), channel))
    assert_same(foreseen, lived)
    assert watched.foreseen == 0
    assert foreseen.run.stop_reason == "energy"


@pytest.mark.parametrize(
    "change",
    [
        {"access": Ofdma(problem(3).devices.bandwidth_hz)},
        {"faults": Faults(battery_j=5.0)},
        {"faults": Faults(round_deadline_s=math.inf, min_participants=3, battery_j=1e9)},
        {"processor": ProcessorModel(ladder=DiscreteLadder((1e9, 2e9), 0.0))},
    ],
)
def test_worlds_with_surprises_are_not_foreseen(change: dict[str, Any]) -> None:
    world = replace(setting(problem(3), plan(problem(3))), **change)
    assert isinstance(foresight("r", world.problem, world.channel, world.access, world.processor, world.faults), Blind)


def test_a_quiet_world_is_foreseen() -> None:
    world = setting(problem(3), plan(problem(3)), faults=Faults(min_participants=2))
    quiet = foresight("r", world.problem, world.channel, world.access, world.processor, world.faults)
    assert isinstance(quiet, ClearSky)
