"""From scenario to problem and run specification: what follows from what; every policy meets the same world."""

import io
import re
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from prefine.emulator import api
from prefine.emulator.analysis.targets import climb
from prefine.emulator.channel.base import Channel
from prefine.emulator.errors import InfeasibleError, InputError, PolicyError
from prefine.emulator.plugins import make_policy
from prefine.emulator.scenario.source import read_source
from prefine.emulator.simulation.control import check_plan
from prefine.emulator.simulation.run import run
from prefine.emulator.terminal.plans import show_constants, show_plan
from prefine.emulator.types import Calibrated, CalibrationWork, Constants, DevicesPlan, Plan, ServerPlan
from prefine.emulator.world import World
from prefine.models.workload import Workload
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
    result = run(spec, name, 0).run
    assert result.stop_reason == "plan"
    assert result.delay_s == pytest.approx(result.predicted_delay_s, rel=1e-9)
    assert result.energy_j == pytest.approx(result.predicted_energy_j, rel=1e-9)


@pytest.mark.parametrize("mode", ["broadcast", "unicast"])
@pytest.mark.parametrize("name", ["finetune-only", "joint-ft", "uniform", "pretrain-only"])
def test_static_channel_realises_the_hand_over(name: str, mode: str) -> None:
    small = world(f"radio.downlink.mode={mode}", "radio.downlink.base=sent", "task.finetune=last")
    frozen_bits, everyone = 32 * (64 * 64 + 64), small.problem.devices
    noise_w = small.problem.radio.noise_psd_w_hz * 1e6
    once_s = frozen_bits / (1e6 * np.log2(1.0 + everyone.gain / noise_w))
    handover_s = float(once_s.max() if mode == "broadcast" else once_s.sum())
    assert small.handover == pytest.approx((handover_s, handover_s), rel=1e-12)  # at one watt
    policy = small.policy(name)
    plan = small.plan(name, policy)
    result = run(small.run_spec(name, policy, plan, 0), name, 0).run
    assert result.stop_reason == "plan"
    assert result.delay_s == pytest.approx(result.predicted_delay_s, rel=1e-9)
    assert result.energy_j == pytest.approx(result.predicted_energy_j, rel=1e-9)
    served = handover_s if plan.finetune_rounds else 0.0
    rounds_j = plan.finetune_rounds * small.problem.radio.downlink_energy_j
    assert result.downlink_energy_j == pytest.approx(served + rounds_j, rel=1e-9)


def test_what_the_hand_over_leaves_is_what_a_policy_may_spend() -> None:
    keys = ("radio.downlink.mode=broadcast", "radio.downlink.base=sent", "task.finetune=last")
    solution = api.plan(SMALL, "joint-ft", overrides=keys)
    whole, handover = world(*keys).problem.budget, solution.handover
    assert solution.document()["handover"] == handover._asdict()
    assert solution.problem.budget.delay_s == whole.delay_s - handover.delay_s > 0.0
    assert solution.predicted.delay_s <= solution.problem.budget.delay_s * (1.0 + 1e-9)
    console = Console(file=io.StringIO(), width=120)
    show_plan(solution, console)
    assert "set aside of the budgets for sending devices the base model once" in console.file.getvalue()  # type: ignore[attr-defined]  # a StringIO
    huge = (*keys, "radio.downlink.base_bits=1e9")
    with pytest.raises(InfeasibleError, match="one fine-tuning round needs at least"):
        api.plan(SMALL, "finetune-only", overrides=huge)
    assert api.plan(SMALL, "pretrain-only", overrides=huge).plan.pretrain_rounds > 0
    with pytest.raises(InputError, match=r'base = "sent" needs a mode that transmits'):
        world("radio.downlink.mode=fixed", "radio.downlink.base=sent")
    free = world("radio.downlink.base=sent", "task.finetune=last")
    assert free.handover == (0.0, 0.0)
    assert world("radio.downlink.mode=broadcast", "radio.downlink.base=sent").handover == (0.0, 0.0)  # nothing frozen


