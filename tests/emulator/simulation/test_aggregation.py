"""Semi-synchronous and asynchronous updates: their order in time, whose work they are made of, and what it weighs."""

import heapq
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from prefine.emulator.bound import device_round
from prefine.emulator.errors import AuditError, InputError
from prefine.emulator.records import RunResult
from prefine.emulator.simulation.aggregation import Asynchronous, SemiSynchronous, Synchronous
from prefine.emulator.simulation.audit import audit
from prefine.emulator.simulation.availability import Switches
from prefine.emulator.simulation.control import Adapt, FollowPlan
from prefine.emulator.simulation.downlink import FixedDownlink, Unicast
from prefine.emulator.simulation.fastpath import NoFastPath, fast_path
from prefine.emulator.simulation.faults import Faults
from prefine.emulator.simulation.run import run
from prefine.emulator.simulation.spec import RunSpec
from prefine.emulator.types import Evaluation, Problem
from tests.emulator.simulation.test_participants import Choose
from tests.emulator.simulation.worlds import CountingLearner, plan, problem, run_spec


def spec_of(world: Problem, rounds: int, mode: Any, **parts: Any) -> RunSpec:
    return run_spec(world, plan(world, 1, rounds), aggregation=mode, **parts)


def times_s(world: Problem) -> np.ndarray:
    """How long each device takes from the model's arrival to the end of its upload, in the plan of `spec_of`."""
    devices, own = world.devices, plan(world).devices
    snr = own.power_w * devices.gain / (world.radio.noise_psd_w_hz * devices.bandwidth_hz)
    upload_s = world.radio.uplink_bits / (devices.bandwidth_hz * np.log2(1.0 + snr))
    return np.asarray(own.batch * devices.cycles_per_sample / own.frequency_hz + upload_s)


def learner_of(spec: RunSpec) -> CountingLearner:
    assert isinstance(spec.learner, CountingLearner)
    return spec.learner


def in_short(result: RunResult, updates: int) -> list[tuple[int, int, int]]:
    return [(r.round, r.device, r.staleness) for r in result.devices if r.round <= updates]


def simulated(
    duration_s: np.ndarray, start_s: float, updates: int, buffer: int, at_once: int
) -> tuple[list[tuple[int, int, int]], list[float]]:
    """FedBuff's clock in a few lines: (update, device, staleness) of each arrival, and when each was."""
    draws, arrived_s, arrivals, version = np.random.default_rng(0), [], [], 0
    heap: list[tuple[float, int, int]] = []
    now_s, filled = start_s, 0
    while version < updates:
        idle = np.array(sorted(set(range(len(duration_s))) - {device for _, device, _ in heap}))
        free = at_once - len(heap)
        for device in np.sort(draws.permutation(idle)[:free]) if len(idle) > free else idle:
            heapq.heappush(heap, (now_s + duration_s[device], int(device), version))
        now_s, device, begun = heapq.heappop(heap)
        arrivals.append((version + 1, device, version - begun))
        arrived_s.append(now_s)
        filled += 1
        if filled == buffer:
            filled, version = 0, version + 1
    return arrivals, arrived_s


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 7), st.integers(1, 9), st.integers(1, 7), st.integers(0, 1000))
def test_the_order_of_events_is_that_of_an_independent_simulation(k: int, buffer: int, at_once: int, seed: int) -> None:
    world = problem(k, seed)
    spec = spec_of(world, 12, Asynchronous(buffer=buffer, concurrency=at_once))
    result = run(spec, "p", 0)
    start_s = result.rounds[0].end_s
    arrivals, arrived_s = simulated(times_s(world), start_s, 12, buffer, min(at_once, k))
    assume(all(after - before > 1e-9 for before, after in pairwise(arrived_s)))  # the same sums in another order tie
    assert in_short(result, 12) == arrivals
    made = [record for record in result.rounds if record.stage == "finetune"]
    assert [record.end_s for record in made] == pytest.approx(arrived_s[buffer - 1 :: buffer], rel=1e-9)
    assert {record.participants for record in made} == {buffer}
    assert result.run.stop_reason == "plan"
    versions = [
        (version + 1, device, version - seen)
        for version, (merged, *_) in enumerate(learner_of(spec).merged)
        for device, _, seen in merged
    ]
    assert versions == arrivals


