"""What each objective promises by itself: closed forms, a linear program, and brute force over small grids."""

import math
from dataclasses import dataclass, field, replace
from itertools import pairwise, product

import numpy as np
import pytest
from scipy.optimize import linprog

from prefine.emulator.bound import BoundTerms, RoundCost
from prefine.emulator.types import Budget
from prefine.policies.objectives.all_rounds import AllRounds
from prefine.policies.objectives.base import Objective, Prices, Trial, imbalance
from prefine.policies.objectives.counting import (
    FinetuneRound,
    bent_rounds,
    best_alone,
    finetune_counts,
    real_rounds_beside,
    steps,
)
from prefine.policies.objectives.fine_tuned import FineTuned
from prefine.policies.objectives.given_share import GivenShare
from prefine.policies.objectives.settling import SettlingFineTuned
from prefine.policies.subproblems import ServerRound, Stages
from tests.policies.instances import load, with_pretraining

OBJECTIVES = (AllRounds(), GivenShare(0.3), FineTuned(), SettlingFineTuned())
COUNTING = "prefine.policies.objectives.counting.MOST_COUNTS"


def _stages(objective: Objective, name: str = "both-stages") -> Stages:
    problem = with_pretraining(load(name), 0.03, 0.6)
    noise = 3.0 if isinstance(objective, SettlingFineTuned) else None
    return Stages(replace(problem, learning=replace(problem.learning, pretrain_noise=noise)))


def _trial(stages: Stages, objective: Objective, log_odds: float) -> Trial:
    prices = objective.prices(stages, log_odds)
    devices = stages.devices.solve(prices.ratio, prices.energy)
    return Trial(log_odds, prices, objective.server(stages, prices), devices)


def _slope(stages: Stages, objective: Objective, log_odds: float, step: float = 1e-4) -> float:
    """Of the lower bound in the log-odds, by differences."""
    low, high = (objective.lower_bound(stages, _trial(stages, objective, log_odds + by)) for by in (-step, step))
    return (high - low) / (2.0 * step)


def _second_a_sample(samples_a_round: tuple[float, float] = (1.0, 100.0), **constants: float) -> Stages:
    """A server that works on one sample a second on next to no energy."""
    problem = load("pretrain-only")
    server = replace(
        problem.server,
        cycles_per_sample=1e6,
        capacitance=1e-30,
        min_frequency_hz=0.0,
        max_frequency_hz=1e6,
        min_batch=samples_a_round[0],
        max_batch=samples_a_round[1],
        gradient_variance=constants.pop("variance", 8.0),
    )
    learning = replace(problem.learning, learning_rate=0.5, smoothness=2.0, **constants)
    return Stages(replace(problem, server=server, learning=learning))


def test_prices_and_imbalance_by_hand() -> None:
    budget = Budget(4.0, 10.0)
    prices = Prices.of(math.log(3.0), budget, 8.0)  # theta = 3 / 4
    assert (prices.delay, prices.energy) == pytest.approx((1.5, 0.2), rel=1e-12)
    assert prices.ratio == pytest.approx(7.5, rel=1e-12)
    assert imbalance(RoundCost(1.0, 5.0), budget) == pytest.approx(math.log(0.5 / 0.25), rel=1e-12)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_numerator_is_the_value_times_the_rounds_that_count(objective: Objective) -> None:
    terms = _stages(objective).terms
    for rounds in ((3, 5), (0, 4), (7, 1)):
        value = objective.value(terms, float(rounds[0]), float(rounds[1]), 8.0, 0.7)
        numerator = objective.numerator(terms, rounds, 8.0, 0.7)
        assert numerator == pytest.approx(value * objective.counted(*rounds), rel=1e-12)
    start = terms.start if objective.name == "bound" else terms.removable + terms.floor
    assert objective.numerator(terms, (0, 0), 8.0, 0.7) == pytest.approx(start, rel=1e-12)
    assert objective.counted(3.0, 5.0) == (8.0 if objective.name == "bound" else 5.0)