@pytest.mark.parametrize("mode", ["synchronous", "asynchronous"])
def test_each_device_is_sent_the_base_model_once(mode: str) -> None:
    """By unicast at one watt, energy is time on the air: one base model for each who came, one head for each coming."""
    keys = ("radio.downlink.mode=unicast", "radio.downlink.base=sent", "task.finetune=last", "aggregation.buffer=1")
    small = world(*keys, f"aggregation.mode={mode}", "training.participation=0.4", "budget.delay_s=8")
    policy = small.policy("uniform")
    result = run(small.run_spec("p", policy, small.plan("p", policy), 0), "p", 0)
    rate = 1e6 * np.log2(1.0 + small.problem.devices.gain / (small.problem.radio.noise_psd_w_hz * 1e6))
    base_s, head_s = 32 * 64 * 65 / rate, 32 * 650 / rate
    came = [record.device for record in result.devices]
    assert len(came) > len(set(came)) == 3
    on_air_s = base_s.sum() + head_s[came].sum()
    cut_off_s = base_s.max() + head_s.sum() if mode == "asynchronous" else 0.0  # under way when the run ended
    assert on_air_s * (1.0 - 1e-9) - cut_off_s <= result.run.downlink_energy_j <= on_air_s * (1.0 + 1e-9)


@pytest.mark.parametrize("mode", ["broadcast", "unicast"])
def test_static_channel_realises_the_downlinks_cost(mode: str) -> None:
    small = world(f"radio.downlink.mode={mode}", "radio.downlink.power_w=2.0")
    policy = small.policy("finetune-only")
    result = run(small.run_spec("p", policy, small.plan("p", policy), 0), "p", 0).run
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
        run(spec, name, 5)
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


def test_the_predictor_reckons_with_the_recipes_effective_rate() -> None:
    """The step over 1 - momentum; not said where it is the bound's own."""
    practice = world("training.preset=practice").problem
    assert practice.learning.effective_rate == pytest.approx(3 * 0.2 / (1 - 0.5))
    assert practice.as_trained.learning.learning_rate == practice.learning.effective_rate
    for plain in ('"1/L"', '"0.5/L"', "0.05"):
        assert world(f"training.learning_rate={plain}").problem.learning.effective_rate is None
    given = world("training.preset=practice")
    policy = given.policy("joint-ft")
    as_trained = policy.plan(practice.as_trained)
    assert policy.plan(practice).pretrain_rounds == as_trained.pretrain_rounds
    assert policy.plan(practice).relaxed.bound == as_trained.relaxed.bound  # type: ignore[union-attr]  # it has one


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
        ({"finetune_rounds": 10**30}, r"finetune_rounds = 1e\+30, must be at most"),
        ({"server_batch": "x"}, r"server\.batch is a str, must be a number"),
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


class Pilots(Workload):
    """The usual workload with constants and work that are written down, not measured."""

    work = CalibrationWork(6, 2, ((32, 60), (8, 40)), ((5, 60),))

    def constants(self) -> Constants:
        return Constants(
            *(5.0, 0.2, 2.3, 0.4, 10.0, (8.0,) * 3, 0.03, 0.7),
            server_curvature=1.0,
            device_curvature=(1.0, 2.0, 3.0),
            discrepancy_relief=4.0,
            discrepancy_rate=0.01,
            pretrain_noise=1.5,
            work=self.work,
        )


MEASURED = SMALL[: SMALL.index("[learning]")] + "[learning]\n" + SMALL[SMALL.index("[compare]") :]
RICH = ("budget.delay_s=60.0", "budget.energy_j=400.0")


def measured(*overrides: str, text: str = MEASURED) -> World:
    return read_source(text, (*RICH, *overrides), Pilots).world()


def test_refinements_are_measured_where_what_they_refine_is() -> None:
    problem = measured().problem
    assert (problem.server.noise_curvature, problem.learning.pretrain_noise) == (1.0, 1.5)
    assert problem.devices.noise_curvature is not None
    assert problem.devices.noise_curvature.tolist() == [1.0, 2.0, 3.0]
    assert (problem.learning.discrepancy_relief, problem.learning.discrepancy_rate) == (4.0, 0.01)

    problem = measured("learning.smoothness=5.0", "learning.pretrain_floor=0.7").problem
    assert (problem.server.noise_curvature, problem.devices.noise_curvature) == (None, None)
    assert problem.learning.pretrain_noise is None
    assert problem.learning.discrepancy_relief == 4.0

    problem = measured("learning.discrepancy=0.4", "learning.server_curvature=0.7").problem
    assert (problem.learning.discrepancy_relief, problem.learning.discrepancy_rate) == (0.0, 0.0)
    assert problem.server.noise_curvature == 0.7

    asked = measured("learning.smoothness=5.0", 'learning.device_curvature="estimate"').problem.devices
    assert asked.noise_curvature is not None


