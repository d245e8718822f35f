"""A round on the fast path leaves the same records as the devices' own processes."""

import math
from dataclasses import replace
from itertools import chain, repeat
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefine.emulator.channel.base import StaticChannel
from prefine.emulator.channel.trace import Trace, TraceChannel
from prefine.emulator.randomness import stream
from prefine.emulator.records import RunResult
from prefine.emulator.simulation import barrier, run
from prefine.emulator.simulation.availability import AlwaysOn, ExponentialOnOff, Switches
from prefine.emulator.simulation.control import FollowPlan
from prefine.emulator.simulation.course import ComputedRound
from prefine.emulator.simulation.downlink import Broadcast, FixedDownlink, FreeDownlink, Unicast
from prefine.emulator.simulation.energy import BUDGET_SLACK
from prefine.emulator.simulation.fastpath import IndependentDevices, NoFastPath, fast_path
from prefine.emulator.simulation.faults import Faults, Outage
from prefine.emulator.simulation.orders import Assignment
from prefine.emulator.simulation.ownband import OwnBands
from prefine.emulator.simulation.processor import OnOffLoad, ProcessorModel
from prefine.emulator.simulation.radio import FixedPower, Ofdma, TargetPower
from prefine.emulator.simulation.spec import RunSpec
from prefine.emulator.types import RoundDecision
from tests.emulator.simulation.worlds import CountingLearner, StepChannel, plan, problem, run_spec


class Watched:
    """Counts the rounds that are computed."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.computed_rounds, self.asked = inner, 0, 0

    def round(self, *of: Any) -> ComputedRound | None:
        found: ComputedRound | None = self.inner.round(*of)
        self.asked += 1
        self.computed_rounds += found is not None
        return found


def both_ways(world: RunSpec) -> tuple[RunResult, RunResult, Watched]:
    """With the fast path and without; what the fast path did."""
    watched = Watched(None)

    def looking(*arguments: Any) -> Watched:
        watched.inner = fast_path(*arguments)
        return watched

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "fast_path", looking)
        fast = run.run(fresh(world), "p", 0)
        patch.setattr(run, "fast_path", lambda *_: NoFastPath())
        simulated = run.run(fresh(world), "p", 0)
    return fast, simulated, watched


def fresh(world: RunSpec) -> RunSpec:
    """``world`` with its controller, its learner and its random draws at their start."""
    return replace(
        world, controller=FollowPlan(world.plan), learner=CountingLearner(), selection=np.random.default_rng(0)
    )


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
def quiet_worlds(draw: Any) -> RunSpec:
    """Worlds in which what goes wrong is known before: devices leave, are late, and budgets and batteries end."""
    world = problem(
        draw(st.integers(1, 5)),
        draw(st.integers(0, 1000)),
        delay_s=draw(st.floats(0.3, 60.0)),
        energy_j=draw(st.floats(0.5, 60.0)),
    )
    ends = np.cumsum(draw(st.lists(st.floats(0.01, 1.0), min_size=1, max_size=30)))
    gains = draw(st.lists(st.sampled_from([0.0, 1e-12, 1e-11, 1e-9]), min_size=len(ends), max_size=len(ends)))
    channel = StepChannel(tuple(float(end) for end in ends), (*gains, draw(st.sampled_from([0.0, 1e-11]))))
    leaving = ExponentialOnOff(3.0, 0.5, lambda k: stream(k, "dropout"))
    downlinks = [FreeDownlink(), FixedDownlink(delay_s=0.01, energy_j=0.02)]
    base = draw(st.sampled_from(["held", "sent"]))
    shared = [kind(payload_bits=1e5, power_w=0.5, base=base) for kind in (Broadcast, Unicast)]
    return run_spec(
        world,
        plan(world, draw(st.integers(0, 3)), draw(st.integers(1, 12))),
        draw(st.sampled_from([channel, StaticChannel(world.devices.gain)])),
        base_bits=3e5,
        downlink=draw(st.sampled_from([*downlinks, *shared])),
        processor=ProcessorModel(static_power_w=draw(st.sampled_from([0.0, 0.05]))),
        faults=Faults(
            min_participants=draw(st.sampled_from([1, 2])),
            battery_j=draw(st.sampled_from([None, None, 0.3, 1.0, 5.0])),
            round_deadline_s=draw(st.sampled_from([None, None, 0.6, 2.0])),
        ),
        availability=draw(st.sampled_from([AlwaysOn(), leaving])),
        power_control=draw(st.sampled_from([FixedPower(), TargetPower()])),
        participation=draw(st.sampled_from([0.5, 1.0])),
        stop_at_budget=draw(st.booleans()),
    )


@settings(max_examples=100, deadline=None)
@given(quiet_worlds())
def test_computed_rounds_are_the_simulated_ones(world: RunSpec) -> None:
    """To 1e-12; and uploads foreseen at a round's start are those worked out one by one, to the last bit."""
    fast, simulated, watched = both_ways(world)
    assert_same(fast, simulated)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "fast_path", lambda *_: NoFastPath())
        patch.setattr(OwnBands, "foresee", lambda *_: None)
        alone = run.run(fresh(world), "p", 0)
    assert (alone.devices, alone.rounds[-1:]) == (simulated.devices, simulated.rounds[-1:])
    hindered = {record.round for record in fast.devices if record.outcome != "delivered"}
    assert watched.asked - watched.computed_rounds <= len(hindered) + (fast.run.stop_reason != "plan")
    if fast.run.stop_reason == "plan" and not hindered:
        assert watched.computed_rounds == world.plan.finetune_rounds


