"""From scenario to problem and run specification: what follows from what; every policy meets the same world."""

import numpy as np
import pytest

from prefine.emulator.channel.base import Channel
from prefine.emulator.errors import InputError, PolicyError
from prefine.emulator.plugins import make_policy
from prefine.emulator.scenario.source import read_source
from prefine.emulator.simulation.control import check_plan
from prefine.emulator.simulation.run import run
from prefine.emulator.types import DevicesPlan, Plan, ServerPlan
from prefine.emulator.world import World
from tests.emulator.scenario.small import SMALL


def world(*overrides: str, text: str = SMALL) -> World:
    return read_source(text, overrides).world()


def _met(channel: Channel, devices: int) -> list[list[float]]:
    return [[channel.gain(k, t) for t in np.linspace(0.0, 3.0, 50)] for k in range(devices)]


@pytest.mark.parametrize("name", ["joint", "joint-ft", "uniform", "finetune-only", "pretrain-only", "separate"])
def test_static_channel_realises_every_policys_prediction(name: str) -> None:
    small = world()
    policy = small.policy(name)
    spec = small.run_spec(name, policy, small.plan(name, policy), 0)
    result = run(spec, "r", name, 0).run
    assert result.stop_reason == "plan"
    assert result.delay_s == pytest.approx(result.predicted_delay_s, rel=1e-9)
    assert result.energy_j == pytest.approx(result.predicted_energy_j, rel=1e-9)


@pytest.mark.parametrize("mode", ["broadcast", "unicast"])
def test_static_channel_realises_the_downlinks_cost(mode: str) -> None:
    small = world(f"radio.downlink.mode={mode}", "radio.downlink.power_w=2.0")
    policy = small.policy("finetune-only")
    result = run(small.run_spec("p", policy, small.plan("p", policy), 0), "r", "p", 0).run
    assert result.downlink_energy_j == pytest.approx(
        result.finetune_rounds * small.problem.radio.downlink_energy_j, rel=1e-9
    )
    assert result.delay_s == pytest.approx(result.predicted_delay_s, rel=1e-9)


@pytest.mark.parametrize("model", ["rayleigh", "rician", "block"])
def test_policies_meet_the_same_gains_under_a_seed(model: str) -> None:
    small = world(f"channel.model={model}", "channel.block_s=0.05")
    channels = []
    for name in ("joint-ft", "uniform"):
        policy = small.policy(name)
        spec = small.run_spec(name, policy, small.plan(name, policy), 5)
        run(spec, "r", name, 5)
        channels.append(_met(spec.channel, 3))
    assert channels[0] == channels[1]
    assert channels[0] != _met(small.channel(6), 3)


def test_policies_meet_the_same_samples_under_a_seed() -> None:
    """Two learners of a seed are the same learner, whichever policy they are made for."""
    small = world()
    one, other = (small.workload.learner(3, 0.2) for _ in range(2))
    for learner in (one, other):
        learner.pretrain(16)
        learner.finetune(np.array([4, 5, 6]), np.full(3, 1 / 3))
    assert one.evaluate() == other.evaluate()
    assert small.workload.learner(4, 0.2).evaluate() != small.workload.learner(3, 0.2).evaluate()


def test_another_device_leaves_the_others_alone() -> None:
    three, four = (world(f"devices.count={n}", "channel.model=rayleigh") for n in (3, 4))
    assert _met(three.channel(1), 3) == _met(four.channel(1), 3)
    for name in ("cycles_per_sample", "gain", "max_power_w"):
        assert getattr(four.problem.devices, name)[:3].tolist() == getattr(three.problem.devices, name).tolist()


def test_costs_come_from_the_actual_model_unless_overridden() -> None:
    actual = world(text=SMALL.replace("cycles_per_sample = 2e7\n", "").replace("cycles_per_sample = {", "#"))
    parameters = 64 * 64 + 64 + 64 * 10 + 10
    assert actual.problem.radio.uplink_bits == 32 * parameters
    multiplies = 64 * 64 + 64 * 10
    assert 4 * multiplies <= actual.problem.server.cycles_per_sample * 4.0 <= 6 * multiplies
    assert world("radio.payload_bits=1e6").problem.radio.uplink_bits == 1e6
    assert world().problem.server.cycles_per_sample == 2e7


def test_a_device_of_its_own() -> None:
    text = SMALL.replace("count = 3\n", "") + "[[device]]\n[[device]]\nmax_power_w = 0.05\ndistance_m = 10.0\n"
    small = world(text=text)
    assert small.problem.devices.max_power_w.tolist() == [0.2, 0.05]
    assert small.site.location_m[1] == 10.0


def test_bands_by_shares() -> None:
    small = world(text=SMALL.replace("bandwidth_hz = 1e5", "total_bandwidth_hz = 1e6\nshares = [0.5, 0.3, 0.2]"))
    assert small.problem.devices.bandwidth_hz.tolist() == [5e5, 3e5, 2e5]
    with pytest.raises(InputError, match=r"2 values for 3 devices"):
        world(text=SMALL.replace("bandwidth_hz = 1e5", "total_bandwidth_hz = 1e6\nshares = [0.5, 0.5]")).problem  # noqa: B018


def test_the_bounds_step_size_stays_within_its_proof() -> None:
    for wanted, got in (('"1/L"', 0.2), ('"3/L"', 0.2), ('"0.5/L"', 0.1), ("0.05", 0.05), ("1.0", 0.2)):
        assert world(f"training.learning_rate={wanted}").problem.learning.learning_rate == pytest.approx(got)


def _plan(small: World, **changes: object) -> object:
    devices = small.problem.devices
    fields = {
        "batch": np.full(3, 8.0),
        "frequency_hz": devices.max_frequency_hz,
        "power_w": devices.max_power_w,
        "upload_s": np.ones(3),
    } | {name: value for name, value in changes.items() if name in ("batch", "frequency_hz", "power_w", "upload_s")}
    rounds = changes.get("finetune_rounds", 2)
    return Plan(1, rounds, ServerPlan(changes.get("server_batch", 8.0), 1e9), DevicesPlan(**fields))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"batch": np.full(3, 8.5)}, r"policy p: devices\.batch\[0\] = .*8\.5.*must be a whole number"),
        ({"batch": np.array([8.0, 8.0, 999.0])}, r"devices\.batch\[2\]"),
        ({"batch": np.full(2, 8.0)}, r"devices\.batch has shape \(2,\)"),
        ({"power_w": np.array([0.1, np.nan, 0.1])}, r"devices\.power_w\[1\]"),
        ({"power_w": np.array([0.1, 0.0, 0.1])}, r"devices\.power_w\[1\]"),
        ({"frequency_hz": np.full(3, 9e9)}, r"devices\.frequency_hz\[0\]"),
        ({"server_batch": 0.0}, r"server\.batch"),
        ({"finetune_rounds": 2.5}, r"finetune_rounds = 2\.5"),
        ({"finetune_rounds": -1}, r"finetune_rounds = -1"),
    ],
)
def test_a_bad_plan_is_named_with_field_and_value(changes: dict[str, object], line: str) -> None:
    small = world()
    with pytest.raises(PolicyError, match=line):
        check_plan("p", small.problem, _plan(small, **changes))
    assert check_plan("p", small.problem, _plan(small))


def test_unknown_policies_and_parameters_are_refused() -> None:
    with pytest.raises(InputError, match=r"allowed: .*joint"):
        make_policy("nonsense", {})
    with pytest.raises(InputError, match=r"policies\.uniform\.nonsense"):
        make_policy("uniform", {"nonsense": 1})