def test_given_constants_need_no_measuring_and_mean_what_they_meant() -> None:
    learning, server, devices = (getattr(world().problem, part) for part in ("learning", "server", "devices"))
    assert (learning.discrepancy_relief, learning.discrepancy_rate, learning.pretrain_noise) == (0.0, 0.0, None)
    assert (server.noise_curvature, devices.noise_curvature) == (None, None)
    small = world("learning.charge_pilots=true")  # nothing is measured, so nothing is charged
    assert small.problem_of(small.policy("joint")).budget == small.problem.budget


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("learning.discrepancy_relief=3.0", "learning: discrepancy_relief and discrepancy_rate belong together"),
        ("learning.discrepancy_rate=0.1", "learning: discrepancy_relief and discrepancy_rate belong together"),
        ("learning.device_curvature=[1.0]", "learning.device_curvature: 1 values for 3 devices"),
    ],
)
def test_constants_that_do_not_fit_are_refused(override: str, said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)):
        world(override).problem  # noqa: B018  # made when asked for


def test_shift_that_would_be_negative_is_refused() -> None:
    with pytest.raises(InputError, match=r"learning.discrepancy_relief = 5: .* at most discrepancy = 0.4"):
        world("learning.discrepancy_relief=5.0", "learning.discrepancy_rate=0.1").problem  # noqa: B018
    assert world("learning.discrepancy_relief=4.0", "learning.discrepancy_rate=0.1").problem.learning
    assert world("learning.discrepancy_relief=0.0").problem.learning


def test_charge_is_what_the_calibration_runs_would_take() -> None:
    small = measured("learning.charge_pilots=true")
    problem, charge = small.problem, small.charge(small.policy("joint"))
    server, devices, radio = problem.server, problem.devices, problem.radio
    samples = 32 * 60 + 8 * 40
    middle = 0.5 * (devices.min_frequency_hz + devices.max_frequency_hz)
    bits_s = devices.bandwidth_hz * np.log2(
        1.0 + devices.max_power_w * devices.gain / (radio.noise_psd_w_hz * devices.bandwidth_hz)
    )
    upload_s, cycles = radio.uplink_bits / bits_s, 5 * devices.cycles_per_sample
    round_s = radio.downlink_delay_s + (cycles / middle + upload_s).max()
    devices_j = devices.capacitance * cycles * middle**2 + devices.max_power_w * upload_s
    round_j = radio.downlink_energy_j + devices_j.sum()
    pretrain_s = samples * server.cycles_per_sample / server.max_frequency_hz
    pretrain_j = samples * server.cycles_per_sample * server.capacitance * server.max_frequency_hz**2
    assert charge.delay_s == pytest.approx(pretrain_s + 60 * round_s)
    assert charge.energy_j == pytest.approx(pretrain_j + 60 * round_j)
    assert measured().charge(small.policy("joint")).energy_j == 0.0


@pytest.mark.parametrize("name", ["joint-ft", "joint-online"])
def test_charged_run_has_what_is_left_and_counts_both(name: str) -> None:
    """Time and energy include the calibration: that is what the user pays, and the budgets hold for the sum."""
    small, free = measured("learning.charge_pilots=true"), measured()
    policy = small.policy(name)
    charge, plan = small.charge(policy), small.plan(name, policy)
    assert 0.0 < charge.delay_s < 30.0
    left = small.problem_of(policy).budget
    assert (left.delay_s, left.energy_j) == (60.0 - charge.delay_s, 400.0 - charge.energy_j)
    assert plan.pretrain_rounds + plan.finetune_rounds < sum(
        getattr(free.plan(name, policy), rounds) for rounds in ("pretrain_rounds", "finetune_rounds")
    )
    result = run(small.run_spec(name, policy, plan, 0), name, 0)
    assert result.rounds[0].start_s == charge.delay_s
    assert result.run.energy_j == pytest.approx(charge.energy_j + sum(one.energy_j for one in result.rounds))
    assert result.run.delay_s <= 60.0 * (1.0 + 1e-9)
    assert result.run.energy_j <= 400.0 * (1.0 + 1e-9)
    assert (result.run.calibration_delay_s, result.run.calibration_energy_j) == (charge.delay_s, charge.energy_j)
    first = climb(result.rounds, result.run.calibration_energy_j)[0]
    assert first.energy_j == charge.energy_j + result.rounds[0].energy_j
    assert first.time_s > charge.delay_s
    if name == "joint-ft":
        assert result.run.delay_s == pytest.approx(result.run.predicted_delay_s, rel=1e-9)
        assert result.run.energy_j == pytest.approx(result.run.predicted_energy_j, rel=1e-9)