def test_with_one_device_at_a_time_nothing_is_ever_stale() -> None:
    result = run(spec_of(problem(4), 9, Asynchronous(buffer=1, concurrency=1)), "p", 0)
    assert {record.staleness for record in result.devices} == {0}
    for before, after in pairwise(result.devices):
        assert after.download_start_s == before.upload_end_s


def test_those_at_work_when_the_last_update_is_made_are_late_and_their_energy_is_wasted() -> None:
    result = run(spec_of(problem(4), 2, Asynchronous(buffer=1)), "p", 0)
    late = [record for record in result.devices if record.outcome == "late"]
    assert len(late) == 3
    assert result.run.wasted_energy_j == pytest.approx(sum(r.compute_energy_j + r.uplink_energy_j for r in late))


STALE = np.arange(8.0)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, 1.0 / np.sqrt(1.0 + STALE)),
        ({"exponent": 2.0}, (1.0 + STALE) ** -2.0),
        ({"staleness": "constant"}, np.ones(8)),
        ({"staleness": "hinge"}, [1, 1, 1, 1, 1, 1 / 11, 1 / 21, 1 / 31]),
        ({"staleness": "hinge", "grace": 3, "slope": 2.0}, [1, 1, 1, 1, 1 / 3, 1 / 5, 1 / 7, 1 / 9]),
    ],
)
def test_what_stale_work_weighs(keys: dict[str, Any], expected: Any) -> None:
    assert Asynchronous(buffer=1, **keys).discount(STALE) == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize("mixing", [None, 0.6])
def test_weights_are_shares_of_the_buffer_discounted_by_age(mixing: float | None) -> None:
    world = problem(3)
    share = np.array([0.5, 0.2, 0.3])
    world = replace(world, devices=replace(world.devices, weight=share))
    buffer = 2 if mixing is None else 1
    spec = spec_of(world, 8, Asynchronous(buffer=buffer, mixing=mixing))
    result = run(spec, "p", 0)
    for number, (merged, weights, by) in enumerate(learner_of(spec).merged, 1):
        rows = [record for record in result.devices if record.round == number]
        part = np.array([share[record.device] for record in rows])
        age = np.array([record.staleness for record in rows])
        assert weights == pytest.approx((mixing or 1.0) * part / part.sum() / np.sqrt(1.0 + age), rel=1e-12)
        assert [device for device, *_ in merged] == [record.device for record in rows]
        assert by == ("differences" if mixing is None else "models")


def test_work_that_a_policy_gives_no_weight_moves_nothing() -> None:
    controller = Adapt("p", Choose(((0, 1, 2),) * 6, np.array([0.0, 1.0, 2.0])))
    world = problem(3)
    spec = run_spec(world, plan(world, 0, 1), controller=controller, aggregation=Asynchronous(buffer=1))
    run(spec, "p", 0)
    counted = {merged[0][0]: weights[0] > 0.0 for merged, weights, _ in learner_of(spec).merged}
    assert counted == {device: device > 0 for device in counted}
    assert 0 in counted


def test_a_policy_chooses_who_is_sent_out_until_the_next_update() -> None:
    """Device 4 is at work when it is no longer chosen: it ends what it began and is not sent out again."""
    world, rounds = problem(5), ((0, 4), (0, 1), (0, 1), (0, 1), (1, 2), (1, 2))
    controller = Adapt("p", Choose(rounds, np.arange(1.0, 6.0)))
    spec = run_spec(world, plan(world, 0, 1), controller=controller, aggregation=Asynchronous(buffer=2))
    result = run(spec, "p", 0)
    begun = {(record.round - record.staleness, record.device) for record in result.devices}
    assert begun <= {(number, device) for number, devices in enumerate(rounds, 1) for device in devices}
    assert [record.participants for record in result.rounds] == [2] * 6
    assert result.run.outside_proof == "rounds without some devices,weights of the policy's"