@pytest.mark.parametrize("objective", [*OBJECTIVES, GivenShare(0.8)])
@pytest.mark.parametrize("name", ["both-stages", "tight"])
def test_the_residual_changes_sign_where_the_lower_bound_is_largest(objective: Objective, name: str) -> None:
    stages, signs = _stages(objective, name), set()
    for log_odds in np.linspace(-6.0, 6.0, 14).tolist():
        slope, trial = _slope(stages, objective, log_odds), _trial(stages, objective, log_odds)
        if abs(slope) > 1e-5 * objective.lower_bound(stages, trial):
            assert objective.residual(stages, trial) * slope < 0.0
            signs.add(slope > 0.0)
    assert signs == {True, False}


def test_tangents_of_both_stages_meet_at_the_crossing() -> None:
    objective = AllRounds()
    stages = _stages(objective)
    trials = [_trial(stages, objective, log_odds) for log_odds in np.linspace(-6.0, 6.0, 12).tolist()]
    crossings = 0
    for low, high in pairwise(trials):
        crossing = objective.crossing(stages, low, high)
        first, second = (objective.finetuning_decides(stages, trial) for trial in (low, high))
        assert (crossing is None) == (first == second)
        if crossing is not None:
            met = [
                objective.lower_bound(stages, trial)
                + _slope(stages, objective, trial.log_odds) * (crossing - trial.log_odds)
                for trial in (low, high)
            ]
            assert met[0] == pytest.approx(met[1], rel=1e-7)
            crossings += 1
    assert crossings > 0
    assert FineTuned().crossing(stages, trials[0], trials[-1]) is None


def test_the_rounds_of_phi_solve_a_linear_program() -> None:
    """Per round (Charnes and Cooper): n + m = 1 and y = 1 / (N + M). One stage, the other, and both are among these."""
    objective, generator, kinds = AllRounds(), np.random.default_rng(0), set()
    stages = _stages(objective)
    budget, terms, trial = stages.problem.budget, stages.terms, _trial(stages, objective, 0.0)
    for case in range(80):
        (server_s, device_s), (server_j, device_j) = np.exp(generator.uniform(-4.0, 0.5, (2, 2))).tolist()
        if case % 10 == 0:
            device_s, device_j = 2.0 * server_s, 2.0 * server_j
        server_cost = RoundCost(server_s * budget.delay_s, server_j * budget.energy_j)
        cost = RoundCost(device_s * budget.delay_s, device_j * budget.energy_j)
        batch, noise = trial.server.plan.batch, float(generator.uniform(0.0, 2.0)) * terms.server_noise
        changed = replace(
            trial,
            server=ServerRound(trial.server.plan, server_cost, trial.server.noise),
            devices=replace(trial.devices, cost=cost, noise=noise),
        )
        pretraining, finetuning = objective.rounds(stages, changed)
        assert pretraining * server_s + finetuning * device_s <= 1.0 + 1e-12
        assert pretraining * server_j + finetuning * device_j <= 1.0 + 1e-12
        assert min(pretraining, finetuning) >= 0.0
        program = linprog(
            [terms.shift + terms.server_noise / batch, noise, terms.start],
            A_ub=[[server_s, device_s, -1.0], [server_j, device_j, -1.0]],
            b_ub=[0.0, 0.0],
            A_eq=[[1.0, 1.0, 0.0]],
            b_eq=[1.0],
        )
        assert terms.bound(pretraining, finetuning, batch, noise) == pytest.approx(program.fun, rel=1e-6)
        kinds.add((pretraining > 0.0, finetuning > 0.0))
    assert kinds == {(True, True), (True, False), (False, True)}