def test_what_was_worked_out_ahead_counts_only_where_it_comes_so() -> None:
    """A course that is broken off, by pre-training, other powers, fewer participants, and taken up again."""
    world = run_spec(problem(4), plan(problem(4), 0, 20))
    usual = RoundDecision("finetune", world.plan.server, world.plan.devices)
    weaker = replace(usual, devices=replace(usual.devices, power_w=usual.devices.power_w / 2.0))
    fewer = replace(usual, participants=np.array([1.0, 0.0, 1.0, 1.0]))
    pretraining = replace(usual, stage="pretrain")
    decisions = [*[usual] * 6, pretraining, *[usual] * 4, weaker, *[usual] * 4, fewer, *[usual] * 4]

    class Changing(FollowPlan):
        def __init__(self) -> None:
            self._decisions = chain(decisions, repeat(replace(usual, stage="stop")))

    found = []
    for path in (fast_path, lambda *_: NoFastPath()):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(run, "fast_path", path)
            found.append(run.run(replace(world, controller=Changing(), learner=CountingLearner()), "p", 0))
    assert_same(*found)
    assert [record.round for record in found[0].rounds if record.participants == 3] == [16]


def test_only_rounds_in_which_a_battery_ends_are_lived() -> None:
    lived: list[int] = []
    living = barrier.Rounds._simulate
    world = run_spec(problem(4), plan(problem(4), 0, 12), faults=Faults(battery_j=0.5))
    with pytest.MonkeyPatch.context() as patch:

        def noting(rounds: barrier.Rounds, assignment: Assignment) -> Any:
            lived.append(assignment.round)
            return living(rounds, assignment)

        patch.setattr(barrier.Rounds, "_simulate", noting)
        fast, simulated, _ = both_ways(world)
    ends = [record.round for record in fast.devices if record.outcome == "battery"]
    assert lived[: -len(simulated.rounds)] == sorted(set(ends))
    assert 0 < len(ends) <= 4
    assert_same(fast, simulated)


def test_most_rounds_are_computed_and_the_last_is_simulated() -> None:
    """A delay budget that ends within the fifth of six rounds."""
    world = problem(4)
    round_s = run.run(run_spec(world, plan(world, 0, 1)), "p", 0).run.delay_s
    world = replace(world, budget=replace(world.budget, delay_s=4.5 * round_s))
    fast, simulated, watched = both_ways(run_spec(world, plan(world, 0, 6)))
    assert_same(fast, simulated)
    assert (watched.computed_rounds, watched.asked) == (4, 5)
    assert fast.run.stop_reason == "delay"


def test_a_round_that_ends_exactly_with_the_delay_budget() -> None:
    """In the very instant of the horizon it is lost, as one a bit later is; one a bit earlier counts."""
    world = problem(4)
    round_s = run.run(run_spec(world, plan(world, 0, 1)), "p", 0).run.delay_s
    for horizon_s, rounds in ((np.nextafter(round_s, 0.0), 0), (round_s, 0), (np.nextafter(round_s, math.inf), 1)):
        budget = replace(world.budget, delay_s=float(horizon_s) / (1.0 + BUDGET_SLACK))
        fast, simulated, _ = both_ways(run_spec(replace(world, budget=budget), plan(world, 0, 2)))
        assert_same(fast, simulated)
        assert fast.run.finetune_rounds == rounds


def test_energy_that_runs_out_is_simulated() -> None:
    world = problem(4)
    round_j = run.run(run_spec(world, plan(world, 0, 1)), "p", 0).run.energy_j
    world = replace(world, budget=replace(world.budget, energy_j=4.5 * round_j))
    fast, simulated, _ = both_ways(run_spec(world, plan(world, 0, 6)))
    assert_same(fast, simulated)
    assert (fast.run.stop_reason, fast.run.finetune_rounds) == ("energy", 4)


def test_a_trace_that_ends_after_the_energy_did_is_no_error() -> None:
    """The fast path meets the end of the trace; the devices stop before it."""
    world = problem(1, energy_j=0.03)
    trace = Trace((np.array([0.0, 0.1]),), (np.array([-90.0, -160.0]),), (0.3,))
    channel = TraceChannel(trace, np.zeros(1), "error")
    fast, simulated, watched = both_ways(run_spec(world, plan(world, 0, 2), channel))
    assert_same(fast, simulated)
    assert watched.computed_rounds == 0
    assert fast.run.stop_reason == "energy"


@pytest.mark.parametrize(
    "change",
    [
        {"access": Ofdma(problem(3).devices.bandwidth_hz)},
        {"faults": Faults(outage=Outage(snr_threshold_db=-100.0))},
        {"load": OnOffLoad(Switches((False,) * 3, ((1e8,), (), ())), 0.5)},
        {"processor": ProcessorModel(levels_hz=(1e9, 2e9))},
    ],
)
def test_worlds_with_surprises_have_no_fast_path(change: dict[str, Any]) -> None:
    world = replace(run_spec(problem(3), plan(problem(3))), **change)
    assert isinstance(fast_path(world), NoFastPath)


def test_a_quiet_world_has_a_fast_path() -> None:
    world = run_spec(problem(3), plan(problem(3)), faults=Faults(min_participants=2, battery_j=5.0))
    assert isinstance(fast_path(world), IndependentDevices)