def test_each_download_is_paid_for_and_shares_the_band_with_the_others() -> None:
    world = problem(3)
    fixed = run(spec_of(world, 6, Asynchronous(buffer=1), downlink=FixedDownlink(delay_s=0.05, energy_j=0.2)), "p", 0)
    begun = {record.download_start_s for record in fixed.devices}
    assert fixed.run.downlink_energy_j == pytest.approx(0.2 * len(begun), rel=0.1)
    assert all(r.download_end_s - r.download_start_s == pytest.approx(0.05) for r in fixed.devices)
    unicast = Unicast(payload_bits=4e6, power_w=0.5)
    spec = spec_of(world, 8, Asynchronous(buffer=1), downlink=unicast)
    result = run(spec, "p", 0)
    gain = world.devices.gain
    rate = unicast.bandwidth_hz * np.log2(1.0 + 0.5 * gain / (world.radio.noise_psd_w_hz * unicast.bandwidth_hz))
    ends_s = sorted((r.download_end_s, r.device) for r in result.devices if not np.isnan(r.download_end_s))
    free_s = 0.0
    for end_s, device in ends_s:
        begin_s = end_s - 4e6 / rate[device]
        assert begin_s >= free_s - 1e-9
        free_s = end_s


def test_a_delivery_that_has_not_had_its_turn_takes_nothing() -> None:
    """Downloads of a second each, one after the other: the server always sends, and nothing is paid beyond that."""
    world = problem(6, delay_s=9.5)
    world = replace(world, devices=replace(world.devices, gain=np.full(6, 1e-10)))
    one_s = np.log2(1.0 + 0.5 * 1e-10 / (world.radio.noise_psd_w_hz * 1e6)) * 1e6
    spec = spec_of(world, 99, Asynchronous(buffer=1), downlink=Unicast(payload_bits=one_s, power_w=0.5))
    result = run(spec, "p", 0)
    assert result.run.stop_reason == "delay"
    begin_s = result.rounds[0].end_s
    assert result.run.downlink_energy_j == pytest.approx(0.5 * (9.5 - begin_s), rel=1e-8)
    ends_s = sorted(record.download_end_s for record in result.devices if not np.isnan(record.download_end_s))
    assert ends_s == pytest.approx(begin_s + np.arange(1.0, len(ends_s) + 1.0), rel=1e-9)
    short = run(replace(spec, controller=FollowPlan(plan(world, 1, 2)), learner=CountingLearner()), "p", 0)
    assert short.run.stop_reason == "plan"
    assert short.run.downlink_energy_j == pytest.approx(0.5 * (short.run.delay_s - begin_s), rel=1e-9)
    limited = replace(spec, faults=Faults(round_deadline_s=2.5), learner=CountingLearner())
    limited = replace(limited, controller=FollowPlan(limited.plan))
    late = [r for r in run(limited, "p", 0).devices if r.device == 2 and r.download_start_s == begin_s]
    assert [(r.outcome, np.isnan(r.download_end_s)) for r in late] == [("late", True)]


def test_who_arrives_in_one_instant_fills_one_buffer_after_the_other() -> None:
    """Five equal devices: after two updates of two, the fifth waits in the third buffer for the next five."""
    world = problem(5)
    devices = world.devices
    same = replace(devices, gain=np.full(5, 1e-10), cycles_per_sample=np.full(5, 2e7))
    world = replace(world, devices=same)
    result = run(spec_of(world, 5, Asynchronous(buffer=2)), "p", 0)
    made = [record for record in result.rounds if record.stage == "finetune"]
    one_s = float(times_s(world)[0])
    ends_s = [record.end_s - result.rounds[0].end_s for record in made]
    assert ends_s == pytest.approx([one_s, one_s, 2 * one_s, 2 * one_s, 2 * one_s], rel=1e-9)
    assert in_short(result, 5) == [
        (1, 0, 0), (1, 1, 0), (2, 2, 1), (2, 3, 1), (3, 4, 2), (3, 0, 0), (4, 1, 1), (4, 2, 1), (5, 3, 2), (5, 4, 2),
    ]  # fmt: skip


