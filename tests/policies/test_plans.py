"""Whole-number plans: every policy keeps its limits and both budgets, and is right on cases worked out otherwise."""

import configparser
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefine.emulator.bound import BoundTerms, device_round, most_server_rounds, predict, server_round
from prefine.emulator.errors import InfeasibleError, InputError
from prefine.emulator.problem_file import parse_problem, plan_document
from prefine.emulator.types import Budget, Plan, Policy, Problem, ServerPlan
from prefine.policies import sca
from prefine.policies.baselines import (
    FinetuneOnly,
    FixedBatch,
    FixedShare,
    MaxFrequency,
    MaxPower,
    PretrainOnly,
    Random,
    Separate,
    Uniform,
)
from prefine.policies.family import Given
from prefine.policies.joint import Joint, JointFinetune, JointSimple
from prefine.policies.literature import Fedl, MinDelay, MinEnergy
from prefine.policies.objectives.all_rounds import AllRounds
from prefine.policies.objectives.base import Objective
from prefine.policies.objectives.counting import MOST_COUNTS, FinetuneRound
from prefine.policies.objectives.fine_tuned import FineTuned
from prefine.policies.objectives.given_share import GivenShare
from prefine.policies.objectives.settling import SettlingFineTuned
from prefine.policies.online import JointOnline
from prefine.policies.rehearsed import JointRehearsed
from prefine.policies.sca import JointSca
from prefine.policies.subproblems import Stages
from tests.policies.instances import FOLDER, NAMES, load, odd_problem, with_bend, with_pretraining, with_settling

DESIGNS: list[Callable[[], Policy]] = [
    Joint, JointFinetune, JointOnline, JointSimple, PretrainOnly, FinetuneOnly, Separate, FixedBatch, FixedShare,
    MaxPower, MaxFrequency, Uniform, Random, Given, MinDelay, MinEnergy, Fedl,
]  # fmt: skip
REHEARSES = [JointRehearsed]
"""Tested in tests/emulator/test_rehearsal.py: it needs a workload beside the problem."""
NEEDS_CVXPY: list[Callable[[], Policy]] = [JointSca]
"""Tested by the tests named after SCA below, which the extra ``reference`` allows."""

ROOT = Path(__file__).parents[2]
seeds = st.integers(0, 10**6)


