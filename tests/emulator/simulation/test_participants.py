"""Who takes part is what the policy said: on the clock, in the step, in the records, and in what it sees next."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from prefine.emulator.bound import device_round
from prefine.emulator.errors import AuditError, PolicyError
from prefine.emulator.physics import upload_time
from prefine.emulator.simulation import run
from prefine.emulator.simulation.audit import audit
from prefine.emulator.simulation.availability import Switches
from prefine.emulator.simulation.control import Adapt
from prefine.emulator.simulation.downlink import Unicast
from prefine.emulator.simulation.fastpath import NoFastPath
from prefine.emulator.simulation.faults import Faults
from prefine.emulator.simulation.radio import Ofdma
from prefine.emulator.simulation.spec import RunSpec
from prefine.emulator.types import FloatArray, Observation, Plan, Problem, Reports, RoundDecision
from tests.emulator.simulation.test_fastpath import assert_same
from tests.emulator.simulation.worlds import CountingLearner, StepChannel, plan, problem, run_spec

FADING = StepChannel(tuple(0.3 * np.arange(1.0, 40.0)), (*np.geomspace(1e-12, 1e-10, 39), 1e-11))


@dataclass
class Choose:
    """Lets the devices of ``rounds[i]`` take part in round i + 1, then stops; notes what it sees."""

    rounds: tuple[tuple[int, ...], ...]
    weight: FloatArray | None = None
    seen: list[Observation] = field(default_factory=list)

    def plan(self, problem: Problem) -> Plan:
        return plan(problem)

    def adapt(self, observation: Observation) -> RoundDecision:
        self.seen.append(observation)
        done, own = observation.finetune_rounds_done, observation.plan
        if done == len(self.rounds):
            return RoundDecision("stop", own.server, own.devices)
        chosen = np.zeros(len(observation.gain))
        chosen[list(self.rounds[done])] = 1.0
        return RoundDecision("finetune", own.server, own.devices, chosen, self.weight)


class Reporting(CountingLearner):
    """Reports how often it has been fine-tuned."""

    def reports(self) -> Reports:
        return Reports(np.full(5, float(len(self.finetuned))), np.full(5, 0.5))


def chosen_run(world: Problem, policy: Choose, **parts: Any) -> RunSpec:
    return run_spec(world, plan(world, 0, 1), controller=Adapt("chooser", policy), **parts)


ROUNDS = ((1, 3), (0,), (0, 1, 2, 3, 4), (4, 2))


@pytest.mark.parametrize("fast", [True, False])
def test_those_left_out_do_nothing_and_a_round_costs_what_the_others_do(fast: bool) -> None:
    """On a static channel, each round lasts and takes what `device_round` of those chosen says, to 1e-9."""
    world = problem(5)
    with pytest.MonkeyPatch.context() as patch:
        if not fast:
            patch.setattr(run, "fast_path", lambda *_: NoFastPath())
        spec = chosen_run(world, Choose(ROUNDS))
        result = run.run(spec, "p", 0)
    assert [record.participants for record in result.rounds] == [2, 1, 5, 2]
    assert [(r.round, r.device) for r in result.devices] == [
        (number, device) for number, devices in enumerate(ROUNDS, 1) for device in sorted(devices)
    ]
    for record, devices in zip(result.rounds, ROUNDS, strict=True):
        index = np.array(sorted(devices))
        decided = spec.plan.devices.at(index)
        cost = device_round(world.devices.at(index), world.radio, decided)
        assert record.end_s - record.start_s == pytest.approx(cost.delay_s, rel=1e-9)
        assert record.energy_j == pytest.approx(cost.energy_j, rel=1e-9)
    learner = spec.learner
    assert isinstance(learner, CountingLearner)
    for (_, weights), devices in zip(learner.finetuned, ROUNDS, strict=True):
        assert {k for k, weight in enumerate(weights) if weight > 0.0} == set(devices)
        assert sum(weights) == pytest.approx(1.0, rel=1e-15)
    assert result.run.outside_proof == "rounds without some devices"


@pytest.mark.parametrize("downlink", [None, Unicast(payload_bits=1e5, power_w=0.5)])
def test_a_round_of_some_devices_is_the_same_computed_and_simulated(downlink: Unicast | None) -> None:
    parts = {} if downlink is None else {"downlink": downlink}
    world = problem(5)
    fast = run.run(chosen_run(world, Choose(ROUNDS), channel=FADING, **parts), "p", 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "fast_path", lambda *_: NoFastPath())
        simulated = run.run(chosen_run(world, Choose(ROUNDS), channel=FADING, **parts), "p", 0)
    assert_same(fast, simulated)
    assert fast.run.stop_reason == "policy"


def test_those_left_out_leave_a_shared_band_to_the_others() -> None:
    world = problem(5)
    band_hz = float(world.devices.bandwidth_hz.sum())
    shared = Ofdma(world.devices.bandwidth_hz)
    result = run.run(chosen_run(world, Choose(((2,),)), access=shared), "p", 0)
    alone = result.devices[0]
    expected_s = upload_time(
        world.radio.uplink_bits, band_hz, alone.power_w, float(world.devices.gain[2]), world.radio.noise_psd_w_hz
    )
    assert alone.upload_end_s - alone.upload_start_s == pytest.approx(expected_s, rel=1e-9)


def test_weights_of_the_policy_are_used_and_those_of_lost_devices_shared_out() -> None:
    """Device 1 drops out in the second round: its 4 goes to device 0, for the sum stays 2 + 4."""
    world = problem(3)
    weight = np.array([2.0, 4.0, 8.0])
    first = run.run(chosen_run(world, Choose(((0, 1),), weight)), "p", 0)
    leaving = Switches((True, True, True), ((), (first.run.delay_s + 0.01,), ()))
    spec = chosen_run(world, Choose(((0, 1), (0, 1)), weight), availability=leaving, faults=Faults(availability="x"))
    result = run.run(spec, "p", 0)
    assert [record.outcome for record in result.devices] == ["delivered", "delivered", "delivered", "dropped"]
    assert isinstance(spec.learner, CountingLearner)
    assert [weights for _, weights in spec.learner.finetuned] == [(2.0, 4.0, 0.0), (6.0, 0.0, 0.0)]
    assert result.run.outside_proof == "rounds without some devices,weights of the policy's"


def test_the_observation_says_what_the_records_say() -> None:
    world, policy = problem(5), Choose(ROUNDS)
    spec = replace(chosen_run(world, policy, channel=FADING), learner=Reporting(), policy_seed=7)
    result = run.run(spec, "p", 0)
    before, after = policy.seen[0].facts, policy.seen[-1].facts
    assert before.last_outcome == ("",) * 5
    assert not before.rounds.any()
    assert np.isnan(before.duration_s).all()
    assert after.rounds.tolist() == [2.0, 2.0, 2.0, 2.0, 2.0]
    assert after.last_round.tolist() == [3.0, 3.0, 4.0, 3.0, 4.0]
    assert after.last_outcome == ("delivered",) * 5
    for device in range(5):
        own = [record for record in result.devices if record.device == device]
        assert after.energy_j[device] == pytest.approx(sum(r.compute_energy_j + r.uplink_energy_j for r in own))
        assert after.duration_s[device] == own[-1].upload_end_s - own[-1].download_start_s
    assert after.mean_gain == pytest.approx(np.mean([each.gain for each in policy.seen], axis=0))
    assert after.loss.tolist() == [4.0] * 5
    assert {each.seed for each in policy.seen} == {7}
    part = after.at(np.array([4, 0]))
    assert part.last_round.tolist() == [4.0, 3.0]
    assert part.last_outcome == ("delivered", "delivered")


WRONG: tuple[tuple[Callable[[RoundDecision], RoundDecision], str], ...] = (
    (lambda d: replace(d, participants=np.zeros(3)), "participants are all 0"),
    (lambda d: replace(d, participants=np.ones(2)), r"participants has shape \(2,\), must be \(3,\)"),
    (lambda d: replace(d, participants=np.array([1.0, 0.5, 0.0])), r"participants\[1\] = 0.5, must be 0 or 1"),
    (lambda d: replace(d, weight=np.array([1.0, np.nan, 0.0])), r"weight\[1\] = nan, must be at least 0 and finite"),
    (lambda d: replace(d, weight=np.array([0.0, 0.0, 1.0])), "weight is 0 for every participant"),
)


@pytest.mark.parametrize(("change", "message"), WRONG)
def test_what_cannot_be_is_one_line(change: Callable[[RoundDecision], RoundDecision], message: str) -> None:
    class Wrong(Choose):
        def adapt(self, observation: Observation) -> RoundDecision:
            return change(super().adapt(observation))

    with pytest.raises(PolicyError, match=message):
        run.run(chosen_run(problem(3), Wrong(((0, 1),))), "p", 0)


def test_the_audit_notices_who_was_not_chosen_and_who_is_not_counted() -> None:
    spec = chosen_run(problem(3), Choose(((0, 1),)))
    result = run.run(spec, "p", 0)
    audit(result, spec, 3e6, {1: np.array([True, True, False])})
    with pytest.raises(AuditError, match="device 1 in round 1: it was not chosen"):
        audit(result, spec, 3e6, {1: np.array([True, False, True])})
    miscounted = replace(result, rounds=(result.rounds[0]._replace(participants=3),))
    with pytest.raises(AuditError, match="2 devices delivered in round 1, not 3"):
        audit(miscounted, spec, 3e6, {})
    twice = replace(result, devices=(result.devices[0], result.devices[0]))
    with pytest.raises(AuditError):
        audit(twice, spec, 3e6, {})
