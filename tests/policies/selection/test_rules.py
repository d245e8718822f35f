"""Each rule against its definition, worked by hand or by brute force."""

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import permutations
from typing import Any

import numpy as np
import pytest

from prefine.emulator.errors import InputError
from prefine.emulator.physics import compute_time, upload_time
from prefine.emulator.types import IntArray, Observation
from prefine.policies.selection.base import Selection, planned_round_s
from prefine.policies.selection.fedcs import FedCS, greedy
from prefine.policies.selection.oort import Oort
from prefine.policies.selection.power_of_choice import PowerOfChoice
from prefine.policies.selection.priced import Priced, filled, systematic
from prefine.policies.selection.scheduling import BestChannel, ProportionalFair, RandomK, RoundRobin
from tests.emulator.simulation.worlds import plan, problem
from tests.policies.seen import facts, seen

EVERYONE = np.arange(6)
DRAWS = 4000
Z = 3.3
"""Standard errors: of the forty or so comparisons below, a right sampler fails one with about 4 % a fresh seed."""


def _any(**values: Any) -> Any:
    """What a scenario may hold, of any type."""
    return values


def look(**changes: Any) -> Observation:
    world = problem(6)
    return seen(world, plan(world), **changes)


def rounds_of(rule: Selection, observation: Observation, count: int, among: IntArray = EVERYONE) -> list[IntArray]:
    """Whom the rule chooses in rounds 1 to ``count``."""
    return [rule.choose(replace(observation, finetune_rounds_done=r), among).devices for r in range(count)]


def frequencies(rule: Selection, observation: Observation) -> np.ndarray:
    """How often each device is chosen, over `DRAWS` runs."""
    hits = np.zeros(len(EVERYONE))
    for run_seed in range(DRAWS):
        hits[rule.choose(replace(observation, seed=run_seed), EVERYONE).devices] += 1.0
    return hits / DRAWS


def near(frequency: np.ndarray, expected: np.ndarray) -> bool:
    return bool(np.all(np.abs(frequency - expected) <= Z * np.sqrt(expected * (1.0 - expected) / DRAWS) + 1e-12))


def test_random_devices_are_drawn_evenly_and_again_the_same_in_the_same_run() -> None:
    rule = RandomK(count=2)
    assert near(frequencies(rule, look()), np.full(6, 1.0 / 3.0))
    once, again = (rounds_of(rule, look(seed=5), 20) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(once, again, strict=True))
    assert any(not np.array_equal(a, b) for a, b in zip(once, rounds_of(rule, look(seed=6), 20), strict=True))
    assert rule.choose(look(), np.array([3])).devices.tolist() == [3]


def test_unbiased_weights_make_the_mean_step_that_of_everyone() -> None:
    """The mean weighted sum over `DRAWS` draws lies within `Z` standard errors of the full sum, for unequal shares."""
    world = problem(6)
    share = np.array([0.05, 0.3, 0.15, 0.25, 0.1, 0.15])
    world = replace(world, devices=replace(world.devices, weight=share))
    gradient = np.array([3.0, -1.0, 4.0, 1.0, -5.0, 9.0])
    sums = []
    for run_seed in range(DRAWS):
        choice = RandomK(count=2, unbiased=True).choose(seen(world, plan(world), seed=run_seed), EVERYONE)
        assert choice.weight == pytest.approx(3.0 * share[choice.devices])
        assert choice.weight is not None
        sums.append(float(choice.weight @ gradient[choice.devices]))
    assert abs(np.mean(sums) - share @ gradient) <= Z * np.std(sums) / math.sqrt(DRAWS)
    part = share * gradient
    variance = 6 * 4 / (2 * 5) * np.sum((part - part.mean()) ** 2)  # docs/selection.md: n (n - k) / (k (n - 1)) ...
    assert np.var(sums) == pytest.approx(variance, rel=0.1)


def test_round_robin_goes_round_and_passes_over_the_absent() -> None:
    rounds = rounds_of(RoundRobin(count=4), look(), 4)
    assert [each.tolist() for each in rounds] == [[0, 1, 2, 3], [0, 1, 4, 5], [2, 3, 4, 5], [0, 1, 2, 3]]
    without_two = np.array([0, 1, 3, 4, 5])
    assert rounds_of(RoundRobin(count=2), look(), 2, without_two)[1].tolist() == [3, 4]