def test_devices_that_leave_come_back_and_no_one_is_waited_for() -> None:
    world = problem(3)
    slowest, begin_s = int(np.argmax(times_s(world))), run(spec_of(world, 1, Synchronous()), "p", 0).rounds[0].end_s
    left_s, back_s = begin_s + 0.5 * float(times_s(world).max()), begin_s + 1.5
    gone = tuple((left_s, back_s) if k == slowest else () for k in range(3))
    away = {"availability": Switches((True,) * 3, gone), "faults": Faults(availability="x")}
    result = run(spec_of(world, 40, Asynchronous(buffer=1), **away), "p", 0)
    mine = [record for record in result.devices if record.device == slowest]
    assert [record.outcome for record in mine[:2]] == ["dropped", "delivered"]
    assert mine[1].download_start_s == back_s
    others = [record for record in result.devices if record.device != slowest]
    assert sum(left_s < record.upload_end_s < back_s for record in others) > 2


def test_a_round_deadline_counts_from_when_a_device_was_sent_out() -> None:
    world = problem(4)
    duration_s = times_s(world)
    limit_s = float(np.sort(duration_s)[-2:].mean())
    spec = spec_of(world, 10, Asynchronous(buffer=1), faults=Faults(round_deadline_s=limit_s))
    result = run(spec, "p", 0)
    slowest = int(np.argmax(duration_s))
    mine = [record for record in result.devices if record.device == slowest]
    assert mine
    assert {record.outcome for record in mine} == {"late"}
    assert all(r.outcome == "delivered" or r.round == 11 for r in result.devices if r.device != slowest)
    ends_s = [record.end_s for record in result.rounds]
    for before, after in pairwise(mine):
        back_s = before.download_start_s + limit_s
        assert after.download_start_s == min(end_s for end_s in ends_s if end_s >= back_s * (1.0 - 1e-12))


def test_a_deadline_that_nobody_can_meet_does_not_send_anyone_out_for_ever() -> None:
    result = run(spec_of(problem(4), 10, Asynchronous(buffer=1), faults=Faults(round_deadline_s=1e-9)), "p", 0)
    assert [record.outcome for record in result.devices] == ["late"] * 4
    assert result.run.stop_reason == "delay"
    assert result.run.finetune_rounds == 0


def test_the_first_so_many_make_a_round_and_the_work_of_the_others_is_lost() -> None:
    world = problem(5)
    order = np.argsort(times_s(world))
    spec = spec_of(world, 3, SemiSynchronous(buffer=2))
    result = run(spec, "p", 0)
    for record in (r for r in result.rounds if r.stage == "finetune"):
        assert record.participants == 2
        assert record.end_s - record.start_s == pytest.approx(float(np.sort(times_s(world))[1]), rel=1e-9)
        rows = [r for r in result.devices if r.round == record.round]
        assert {r.device for r in rows if r.outcome == "delivered"} == set(order[:2].tolist())
        assert {r.device for r in rows if r.outcome == "late"} == set(order[2:].tolist())
    lost = sum(r.compute_energy_j + r.uplink_energy_j for r in result.devices if r.outcome == "late")
    assert result.run.wasted_energy_j == pytest.approx(lost, rel=1e-12)
    for _, weights in learner_of(spec).finetuned:
        assert {k for k, weight in enumerate(weights) if weight > 0.0} == set(order[:2].tolist())
        assert sum(weights) == pytest.approx(1.0)


def test_who_drops_out_is_not_one_of_the_first() -> None:
    world = problem(5)
    order = np.argsort(times_s(world))
    first, begin_s = int(order[0]), run(spec_of(world, 1, Synchronous()), "p", 0).rounds[0].end_s
    gone = tuple((begin_s + 0.001,) if k == first else () for k in range(5))
    away = {"availability": Switches((True,) * 5, gone), "faults": Faults(availability="x")}
    result = run(spec_of(world, 1, SemiSynchronous(buffer=2), **away), "p", 0)
    outcome = {record.device: record.outcome for record in result.devices}
    assert [outcome[k] for k in order] == ["dropped", "delivered", "delivered", "late", "late"]