def test_every_policy_of_the_package_is_among_the_designs_tested_here() -> None:
    """A new entry point without a place in the lists above fails."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    lines = setup["options.entry_points"]["prefine.policies"].strip().splitlines()
    offered = sorted(line.partition("=")[2].strip() for line in lines)
    tested = [*DESIGNS, *REHEARSES, *NEEDS_CVXPY]
    assert offered == sorted(f"{make.__module__}:{getattr(make, '__qualname__', make)}" for make in tested)


def _assert_valid(problem: Problem, plan: Plan) -> None:
    predicted, devices, server = predict(problem, plan), problem.devices, problem.server
    assert plan.pretrain_rounds >= 0
    assert plan.finetune_rounds >= 0
    assert plan.pretrain_rounds + plan.finetune_rounds >= 1
    assert predicted.delay_s <= problem.budget.delay_s  # to the last digit
    assert predicted.energy_j <= problem.budget.energy_j
    if plan.pretrain_rounds:
        assert plan.server.batch == round(plan.server.batch)
        assert server.min_batch <= plan.server.batch <= server.max_batch
        assert server.min_frequency_hz <= plan.server.frequency_hz <= server.max_frequency_hz
    if plan.finetune_rounds:
        own = plan.devices
        assert np.array_equal(own.batch, np.round(own.batch))
        assert np.all((own.batch >= devices.min_batch) & (own.batch <= devices.max_batch))
        assert np.all((own.frequency_hz >= devices.min_frequency_hz) & (own.frequency_hz <= devices.max_frequency_hz))
        assert np.all((own.power_w > 0.0) & (own.power_w <= devices.max_power_w))


@pytest.mark.parametrize("make", DESIGNS)
@pytest.mark.parametrize("name", NAMES)
def test_plans_are_valid_on_the_instances(make: Callable[[], Policy], name: str) -> None:
    problem = with_pretraining(load(name))
    _assert_valid(problem, make().plan(problem))


@given(seed=seeds, which=st.sampled_from(DESIGNS))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_plans_are_valid_on_odd_problems(seed: int, which: Callable[[], Policy]) -> None:
    generator = np.random.default_rng(seed)
    problem = with_pretraining(odd_problem(seed, 1 + seed % 8))
    if seed % 2:
        problem = with_bend(with_settling(problem, generator), generator)
    try:
        plan = which().plan(problem)
    except InfeasibleError as error:
        assert "needs at least" in str(error) or "do not fit" in str(error)  # noqa: PT017 - a message is the result
        return
    _assert_valid(problem, plan)


def test_joint_is_no_worse_than_any_other_policy_by_its_own_measure() -> None:
    for name in ("base", "both-stages", "energy-scarce"):
        problem = with_pretraining(load(name))
        relaxed = Joint().plan(problem).relaxed
        assert relaxed is not None
        for make in DESIGNS:
            assert predict(problem, make().plan(problem)).bound >= relaxed.lower_bound * (1.0 - 1e-12)


def test_joint_sees_the_single_stage_that_its_local_search_misses() -> None:
    """Ten devices with 1,400 samples, 32 s and 160 J: 4 + 44 rounds is a local optimum, 0 + 46 is better."""
    path = FOLDER.parent / "traps" / "one-stage.json"
    problem = parse_problem(path.read_text(), path.name)
    alone = predict(problem, FinetuneOnly().plan(problem)).bound
    assert predict(problem, Joint().plan(problem)).bound <= alone
    assert predict(problem, JointFinetune().plan(problem)).bound_ft <= alone


def test_budgets_that_just_allow_one_round() -> None:
    problem = load("base")
    fixed = replace(
        problem,
        devices=replace(problem.devices, min_batch=np.full(10, 2.0), max_batch=np.full(10, 2.0)),
        server=replace(problem.server, min_batch=512.0, min_frequency_hz=5e9),  # no server round fits below
    )
    one = FinetuneOnly().plan(fixed)
    cost = device_round(fixed.devices, fixed.radio, one.devices)
    just = replace(fixed, budget=Budget(cost.delay_s * (1.0 + 1e-9), cost.energy_j * (1.0 + 1e-9)))
    plan = Joint().plan(just)
    assert (plan.pretrain_rounds, plan.finetune_rounds) == (0, 1)
    less = replace(fixed, budget=Budget(cost.delay_s * (1.0 - 1e-6), cost.energy_j * (1.0 - 1e-6)))
    with pytest.raises(InfeasibleError, match=r"one fine-tuning round needs at least .* J"):
        Joint().plan(less)
    with pytest.raises(InfeasibleError, match=r"one fine-tuning round needs at least .* s"):
        Joint().plan(replace(fixed, budget=Budget(1e-3, 200.0)))


def test_pretraining_only_against_brute_force() -> None:
    """Every server batch in closed form: f from the tighter of both budgets, N the floor."""
    problem = load("pretrain-only")
    server, budget, gap = problem.server, problem.budget, problem.learning
    noise = gap.smoothness * gap.learning_rate * server.gradient_variance
    best = np.inf
    for batch in range(1, 200):
        for rounds in range(1, 400):
            frequency = max(server.min_frequency_hz, rounds * batch * server.cycles_per_sample / budget.delay_s)
            energy_j = rounds * batch * server.cycles_per_sample * server.capacitance * frequency**2
            if frequency <= server.max_frequency_hz and energy_j <= budget.energy_j:
                start = 2.0 * gap.initial_gap / gap.learning_rate
                best = min(best, start / rounds + gap.discrepancy + noise / batch)
    assert predict(problem, PretrainOnly().plan(problem)).bound == pytest.approx(best, rel=1e-9)


@given(seed=seeds, bent=st.booleans())
@settings(max_examples=60, deadline=None, derandomize=True)
def test_plans_without_finetuning_are_the_best_of_all(seed: int, bent: bool) -> None:
    """Every (N, b0) of problems with 1 to 3 devices, as `predict` prices them; N b0 samples need one frequency."""
    generator = np.random.default_rng(seed)
    problem = odd_problem(seed, 1 + seed % 3)
    problem = with_bend(problem, generator) if bent else problem
    problem = replace(problem, server=replace(problem.server, max_batch=min(problem.server.max_batch, 90.0)))
    server, budget, terms = problem.server, problem.budget, BoundTerms.of(problem)
    if server.min_batch > server.max_batch:
        return
    batch = np.arange(server.min_batch, server.max_batch + 1.0)[:, np.newaxis]
    rounds = np.arange(1.0, 4000.0)
    cycles = rounds * batch * server.cycles_per_sample
    hz = np.maximum(cycles / budget.delay_s, server.min_frequency_hz)
    energy_j = cycles * server.capacitance * hz**2
    fits = (cycles / budget.delay_s <= server.max_frequency_hz * (1.0 - 1e-11)) & (energy_j <= budget.energy_j)
    value = np.where(fits, terms.bound(rounds, 0.0, batch, 0.0), np.inf)
    if np.any(fits[:, -1]):
        return  # more rounds than are listed here
    try:
        plan = PretrainOnly().plan(problem)
    except InfeasibleError:
        assert not np.any(fits)
        return
    assert predict(problem, plan).bound == pytest.approx(np.min(value), rel=1e-10)


def test_wide_ranges_of_server_batches_are_searched_exactly_too() -> None:
    """A million batches, of which a list of some thousand is tried: as good as all of them."""
    problem = load("pretrain-only")
    for bent in (False, True):
        one = with_bend(problem, np.random.default_rng(4)) if bent else problem
        wide = replace(one, server=replace(one.server, min_batch=1.0, max_batch=1e6, gradient_variance=2e5))
        narrow = replace(wide, server=replace(wide.server, max_batch=MOST_COUNTS / 2.0))
        plan, same = (PretrainOnly().plan(each) for each in (wide, narrow))
        assert plan.server.batch < MOST_COUNTS / 2.0
        assert (plan.pretrain_rounds, plan.server) == (same.pretrain_rounds, same.server)


def test_separate_is_both_stages_on_their_parts() -> None:
    problem = load("both-stages")
    plan, half = Separate(0.25).plan(problem), problem.budget
    first = PretrainOnly().plan(replace(problem, budget=Budget(half.delay_s * 0.25, half.energy_j * 0.25)))
    second = FinetuneOnly().plan(replace(problem, budget=Budget(half.delay_s * 0.75, half.energy_j * 0.75)))
    assert (plan.pretrain_rounds, plan.finetune_rounds) == (first.pretrain_rounds, second.finetune_rounds)
    assert plan.server == first.server


def test_fixed_parts_stay_fixed() -> None:
    problem = load("both-stages")
    assert set(FixedBatch(16).plan(problem).devices.batch) == {16.0}
    shared = FixedShare(0.25).plan(problem)
    total = shared.pretrain_rounds + shared.finetune_rounds
    assert shared.pretrain_rounds == round(0.25 * total)
    assert np.array_equal(MaxPower().plan(problem).devices.power_w, problem.devices.max_power_w)
    fast = MaxFrequency().plan(problem)
    assert np.array_equal(fast.devices.frequency_hz, problem.devices.max_frequency_hz)


def test_uniform_is_what_it_says() -> None:
    problem = load("base")
    plan = Uniform().plan(problem)
    assert set(plan.devices.batch) == {32.0}
    assert plan.server.frequency_hz == 0.5 * (1e8 + 5e9)
    more = replace(plan, pretrain_rounds=plan.pretrain_rounds + 1, finetune_rounds=plan.finetune_rounds + 1)
    predicted = predict(problem, more)
    assert predicted.delay_s > problem.budget.delay_s or predicted.energy_j > problem.budget.energy_j


def test_literature_on_one_device_by_hand() -> None:
    """One device, only its frequency free: f from delay (min-energy), from energy (min-delay), from kappa (fedl)."""
    problem = load("base")
    one = problem.devices.at(np.array([0]))  # little power at little gain: the cap binds, so the upload is what it is
    devices = replace(one, weight=np.ones(1), max_power_w=np.full(1, 1e-6), gain=np.full(1, 1e-9))
    problem = replace(problem, devices=devices, budget=Budget(100.0, 50.0))
    rounds, cycles, capacitance = 20, 32 * float(devices.cycles_per_sample[0]), 1e-28
    slow = MinEnergy(batch=32, share=0.0, rounds=rounds).plan(problem)
    upload_s = float(slow.devices.upload_s[0])
    assert float(slow.devices.frequency_hz[0]) == pytest.approx(cycles / (100.0 / rounds - upload_s), rel=1e-6)
    tight = replace(problem, budget=Budget(1000.0, 2.0))
    fast = MinDelay(batch=32, share=0.0, rounds=rounds).plan(tight)
    compute_j = 2.0 / rounds - float(fast.devices.power_w[0] * fast.devices.upload_s[0])
    assert float(fast.devices.frequency_hz[0]) == pytest.approx((compute_j / (capacitance * cycles)) ** 0.5, rel=1e-6)
    fedl = Fedl(batch=32, share=0.0, kappa=0.05).plan(problem)  # d/df (kappa c f^2 + 0.05 c / f) = 0
    assert float(fedl.devices.frequency_hz[0]) == pytest.approx((0.05 / (2.0 * capacitance)) ** (1.0 / 3.0), rel=1e-9)


def test_joint_simple_gives_up_no_more_than_it_says() -> None:
    problem = load("both-stages")
    alone = FinetuneOnly().plan(problem).finetune_rounds
    plan = JointSimple(give_up=0.15).plan(problem)
    assert plan.pretrain_rounds > 0
    assert plan.finetune_rounds >= 0.8 * alone  # the rule counts real rounds; whole ones may trade a few for samples
    assert JointSimple(give_up=0.0).plan(problem).pretrain_rounds == 0


@pytest.mark.parametrize(("name", "bent"), [("tight", False), ("both-stages", False), ("both-stages", True)])
def test_sca_finds_the_same_optimum(name: str, bent: bool) -> None:
    pytest.importorskip("cvxpy")
    problem = load(name)
    if bent:
        learning = replace(problem.learning, discrepancy=0.3, discrepancy_relief=4.0, discrepancy_rate=0.05)
        server = replace(problem.server, noise_curvature=0.3 * learning.smoothness)
        problem = replace(problem, learning=learning, server=server)
    relaxed = Joint().plan(problem).relaxed
    assert relaxed is not None
    policy = JointSca(tolerance=1e-4)
    assert policy.optimise(problem).bound == pytest.approx(relaxed.bound, rel=1e-3)


def test_sca_plans_whole_batches() -> None:
    pytest.importorskip("cvxpy")
    problem = load("energy-scarce")
    _assert_valid(problem, JointSca(tolerance=1e-3, evaluations=30).plan(problem))


@pytest.mark.parametrize("make", [
    lambda: Separate(share=1.0), lambda: FixedShare(share=1.5), lambda: FixedBatch(batch=0), lambda: Uniform(batch=-1),
    lambda: Random(seed=-1), lambda: JointSimple(give_up=float("nan")), lambda: Fedl(kappa=0.0),
    lambda: MinDelay(rounds=-1), lambda: JointOnline(trust=2.0), lambda: JointSca(tolerance=0.0),
])  # fmt: skip
def test_wrong_parameters_are_named(make: Callable[[], Policy]) -> None:
    with pytest.raises(InputError, match=r"^policies\.[a-z-]+\.[a-z_]+: must be"):
        make()


def test_what_a_policy_needs_is_named() -> None:
    with pytest.raises(InputError, match="pretrain_contraction"):
        JointFinetune().plan(load("base"))
    problem = load("base")
    halves = replace(problem.server, min_batch=1.2, max_batch=1.8)
    with pytest.raises(InputError, match="no whole batch"):
        Joint().plan(replace(problem, server=halves))


def test_random_is_seeded() -> None:
    problem = load("base")
    one, other = Random(3).plan(problem), Random(3).plan(problem)
    assert np.array_equal(one.devices.batch, other.devices.batch)
    assert not np.array_equal(one.devices.batch, Random(4).plan(problem).devices.batch)


def test_the_plan_document_is_json() -> None:
    problem = load("pretrain-only")
    plan = Joint().plan(problem)
    text = json.dumps(plan_document("joint", problem, plan, predict(problem, plan), 0.1), allow_nan=False)
    document = json.loads(text)
    assert document["predicted"]["bound_ft"] is None
    assert document["relaxed"]["gap"] <= 1e-6
    assert len(document["relaxed"]["devices"]["batch"]) == 10


def test_prediction_by_hand() -> None:
    problem = load("downlink")
    plan = Uniform().plan(problem)
    server, devices = (
        server_round(problem.server, plan.server),
        device_round(problem.devices, problem.radio, plan.devices),
    )
    assert server.delay_s == 32 * 2e7 / plan.server.frequency_hz
    rates = 1e6 * np.log2(1.0 + 0.2 * problem.devices.gain / (problem.radio.noise_psd_w_hz * 1e6))
    compute_s = 32 * problem.devices.cycles_per_sample / plan.devices.frequency_hz
    barrier_s = problem.radio.downlink_delay_s + float(np.max(compute_s + problem.radio.uplink_bits / rates))
    assert devices.delay_s == pytest.approx(barrier_s, rel=1e-12)


def test_the_most_server_rounds_against_brute_force() -> None:
    """The least energy of N whole rounds in the time left, at the lowest frequency that is fast enough."""
    server = replace(load("base").server, min_frequency_hz=3e8)
    for left_s, left_j, batch in [(1.0, 50.0, 8.0), (30.0, 2.0, 8.0), (5.0, 5.0, 64.0), (0.0, 5.0, 8.0)]:
        fits = 0
        for rounds in range(1, 3000):
            samples = rounds * batch
            hz = max(server.min_frequency_hz, samples * server.cycles_per_sample / left_s) if left_s else np.inf
            energy_j = samples * server.cycles_per_sample * server.capacitance * hz**2
            fits = rounds if hz <= server.max_frequency_hz and energy_j <= left_j else fits
        most = most_server_rounds(server, *(np.array([value]) for value in (batch, left_s, left_j)))
        assert int(most[0]) == fits


@pytest.mark.parametrize(("objective", "shift", "contraction"), [
    (AllRounds(), 0.05, 0.1), (AllRounds(), 50.0, 0.1),  # N: all that fits, none
    (AllRounds(), 90.0, 0.1), (AllRounds(), 90.0, 0.02), (GivenShare(0.3), 90.0, 0.1),  # bent, so N in between
    (SettlingFineTuned(), 0.05, 0.1), (SettlingFineTuned(), 0.05, 0.02),
    (GivenShare(0.0), 0.05, 0.1), (GivenShare(0.3), 0.05, 0.1), (GivenShare(1.0), 0.05, 0.1),
    (FineTuned(), 0.05, 0.1), (FineTuned(), 0.05, 1.2), (FineTuned(), 0.05, 4.0),  # N: all that fits, ceil, floor
])  # fmt: skip
def test_counts_against_brute_force(objective: Objective, shift: float, contraction: float) -> None:
    """Every (N, M, b0) of a small problem, priced by `predict` one at a time."""
    problem = with_pretraining(load("tight"), contraction, floor=0.6)
    learning = replace(problem.learning, discrepancy=shift)
    if shift == 90.0:
        learning = replace(learning, discrepancy_relief=shift / contraction, discrepancy_rate=contraction)
    if isinstance(objective, SettlingFineTuned):
        learning = replace(learning, pretrain_noise=3.0)
    problem = replace(problem, learning=learning)
    stages, batches = Stages(problem), np.array([4.0, 9.0])
    devices = Uniform(batch=4).plan(problem).devices
    cost, noise = device_round(problem.devices, problem.radio, devices), float(stages.terms.round_noise(devices.batch))
    budget = Budget(12.9 * cost.delay_s, 14.3 * cost.energy_j)
    best = np.inf
    for batch in batches:
        for finetuning in range(14):
            left_s = budget.delay_s - finetuning * cost.delay_s
            for pretraining in range(60):
                if left_s <= 0.0 or not pretraining + finetuning:
                    continue
                hz = max(1.0, pretraining * batch * problem.server.cycles_per_sample / left_s)
                server = ServerPlan(batch, max(problem.server.min_frequency_hz, hz))
                plan = Plan(pretraining, finetuning, server, devices)
                predicted = predict(problem, plan)
                fits = predicted.delay_s <= budget.delay_s * (1.0 + 1e-12) and predicted.energy_j <= budget.energy_j
                if isinstance(objective, GivenShare):
                    fits &= pretraining == round(objective.share * (pretraining + finetuning))
                if fits and server.frequency_hz <= problem.server.max_frequency_hz:
                    best = min(best, getattr(predicted, objective.name))
    counts = objective.best_counts(stages, budget, batches, FinetuneRound(cost, noise))
    assert counts.value == pytest.approx(best, rel=1e-12)


def test_the_bounds_broadcast() -> None:
    """Arrays of N, M, b0 and noise give what one design at a time gives; M = 0 and no rounds included."""
    terms = BoundTerms.of(with_pretraining(load("base")))
    n, m, batch, noise = (np.array(values) for values in ([0.0, 3.0], [[0.0], [7.0]], [[[8.0]], [[64.0]]], [0.1, 0.2]))
    for formula in (terms.bound, terms.bound_ft):
        together = formula(n, m, batch, noise)
        assert together.shape == (2, 2, 2)
        for index in np.ndindex(2, 2, 2):
            alone = formula(float(n[index[2]]), float(m[index[1], 0]), float(batch[index[0], 0, 0]), noise[index[2]])
            assert together[index] == pytest.approx(alone, rel=1e-15)
    assert terms.bound(0.0, 0.0, 8.0, 0.1) == terms.bound_ft(5.0, 0.0, 8.0, 0.1) == np.inf
    wanted = terms.best_pretraining(np.array([1e-3, 1e9, 0.0]))
    assert terms.contraction * terms.removable * np.exp(-terms.contraction * wanted[0]) == pytest.approx(1e-3, rel=1e-9)
    assert (wanted[1], wanted[2]) == (0.0, np.inf)


def test_sca_takes_an_inexact_step_within_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where budgets are overrun the solver may answer uploads of no length: the next program would have no numbers."""
    pytest.importorskip("cvxpy")
    problem = load("pretrain-only")
    program, first = sca._Program(problem), sca._first(problem, Uniform().plan(problem))
    unit = np.ones(len(problem.devices))
    monkeypatch.setattr(program, "_solved", lambda: sca._Steps(unit, unit, 0.0 * unit, 1.0, 1.0, 1.0))
    point = program.solve(first)
    np.testing.assert_allclose(point.devices.power_w, problem.devices.max_power_w)
    assert np.all(point.devices.upload_s > 0.0)
    assert program.solve(point).bound == np.inf