def test_the_best_channels_are_the_best_by_brute_force() -> None:
    generator = np.random.default_rng(0)
    for _ in range(50):
        gain = generator.exponential(size=6)
        chosen = BestChannel(count=3).choose(look(gain=gain), np.array([0, 2, 3, 5])).devices
        best = max(permutations([0, 2, 3, 5], 3), key=lambda some: sum(gain[list(some)]))
        assert chosen.tolist() == sorted(best)


def test_proportional_fair_gives_the_far_their_turn() -> None:
    """Against a simulation written out: Rayleigh fading whose means differ by 10^5; best channel starves the far."""
    generator = np.random.default_rng(1)
    means = np.geomspace(1e-13, 1e-8, 6)
    total, hits, best = np.zeros(6), np.zeros(6), np.zeros(6)
    rounds = 2000
    for number in range(1, rounds + 1):
        gain = means * generator.exponential(size=6)
        total += gain
        ratio = gain / (total / number)
        expected = sorted(range(6), key=lambda k: ratio[k], reverse=True)[:2]
        observation = look(gain=gain, known=facts(gain, mean_gain=total / number))
        chosen = ProportionalFair(count=2).choose(observation, EVERYONE).devices
        assert chosen.tolist() == sorted(expected)
        hits[chosen] += 1.0 / rounds
        best[BestChannel(count=2).choose(observation, EVERYONE).devices] += 1.0 / rounds
    assert np.all(np.abs(hits - 1.0 / 3.0) < Z * math.sqrt(2.0 / 9.0 / rounds) + 0.005)
    assert best[0] < 0.01


def test_fedcs_adds_as_the_paper_does() -> None:
    """Algorithm 3 by hand: 1 ends at 2.5, then 0 at 4.5, 2 at 7.5 and 3 at 8.5."""
    compute_s, upload_s = np.array([1.0, 1.5, 1.0, 8.0]), np.array([2.0, 1.0, 3.0, 0.5])
    assert greedy(compute_s, upload_s, 10.0).tolist() == [0, 1, 2, 3]
    assert greedy(compute_s, upload_s, 8.4).tolist() == [0, 1, 2]
    assert greedy(compute_s, upload_s, 7.4).tolist() == [0, 1]
    assert greedy(compute_s, upload_s, 2.4).tolist() == []


def test_fedcs_greedy_is_the_papers_rule_step_by_step() -> None:
    """Random cases: the loop of algorithm 3 as printed, with its own names."""
    generator = np.random.default_rng(2)
    for _ in range(200):
        t_ud, t_ul = generator.exponential(size=(2, 6))
        t_round = float(generator.uniform(0.5, 6.0))
        remaining, selected, theta = set(range(6)), set(), 0.0
        while remaining:
            x = max(remaining, key=lambda k: 1.0 / (t_ul[k] + max(0.0, t_ud[k] - theta)))
            remaining.remove(x)
            theta_new = theta + t_ul[x] + max(0.0, t_ud[x] - theta)
            if theta_new < t_round:
                theta = theta_new
                selected.add(x)
        assert greedy(t_ud, t_ul, t_round).tolist() == sorted(selected)


def test_fedcs_with_own_bands_takes_everyone_who_is_quick_enough() -> None:
    observation = look(gain=problem(6).devices.gain * np.array([1.0, 0.01, 1.0, 1.0, 0.01, 1.0]))
    world, planned = observation.problem, observation.plan.devices
    devices, radio = world.devices, world.radio
    compute_s = compute_time(planned.batch, devices.cycles_per_sample, planned.frequency_hz)
    upload_s = upload_time(
        radio.uplink_bits, devices.bandwidth_hz, planned.power_w, observation.gain, radio.noise_psd_w_hz
    )
    own_s = compute_s + upload_s
    middle_s = float(np.median(own_s))
    choice = FedCS(deadline_s=middle_s).choose(observation, EVERYONE)
    assert choice.devices.tolist() == np.flatnonzero(own_s <= middle_s).tolist()
    assert choice.deadline_s == middle_s
    alone = FedCS(deadline_s=0.5 * float(own_s.min())).choose(observation, EVERYONE)
    assert alone.devices.tolist() == [int(np.argmin(own_s))]
    assert FedCS().choose(look(), EVERYONE).devices.tolist() == EVERYONE.tolist()  # the plan's round, as planned
    in_turn = FedCS(uploads="in-turn", deadline_s=middle_s).choose(observation, EVERYONE)
    assert in_turn.devices.tolist() == greedy(compute_s, upload_s, middle_s).tolist()
    assert near(frequencies(FedCS(share=0.5), look()), np.full(6, 0.5))