def test_a_deadline_of_the_aggregation_is_one_of_the_round() -> None:
    world = problem(5)
    limit_s = float(np.sort(times_s(world))[2:4].mean())
    ours = run(spec_of(world, 3, SemiSynchronous(deadline_s=limit_s)), "p", 0)
    theirs = run(spec_of(world, 3, Synchronous(), faults=Faults(round_deadline_s=limit_s)), "p", 0)
    assert ours.devices == theirs.devices
    assert ours.rounds == theirs.rounds
    assert [record.participants for record in ours.rounds] == [0, 3, 3, 3]


def test_whoever_is_first_of_all_is_everyone() -> None:
    world = problem(4)
    semi = run(spec_of(world, 3, SemiSynchronous(buffer=4)), "p", 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("prefine.emulator.simulation.run.fast_path", lambda *_: NoFastPath())
        full = run(spec_of(world, 3, Synchronous()), "p", 0)
    assert semi.rounds == full.rounds
    assert semi.devices == full.devices


def test_a_plan_can_be_gone_on_with_until_a_budget_ends() -> None:
    world = problem(3, delay_s=20.0)
    device = device_round(world.devices, world.radio, plan(world).devices)
    own = plan(world, 1, 2)
    result = run(replace(run_spec(world, own), controller=FollowPlan(own, "budget")), "p", 0)
    pre_s = result.rounds[0].end_s
    assert result.run.stop_reason == "delay"
    assert result.run.finetune_rounds == int((20.0 - pre_s) / device.delay_s)
    none = plan(world, 2, 0)
    assert run(replace(run_spec(world, none), controller=FollowPlan(none, "budget")), "p", 0).run.stop_reason == "plan"


def test_only_synchronous_rounds_are_computed_at_once() -> None:
    world = problem(3)
    for mode in (SemiSynchronous(buffer=3), Asynchronous(buffer=3)):
        assert isinstance(fast_path(spec_of(world, 1, mode)), NoFastPath)


class Plain:
    """A learner that knows rounds alone."""

    def pretrain(self, batch: int) -> None: ...
    def finetune(self, batches: Any, weights: Any) -> None: ...
    def evaluate(self) -> Evaluation:
        return Evaluation(1.0, 0.5, 1.0)


def test_a_learner_that_knows_rounds_alone_is_refused_in_one_line() -> None:
    with pytest.raises(InputError, match=r"^aggregation\.mode = \"asynchronous\": the learner Plain has no hand_out"):
        run(spec_of(problem(3), 1, Asynchronous(buffer=1), learner=Plain()), "p", 0)


def test_the_audit_notices_wrong_ages_arrivals_and_devices_in_two_places() -> None:
    spec = spec_of(problem(4), 12, Asynchronous(buffer=2))
    result = run(spec, "p", 0)
    audit(result, spec, 4e6, {})
    stale = next(i for i, record in enumerate(result.devices) if record.staleness > 0)
    own = result.devices[stale]

    def but(record: Any) -> RunResult:
        return replace(result, devices=(*result.devices[:stale], record, *result.devices[stale + 1 :]))

    with pytest.raises(AuditError, match="its model is of another version"):
        audit(but(own._replace(staleness=own.staleness - 1)), spec, 4e6, {})
    with pytest.raises(AuditError, match="it arrived for another update"):
        audit(but(own._replace(upload_end_s=own.upload_end_s + 10.0)), spec, 4e6, {})
    other = next(r.device for r in result.devices if r.device != own.device)
    with pytest.raises(AuditError, match="it had not ended what it began before"):
        audit(but(own._replace(device=other)), spec, 4e6, {})
    with pytest.raises(AuditError, match="more than 1 devices at work at once"):
        audit(result, replace(spec, aggregation=Asynchronous(buffer=2, concurrency=1)), 4e6, {})