def test_what_pretraining_leaves_is_shared_by_the_finetuning_rounds() -> None:
    """Budgets for N rounds of the server and 0.5, 0.25, none or fewer than no rounds of the devices."""
    objective = FineTuned()
    stages = _stages(objective)
    trial = _trial(stages, objective, 0.0)
    pretraining, server, devices = objective.rounds(stages, trial)[0], trial.server.cost, trial.devices.cost
    assert pretraining > 1.0
    for by_delay, by_energy, residual in (
        (0.5, 0.25, math.log(2.0)), (0.25, 4.0, -math.log(16.0)), (30.0, 20.0, math.log(1.5)),
        (0.0, 1.0, -math.inf), (-0.5, 1.0, -math.inf), (1.0, 0.0, math.inf), (1.0, -0.5, math.inf),
    ):  # fmt: skip
        budget = Budget(
            pretraining * server.delay_s + by_delay * devices.delay_s,
            pretraining * server.energy_j + by_energy * devices.energy_j,
        )
        left = Stages(replace(stages.problem, budget=budget))
        assert objective.residual(left, trial) == pytest.approx(residual, rel=1e-9)
        rounds = pretraining, max(0.0, min(by_delay, by_energy))
        assert objective.rounds(left, trial) == pytest.approx(rounds, rel=1e-9)


@dataclass(frozen=True)
class _Counted(FineTuned):
    """Counts the prices it asks the server about."""

    asked: list[Prices] = field(default_factory=list)

    def server(self, stages: Stages, prices: Prices) -> ServerRound:
        """See `Objective`."""
        self.asked.append(prices)
        return super().server(stages, prices)


def test_prices_of_phi_ft_are_the_largest_at_which_pretraining_pays() -> None:
    """Their sum s over both budgets is C + the least of B exp(-a N) + N h0'(s) over a grid of N; found in few steps."""
    for name, floor in product(("both-stages", "tight", "base"), (0.05, 0.6)):
        stages = Stages(with_pretraining(load(name), 0.03, floor))
        terms, budget, rounds = stages.terms, stages.problem.budget, np.linspace(0.0, 600.0, 60001)
        for log_odds in (-6.0, 0.0, 2.0):
            objective = _Counted()
            prices = objective.prices(stages, log_odds)
            price = stages.server.respond(prices.ratio, prices.energy).price(prices.delay, prices.energy)
            total = prices.delay * budget.delay_s + prices.energy * budget.energy_j
            least = float(np.min(terms.removable * np.exp(-terms.contraction * rounds) + rounds * price))
            assert total == pytest.approx(terms.floor + least, rel=1e-7)
            assert len(objective.asked) <= 10


def test_steps_are_all_that_are_one_away() -> None:
    """One round of a stage, or one exchanged; or a sample of the server; the server's only where it has rounds."""
    for n, m in ((3, 4), (1, 1), (1, 0)):
        near = set()
        for by_n, by_m, by_b in product((-1, 0, 1), repeat=3):
            rounds_move = by_b == 0 and (by_n, by_m) not in {(0, 0), (1, 1), (-1, -1)}
            if rounds_move or (by_b != 0 and by_n == by_m == 0):
                near.add((n + by_n, m + by_m, 8.0 + by_b))
        assert sorted(steps(n, m, 8.0)) == sorted(near)
    assert sorted(steps(0, 4, 8.0)) == [(0, 3, 8.0), (0, 5, 8.0)]


def test_every_number_of_finetuning_rounds_that_fits_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    budget, cost = Budget(9.5, 100.0), RoundCost(1.0, 1.0)
    assert finetune_counts(budget, cost).tolist() == list(range(10))
    assert finetune_counts(Budget(100.0, 3.0), cost).tolist() == [0, 1, 2, 3]
    assert finetune_counts(Budget(0.9, 1.0), cost).tolist() == [0]
    monkeypatch.setattr(COUNTING, 5)
    assert finetune_counts(budget, cost).tolist() == [0, 2, 4, 7, 9]
    assert finetune_counts(Budget(4.9, 9.0), cost).tolist() == [0, 1, 2, 3, 4]
    assert finetune_counts(Budget(5.0, 9.0), cost).tolist() == [0, 1, 2, 3, 5]