def test_power_of_choice_takes_the_worst_off_of_those_drawn() -> None:
    """Its distribution against the sum over all ordered draws without replacement."""
    world = problem(6)
    share = np.array([0.05, 0.3, 0.15, 0.25, 0.1, 0.15])
    world = replace(world, devices=replace(world.devices, weight=share))
    loss = np.array([2.0, 0.5, 1.0, 0.7, 3.0, 0.1])
    known = facts(world.devices.gain, loss=loss)
    expected = np.zeros(6)
    for order in permutations(range(6), 3):
        probability, left = 1.0, 1.0
        for device in order:
            probability *= share[device] / left
            left -= share[device]
        expected[sorted(order, key=lambda k: -loss[k])[:2]] += probability
    rule = PowerOfChoice(count=2, drawn=3)
    assert near(frequencies(rule, seen(world, plan(world), known)), expected)
    assert rule.choose(seen(world, plan(world), known), EVERYONE).weight == pytest.approx([0.5, 0.5])
    unheard = facts(world.devices.gain, loss=np.where(loss == 0.1, np.nan, loss))
    everyone = PowerOfChoice(count=2, drawn=6).choose(seen(world, plan(world), unheard), EVERYONE)
    assert everyone.devices.tolist() == [4, 5]  # who never reported, and the worst off


def oort_seen(number: int = 20) -> Observation:
    """Before round ``number``; device 5 has never reported."""
    observation = look(finetune_rounds_done=number - 1)
    planned_s = planned_round_s(observation)
    nan = math.nan
    known = facts(
        observation.gain,
        rms_loss=np.array([1.0, 2.0, 0.5, 0.8, 1.5, nan]),
        duration_s=np.array([0.5, 2.0, 0.9, 0.7, 1.0, nan]) * planned_s,
        last_round=np.array([19.0, 10.0, 1.0, 5.0, 18.0, 0.0]),
    )
    return replace(observation, facts=known)


def test_oorts_utility_is_equation_1_with_its_uncertainty() -> None:
    """|B| = 1 in units of the mean device: the shares are equal. Device 1 took twice as long as preferred."""
    expected = [
        1.0 + math.sqrt(0.1 * math.log(20) / 19),
        (2.0 + math.sqrt(0.1 * math.log(20) / 10)) * 0.5**2,
        0.5 + math.sqrt(0.1 * math.log(20) / 1),
        0.8 + math.sqrt(0.1 * math.log(20) / 5),
        1.5 + math.sqrt(0.1 * math.log(20) / 18),
    ]
    utility = Oort(clip=1.0).utility(oort_seen())
    assert utility[:5] == pytest.approx(expected, rel=1e-12)
    assert math.isnan(utility[5])
    world = problem(6)
    share = np.array([0.3, 0.1, 0.1, 0.1, 0.2, 0.2])
    uneven = replace(oort_seen(), problem=replace(world, devices=replace(world.devices, weight=share)))
    assert Oort(clip=1.0).utility(uneven)[0] == pytest.approx(6 * 0.3 * 1.0 + expected[0] - 1.0)
    clipped = Oort(clip=0.5).utility(oort_seen())
    assert clipped[4] == pytest.approx(1.0 + expected[4] - 1.5)


