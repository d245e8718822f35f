"""What goes wrong, one thing at a time, with outcomes worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest

from prefine.emulator.channel.base import StaticChannel
from prefine.emulator.errors import PolicyError
from prefine.emulator.records import DeviceRecord
from prefine.emulator.simulation.availability import Switches
from prefine.emulator.simulation.control import Adapt
from prefine.emulator.simulation.faults import Faults, Outage
from prefine.emulator.simulation.run import run
from prefine.emulator.types import Observation, RoundDecision
from tests.emulator.simulation.worlds import CountingLearner, StepChannel, plan, problem, run_spec

NEVER: tuple[float, ...] = ()


def _round_s(k: int) -> float:
    """How long device ``k`` takes in a round of the default plan."""
    world = problem()
    each = plan(world).devices
    compute = each.batch[k] * world.devices.cycles_per_sample[k] / each.frequency_hz[k]
    return float(compute + each.upload_s[k])


ORDER = sorted(range(3), key=_round_s)
"""Devices from fastest to slowest."""


def test_deadline_leaves_out_who_is_late_and_scales_the_weights() -> None:
    learner = CountingLearner()
    between = (_round_s(ORDER[1]) + _round_s(ORDER[2])) / 2
    world = run_spec(problem(), plan(problem(), 0, 2), learner=learner, faults=Faults(round_deadline_s=between))
    result = run(world, "p", 0)
    assert [row.participants for row in result.rounds] == [2, 2]
    assert [row.end_s for row in result.rounds] == pytest.approx([between, 2 * between], rel=1e-12)
    expected = [0.5, 0.5, 0.5]
    expected[ORDER[2]] = 0.0
    assert [weights for _, weights in learner.finetuned] == [pytest.approx(expected)] * 2
    late = [record for record in result.devices if record.outcome == "late"]
    assert {record.device for record in late} == {ORDER[2]}
    assert result.run.wasted_energy_j == pytest.approx(sum(r.compute_energy_j + r.uplink_energy_j for r in late))
    assert result.run.wasted_energy_j > 0.0


def test_too_few_arrivals_update_nothing() -> None:
    learner = CountingLearner()
    faults = Faults(round_deadline_s=(_round_s(ORDER[0]) + _round_s(ORDER[1])) / 2, min_participants=2)
    result = run(run_spec(problem(), plan(problem(), 0, 2), learner=learner, faults=faults), "p", 0)
    assert [row.participants for row in result.rounds] == [1, 1]
    assert learner.finetuned == []


def test_who_drops_out_is_lost_for_the_round_and_back_for_a_later_one() -> None:
    gone_s = _round_s(ORDER[2]) * 0.5
    leaves = [NEVER, NEVER, NEVER]
    leaves[ORDER[2]] = (gone_s, gone_s + 1.0)
    leaving = Switches((True,) * 3, tuple(leaves))
    result = run(run_spec(problem(), plan(problem(), 0, 8), availability=leaving), "p", 0)
    mine = [record for record in result.devices if record.device == ORDER[2]]
    assert mine[0].outcome == "dropped"
    assert mine[-1].outcome == "delivered"
    first = result.rounds[0]
    assert first.participants == 2
    assert first.end_s == pytest.approx(max(_round_s(ORDER[1]), gone_s), rel=1e-12)
    kappa, hertz = 1e-28, 1e9
    busy_s = min(gone_s, float(16 * problem().devices.cycles_per_sample[ORDER[2]]) / hertz)
    assert mine[0].compute_energy_j == pytest.approx(kappa * hertz**3 * busy_s, rel=1e-9)


def test_a_round_waits_for_enough_devices() -> None:
    coming = Switches((False,) * 3, ((2.0,), (3.0,), (5.0,)))
    faults = Faults(min_participants=2)
    result = run(run_spec(problem(), plan(problem(), 0, 1), faults=faults, availability=coming), "p", 0)
    assert result.rounds[0].start_s == 3.0
    assert result.rounds[0].participants == 2


def test_nobody_ever_comes() -> None:
    nobody = Switches((False,) * 3, (NEVER,) * 3)
    result = run(run_spec(problem(), plan(problem(), 1, 1), availability=nobody), "p", 0)
    assert result.run.stop_reason == "delay"
    assert result.run.delay_s == 100.0
    assert (result.run.pretrain_rounds, result.run.finetune_rounds) == (1, 0)


def test_outage_retries_with_doubling_back_off() -> None:
    """Silence until 1 s after computing: attempts at 0, 0.2 + 0.01, ... relative to the first; hand-counted."""
    world = problem(1)
    each = plan(world).devices
    computed = float(each.batch[0] * world.devices.cycles_per_sample[0] / each.frequency_hz[0])
    channel = StepChannel((computed + 1.0,), (0.0, float(world.devices.gain[0])))
    outage = Outage(snr_threshold_db=-60.0, attempt_s=0.01, backoff_s=0.2, retries=5)
    result = run(run_spec(world, plan(world, 0, 1), channel, faults=Faults(outage=outage)), "p", 0)
    (record,) = result.devices
    waited = (0.01 + 0.2) + (0.01 + 0.4) + (0.01 + 0.8)
    assert record.outcome == "delivered"
    assert record.upload_end_s - record.upload_start_s == pytest.approx(waited + each.upload_s[0], rel=1e-9)
    sending = 3 * 0.01 + float(each.upload_s[0])
    assert record.uplink_energy_j == pytest.approx(each.power_w[0] * sending, rel=1e-9)


def test_outage_gives_up() -> None:
    outage = Outage(snr_threshold_db=-60.0, attempt_s=0.01, backoff_s=0.1, retries=2)
    world = run_spec(problem(1), plan(problem(1), 0, 1), StaticChannel(np.zeros(1)), faults=Faults(outage=outage))
    (record,) = run(world, "p", 0).devices
    assert record.outcome == "outage"
    assert record.uplink_energy_j == pytest.approx(3 * 0.01 * 0.2, rel=1e-9)


def test_battery_ends_participation_for_good() -> None:
    full = run(run_spec(problem(), plan(problem(), 0, 4)), "p", 0)
    used = [sum(r.compute_energy_j + r.uplink_energy_j for r in full.devices if r.device == k) for k in range(3)]
    battery = sorted(used)[1] * 0.6
    result = run(run_spec(problem(), plan(problem(), 0, 4), faults=Faults(battery_j=battery)), "p", 0)
    for k in range(3):
        mine = [record for record in result.devices if record.device == k]
        assert sum(r.compute_energy_j + r.uplink_energy_j for r in mine) <= battery * (1 + 1e-12)
        if used[k] > battery:
            assert [record.outcome for record in mine].count("battery") == 1
            assert mine[-1].outcome == "battery"
            assert sum(record.outcome == "delivered" for record in mine) < 4
        else:
            assert [record.outcome for record in mine] == ["delivered"] * 4


@pytest.mark.parametrize(("covered", "computed"), [(0.99, 0.0), (1.0, 1.0), (1.01, 1.0)])
def test_an_empty_battery_starts_nothing_that_it_cannot_finish(covered: float, computed: float) -> None:
    """One device, whose battery holds about what computing needs; sending needs more than is left."""
    world = problem(1)
    each = plan(world, 0, 1, batch=1.0)

    def first_round(battery_j: float) -> DeviceRecord:
        spec = run_spec(world, each, faults=Faults(battery_j=battery_j))
        return run(spec, "p", 0).devices[0]

    full = first_round(1e9)
    assert full.compute_energy_j == pytest.approx(1e-28 * world.devices.cycles_per_sample[0] * 1e18, rel=1e-12)
    assert full.uplink_energy_j > 0.01 * full.compute_energy_j
    record = first_round(covered * full.compute_energy_j)
    assert record.outcome == "battery"
    assert record.compute_energy_j == computed * full.compute_energy_j
    assert (record.uplink_energy_j, record.delivered_bits) == (0.0, 0.0)


def test_partial_participation_draws_the_same_devices_for_every_policy() -> None:
    drawn = []
    for batch in (8.0, 32.0):
        world = run_spec(
            problem(5), plan(problem(5), 0, 6, batch=batch), participation=0.4, selection=np.random.default_rng(7)
        )
        result = run(world, "p", 0)
        assert [row.participants for row in result.rounds] == [2] * 6
        drawn.append([(record.round, record.device) for record in result.devices])
    assert drawn[0] == drawn[1]


class Halves:
    """Stops after three rounds, saying what it saw."""

    def __init__(self) -> None:
        self.seen: list[Observation] = []

    def adapt(self, observation: Observation) -> RoundDecision:
        self.seen.append(observation)
        stage = "stop" if observation.finetune_rounds_done == 3 else "finetune"
        return RoundDecision(stage, observation.plan.server, observation.plan.devices)  # type: ignore[arg-type]

    def plan(self, problem: object) -> None:
        """Not asked here."""


def test_an_adaptive_policy_sees_what_is_left_and_who_is_there() -> None:
    policy = Halves()
    leaving = Switches((True,) * 3, ((0.01, 50.0), NEVER, NEVER))
    world = run_spec(problem(), plan(problem(), 5, 5), controller=Adapt("p", policy), availability=leaving)  # type: ignore[arg-type]
    result = run(world, "p", 0)
    assert (result.run.pretrain_rounds, result.run.finetune_rounds, result.run.stop_reason) == (0, 3, "policy")
    assert [seen.time_s for seen in policy.seen] == [0.0, *[row.end_s for row in result.rounds]]
    assert policy.seen[0].available.tolist() == [1.0, 1.0, 1.0]
    assert policy.seen[1].available.tolist() == [0.0, 1.0, 1.0]
    last = policy.seen[-1]
    assert last.remaining.delay_s == pytest.approx(100.0 - result.run.delay_s)
    assert last.remaining.energy_j == pytest.approx(1000.0 - result.run.energy_j)
    assert last.gain.tolist() == problem().devices.gain.tolist()


def test_a_decision_that_cannot_be_done_is_named() -> None:
    class Wild(Halves):
        def adapt(self, observation: Observation) -> RoundDecision:
            devices = replace(observation.plan.devices, power_w=np.full(3, 9.0))
            return RoundDecision("finetune", observation.plan.server, devices)

    world = run_spec(problem(), plan(problem()), controller=Adapt("wild", Wild()))  # type: ignore[arg-type]
    with pytest.raises(PolicyError, match=r"policy wild: devices\.power_w\[0\] = 9, must be"):
        run(world, "wild", 0)