def _decided(plan: Plan) -> tuple[object, ...]:
    devices = [getattr(plan.devices, field).tolist() for field in ("batch", "frequency_hz", "power_w")]
    return plan.pretrain_rounds, plan.finetune_rounds, plan.server, devices


def test_policies_without_constants_pay_nothing_and_get_the_same_plan_whatever_the_constants() -> None:
    small = measured("learning.charge_pilots=true")
    other = replace(
        small.problem,
        learning=replace(small.problem.learning, initial_gap=0.1, smoothness=9.0, learning_rate=0.01, discrepancy=7.0),
        server=replace(small.problem.server, gradient_variance=1e3),
        devices=replace(small.problem.devices, gradient_variance=np.array([1e-3, 1.0, 1e3])),
    )
    free = set()
    for name in ("uniform", "random", "min-delay", "min-energy", "fedl", "joint-simple", "finetune-only", "separate"):
        policy = small.policy(name)
        one, two = (_decided(policy.plan(problem)) for problem in (small.problem, other))
        same = one == two
        assert same == (small.charge(policy).energy_j == 0.0), name
        free |= {name} if same else set()
    assert free == {"uniform", "random", "min-delay", "min-energy", "fedl"}


def test_budgets_that_calibration_uses_up_are_one_clear_line() -> None:
    small = measured("learning.charge_pilots=true", "budget.delay_s=1.0")
    with pytest.raises(
        InfeasibleError, match=r"measuring the constants takes .* s and .* J, the budgets are 1 s and 400"
    ):
        small.plan("joint", small.policy("joint"))
    assert small.plan("uniform", small.policy("uniform")).finetune_rounds > 0


def test_calibrate_says_what_it_costs_and_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    constant: Calibrated = {"value": 5.0, "spread": 0.1, "least": 4.0, "most": 5.5, "definition": "L"}
    monkeypatch.setattr(Pilots, "calibration", lambda self: {"smoothness": constant})
    found = api.calibrate(read_source(MEASURED, RICH, Pilots))
    charge = measured("learning.charge_pilots=true").charge(object())
    cost = found.pop("cost")
    assert found == {"smoothness": constant}
    assert (cost["runs"], cost["step_size_searches"], cost["charged"]) == (6, 2, False)
    assert (cost["pretrain_rounds"], cost["finetune_rounds"]) == ({32: 60, 8: 40}, {5: 60})
    assert (cost["delay_s"], cost["energy_j"]) == (charge.delay_s, charge.energy_j)
    console = Console(record=True, width=200, file=io.StringIO())
    show_constants({**found, "cost": cost}, console)
    shown = console.export_text()
    assert "100 rounds of pre-training (60 of 32 samples, 40 of 8 samples)" in shown
    assert "raw task data of every device" in shown
    assert "not taken from the budgets (learning.charge_pilots)" in shown


def test_plan_says_what_it_was_charged() -> None:
    source = read_source(MEASURED, (*RICH, "learning.charge_pilots=true"), Pilots)
    solution = api.plan(source, "joint")
    budget = solution.problem.budget
    assert budget.delay_s == 60.0 - solution.charge.delay_s
    assert solution.predicted.delay_s <= budget.delay_s
    assert solution.document()["calibration"] == {
        "delay_s": solution.charge.delay_s,
        "energy_j": solution.charge.energy_j,
    }
    assert "calibration" not in api.plan(source, "uniform").document()
    console = Console(record=True, width=200, file=io.StringIO())
    show_plan(solution, console)
    assert "the budgets are what measuring the constants leaves" in console.export_text()