def test_finetuning_that_overdraws_a_budget_leaves_no_server_round() -> None:
    server, cost = _second_a_sample().problem.server, RoundCost(1.0, 1.0)
    for budget in (Budget(9.5, 99.0), Budget(99.0, 9.5), Budget(10.0, 10.0)):
        assert real_rounds_beside(np.array([10.0]), server, budget, np.array([[2.0]]), cost).tolist() == [[0.0]]
    left = real_rounds_beside(np.array([4.0, 9.0]), server, Budget(10.0, 99.0), np.array([[1.0], [2.0]]), cost)
    assert left == pytest.approx(np.array([[6.0, 1.0], [3.0, 0.5]]))


def _terms(start: float, shift: float, server_noise: float, relief: float, rate: float) -> BoundTerms:
    nothing = (math.nan,) * 3
    return BoundTerms(start, shift, server_noise, np.zeros(1), *nothing, relief=relief, relief_rate=rate)


def test_rounds_of_a_shift_that_bends_solve_their_equation() -> None:
    """The docstring's equation to 12 digits, and no N of a fine grid gives less."""
    counts, batches = np.array([0.0, 1.0, 5.0, 40.0]), np.array([[4.0], [9.0]])
    grid = np.concatenate([[0.0], np.geomspace(1e-4, 1e5, 3000)])
    kinds = set()
    for start, relief, rate, noise in product((1e-3, 3.0, 40.0), (2.0, 40.0), (0.01, 1.0), (0.05, 3.0, 30.0)):
        terms = _terms(start, 2.0, 6.0, relief, rate)
        found = bent_rounds(terms, counts, batches, noise)
        for (row, column), rounds in np.ndenumerate(found):
            m, batch = float(counts[column]), float(batches[row, 0])
            wanted = (relief - start + m * (2.0 + 6.0 / batch - noise)) / relief
            least = float(np.min(terms.bound(grid, m, batch, noise)))
            kinds.add((0.0 < float(rounds) < np.inf, bool(wanted <= 0.0)))
            if rounds == np.inf:
                assert wanted <= 0.0
            elif rounds > 0.0:
                x = rate * float(rounds)
                assert np.exp(-x) * (1.0 + rate * m + x) == pytest.approx(wanted, rel=1e-12)
            if rounds < np.inf:
                assert terms.bound(float(rounds), m, batch, noise) <= least * (1.0 + 1e-12)
    assert kinds == {(True, False), (False, True), (False, False)}


@pytest.mark.parametrize("most_listed", [0, 20_000])
def test_the_best_server_rounds_alone_against_brute_force(monkeypatch: pytest.MonkeyPatch, most_listed: int) -> None:
    """Every (N, b0) with N b0 <= S; all batches listed, and only those up to the root of S with their partners."""
    monkeypatch.setattr(COUNTING, most_listed)
    rounds, batch = np.arange(1.0, 80.0)[:, np.newaxis], np.arange(1.0, 80.0)
    for (least, most), variance, gap, bend in product(
        ((1.0, 100.0), (2.5, 7.5), (3.0, 5.0), (64.0, 64.0)), (2.0, 20.0, 300.0), (0.05, 5.0), (0.0, 0.2, 1.0)
    ):
        stages = _second_a_sample(
            (least, most), variance=variance, initial_gap=gap,
            discrepancy=2.0, discrepancy_relief=2.0, discrepancy_rate=bend,
        )  # fmt: skip
        value = stages.terms.bound(rounds, 0.0, batch, 0.0)
        for samples, most_rounds in product((1, 2, 3, 12, 36, 64), (np.inf, 0.0, 1.0, 2.0)):
            fits = (rounds * batch <= samples) & (rounds <= most_rounds) & (least <= batch) & (batch <= most)
            expected = float(np.min(value, where=fits, initial=np.inf))
            found = best_alone(stages.terms, stages.problem.server, Budget(samples + 1e-6, 1e9), most_rounds)
            assert found.value == pytest.approx(expected, rel=1e-12)
            if expected < np.inf:
                n, b = found.pretrain_rounds, found.server_batch
                assert fits[n - 1, b - 1]
                assert found.finetune_rounds == 0
                assert value[n - 1, b - 1] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 0.75, 0.9, 1.0])