def test_oort_draws_by_utility_above_its_cutoff_and_explores_by_speed() -> None:
    """Of two, none explored: the second-best utility is 1.1 (device 3 or 0), so only those near it or above."""
    observation = oort_seen()
    utility = Oort(clip=1.0).utility(observation)[:5]
    least = 0.8 * np.sort(utility)[-2]
    above = np.flatnonzero(utility >= least)
    expected = np.zeros(6)
    for first, second in permutations(above, 2):
        left = utility[above].sum()
        probability = utility[first] / left * utility[second] / (left - utility[first])
        expected[[first, second]] += probability
    rule = Oort(count=2, explore=0.0, explore_least=0.0, cutoff=0.8, clip=1.0)
    assert 2 < len(above) < 5
    assert near(frequencies(rule, observation), expected)
    exploring = Oort(count=2, explore=0.5, explore_decay=1.0)
    assert all(5 in exploring.choose(replace(observation, seed=s), EVERYONE).devices for s in range(20))
    nothing_known = look()
    planned = nothing_known.plan.devices
    cycles = nothing_known.problem.devices.cycles_per_sample
    speed = 1.0 / (compute_time(planned.batch, cycles, planned.frequency_hz) + planned.upload_s)
    assert near(frequencies(Oort(count=1), nothing_known), speed / speed.sum())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandomK(count=0), r"policies.\*.selection_parameters.count: must be a whole number, at least 1"),
        (lambda: RandomK(**_any(unbiased=1)), "unbiased: must be true or false, not 1"),
        (lambda: BestChannel(trust=2.0), "trust: must be between 0 and 1"),
        (lambda: FedCS(**_any(uploads="both")), "uploads: must be one of in-turn, at-once"),
        (lambda: FedCS(deadline_s=-1.0), "deadline_s: must be at least 0"),
        (lambda: PowerOfChoice(count=5, drawn=4), "drawn: must be a whole number, at least 5"),
        (lambda: Oort(cutoff=1.5), "cutoff: must be between 0 and 1"),
        (lambda: Oort(penalty=math.inf), "penalty: must be a finite number"),
    ],
)
def test_parameters_out_of_range_are_one_line(make: Callable[[], Selection], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


def test_priced_probabilities_are_the_least_noise_for_their_cost() -> None:
    """Against a general solver: least sum of (rho g)^2 / p + price sum of p c, the sum of p given; and the limits."""
    generator = np.random.default_rng(2)
    for count in (1, 2, 4):
        value, cost = generator.uniform(0.1, 3.0, 6), generator.uniform(0.5, 4.0, 6)
        found = filled(value / np.sqrt(cost), count)
        assert found.sum() == pytest.approx(count)
        inner = found < 1.0
        price = (value**2 / (cost * found**2))[inner]  # the same for all that are not certain: stationarity
        assert price == pytest.approx(np.full(inner.sum(), price[0]))
        assert np.all((value**2 / cost)[~inner] >= price[0] * (1.0 - 1e-12))
    assert filled(np.array([1.0, 1.0, 100.0]), 2).tolist() == [0.5, 0.5, 1.0]
    assert filled(np.array([3.0, 1.0]), 2).tolist() == [1.0, 1.0]


def test_priced_draws_have_their_probabilities_and_an_unbiased_step() -> None:
    world = problem(6)
    share = np.array([0.05, 0.3, 0.15, 0.25, 0.1, 0.15])
    world = replace(world, devices=replace(world.devices, weight=share))
    known = facts(world.devices.gain, rms_loss=np.array([1.0, 2.0, np.nan, 0.5, 3.0, 1.5]))
    observation = seen(world, plan(world), facts=known)
    rule, gradient = Priced(count=3), np.array([3.0, -1.0, 4.0, 1.0, -5.0, 9.0])
    hits, sums = np.zeros(6), []
    for run_seed in range(DRAWS):
        choice = rule.choose(replace(observation, seed=run_seed), EVERYONE)
        assert len(choice.devices) == 3
        assert choice.weight is not None
        hits[choice.devices] += 1.0
        sums.append(choice.weight @ gradient[choice.devices])
        probability = share[choice.devices] / choice.weight
        assert np.all((probability > 0.0) & (probability <= 1.0 + 1e-12))
    assert abs(np.mean(sums) - share @ gradient) <= Z * np.std(sums) / math.sqrt(DRAWS)
    assert hits.sum() == 3 * DRAWS
    dear = replace(observation, gain=observation.gain * np.array([1.0, 1.0, 1.0, 1.0, 1e-6, 1.0]))
    cheap_hits = frequencies(rule, observation)[4]
    assert frequencies(rule, dear)[4] < cheap_hits - 0.05
    assert rule.choose(observation, np.array([2])).devices.tolist() == [2]


@pytest.mark.parametrize("start", [0.0, 0.3, 0.999999])
def test_systematic_draws_are_as_many_as_the_sum(start: float) -> None:
    generator = np.random.default_rng(1)
    for _ in range(50):
        probability = filled(generator.uniform(0.0, 1.0, 9) ** 4, 4)
        drawn = systematic(probability, start)
        assert len(set(drawn.tolist())) == 4
        assert drawn.max() < 9