def test_a_given_share_against_brute_force(share: float) -> None:
    """Every total, with rounds of the devices that take 1 s and 1 J, some using budgets up to the last digit."""
    objective, finetuning = GivenShare(share), FinetuneRound(RoundCost(1.0, 1.0), 0.5)
    for (delay_s, energy_j), shift, gap in product(
        ((5.0, 99.0), (99.0, 5.0), (5.0, 5.0), (40.5, 30.5), (1.0, 1.0), (1.6, 1.6), (0.5, 0.5)),
        (0.01, 50.0),
        (0.05, 20.0),
    ):
        stages, budget = _second_a_sample(discrepancy=shift, initial_gap=gap), Budget(delay_s, energy_j)
        expected, alone = np.inf, np.inf
        for batch, total in product((1.0, 2.0), range(1, 200)):
            n = round(share * total)
            m = total - n
            left_s, left_j = delay_s - m, energy_j - m
            value = float(stages.terms.bound(float(n), float(m), batch, 0.5))
            if left_s >= 0.0 and left_j >= 0.0 and (n == 0 or (left_j > 0.0 and n * batch <= left_s * (1.0 + 1e-12))):
                expected = min(expected, value)
        for batch, n in product(range(1, 100), range(1, 100)):
            if round(share * n) == n and n * batch <= delay_s:
                alone = min(alone, float(stages.terms.bound(float(n), 0.0, float(batch), 0.0)))
        counts = objective.best_counts(stages, budget, np.array([1.0, 2.0]), finetuning)
        assert counts.value == pytest.approx(expected, rel=1e-12)
        if expected < np.inf:
            rounds = float(counts.pretrain_rounds), float(counts.finetune_rounds)
            assert stages.terms.bound(*rounds, counts.server_batch, 0.5) == pytest.approx(expected, rel=1e-12)
        assert objective.alone(stages, budget).value == pytest.approx(alone, rel=1e-12)


def test_more_totals_than_are_listed_are_evenly_spaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """From one round, the best where pre-training hurts, to all that fit, the best where any round helps."""
    monkeypatch.setattr("prefine.policies.objectives.given_share.MOST_COUNTS", 4)
    budget, finetuning = Budget(40.0, 40.0), FinetuneRound(RoundCost(1.0, 1.0), 0.5)
    one = GivenShare(0.3).best_counts(_second_a_sample(discrepancy=1e6), budget, np.array([1.0]), finetuning)
    assert (one.pretrain_rounds, one.finetune_rounds) == (0, 1)
    many = GivenShare(0.0).best_counts(_second_a_sample(), budget, np.array([1.0]), finetuning)
    assert many.finetune_rounds == 27  # of 1, 14, 27 and 41, which does not fit


def test_neighbours_and_real_rounds_keep_the_share() -> None:
    stages = _stages(AllRounds())
    for share in (0.0, 0.3, 1.0):
        objective = GivenShare(share)
        trial, budget = _trial(stages, objective, 0.0), stages.problem.budget
        n, m = objective.rounds(stages, trial)
        used = [n * getattr(trial.server.cost, key) + m * getattr(trial.devices.cost, key) for key in RoundCost._fields]
        assert n == pytest.approx(share * (n + m), rel=1e-12)
        assert max(used[0] / budget.delay_s, used[1] / budget.energy_j) == pytest.approx(1.0, rel=1e-12)
    assert sorted(GivenShare(0.3).neighbours(3, 7, 8.0)) == [(3, 6, 8.0), (3, 7, 7.0), (3, 7, 9.0), (3, 8, 8.0)]
    assert sorted(GivenShare(0.0).neighbours(0, 7, 8.0)) == [(0, 6, 8.0), (0, 8, 8.0)]
    assert [GivenShare(share).finetunes for share in (0.0, 0.5, 1.0)] == [True, True, False]
