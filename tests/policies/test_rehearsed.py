"""The rehearsed design against scores that are known: it finds the best, spends no more than it may, and says so."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from prefine.emulator.bound import BoundTerms, predict
from prefine.emulator.errors import InfeasibleError, InputError
from prefine.emulator.types import Audience, Budget, Plan, Problem, Rehearsal
from prefine.policies.baselines import FinetuneOnly
from prefine.policies.lattice import Lattice
from prefine.policies.rehearsed import JointRehearsed
from prefine.policies.smoothing import Scores
from tests.policies.instances import load, with_pretraining

NAME = "both-stages"


class Oracle:
    """Scores plans by a known function, with noise that is partly the seed's and partly the plan's own."""

    def __init__(self, worth: Callable[[Plan], float], noise: float = 0.02) -> None:
        self._worth, self._noise = worth, noise
        self.asked: list[tuple[int, tuple[int, ...]]] = []

    def __call__(
        self, plans: Sequence[Plan], seeds: Sequence[int], *, folds: int = 5, on: Audience = "task"
    ) -> Rehearsal:
        self.asked.append((len(plans), tuple(seeds)))
        score = np.empty((len(plans), len(seeds)))
        for column, seed in enumerate(seeds):
            shared = np.random.default_rng(seed).normal(0.0, 5.0 * self._noise)
            for row, plan in enumerate(plans):
                own = np.random.default_rng([seed, plan.pretrain_rounds, plan.finetune_rounds, int(plan.server.batch)])
                score[row, column] = self._worth(plan) + shared + own.normal(0.0, self._noise)
        return Rehearsal(1.0 - score, score, 1)


def _hill(plan: Plan) -> float:
    """Best at 40 rounds of 32 samples."""
    rounds, batch = np.log2(1.0 + plan.pretrain_rounds), np.log2(plan.server.batch)
    return float(0.8 - 0.02 * (rounds - np.log2(41.0)) ** 2 - 0.004 * (batch - 5.0) ** 2)


@pytest.fixture(scope="module")
def problem() -> Problem:
    return with_pretraining(load(NAME))


@pytest.mark.parametrize(("score", "effort"), [("accuracy", 600), ("loss", 200), ("both", 200)])
def test_it_climbs_a_hill_within_its_effort(problem: Problem, score: str, effort: int) -> None:
    oracle = Oracle(_hill)
    plan = JointRehearsed(effort=effort, score=score).plan(problem, oracle)  # type: ignore[arg-type]  # a parameter
    assert plan.rehearsal is not None
    spent = sum(plans * len(seeds) for plans, seeds in oracle.asked)
    assert spent == sum(row.rehearsals for row in plan.rehearsal.rows) <= effort
    assert {row.rehearsals % 5 for row in plan.rehearsal.rows} == {0}  # whole rotations
    best = max(_hill(plan) for plan in _plans(problem))
    assert _hill(plan) > best - (0.02 if effort == 200 else 0.01)
    first = plan.rehearsal.rows[0]
    assert (first.pretrain_rounds, first.finetune_rounds) == (plan.pretrain_rounds, plan.finetune_rounds)
    assert first.rehearsals == max(row.rehearsals for row in plan.rehearsal.rows)


def _plans(problem: Problem) -> list[Plan]:
    family = Lattice(problem)
    found = [family.plan(rounds, batch) for rounds in (20, 30, 40, 60) for batch in (16, 32, 64)]
    return [plan for plan in found if plan is not None]


def test_the_same_question_has_the_same_answer(problem: Problem) -> None:
    first, again = (JointRehearsed(effort=50).plan(problem, Oracle(_hill)) for _ in range(2))
    assert first.rehearsal == again.rehearsal
    assert np.array_equal(first.devices.batch, again.devices.batch)


def test_diverged_plans_lose_and_do_not_drown_the_others(problem: Problem) -> None:
    plan = JointRehearsed(effort=100).plan(
        problem, Oracle(lambda one: np.nan if one.pretrain_rounds > 60 else _hill(one))
    )
    assert plan.pretrain_rounds <= 60
    assert _hill(plan) > 0.75
    nothing = JointRehearsed(effort=50, score="loss").plan(problem, Oracle(lambda one: np.nan))
    assert nothing.rehearsal is not None


def test_wrong_parameters_and_scarce_budgets_are_one_line(problem: Problem) -> None:
    with pytest.raises(InputError, match=r"policies\.joint-rehearsed\.score: must be one of accuracy, loss, both"):
        JointRehearsed(score="auc")  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(InputError, match=r"policies\.joint-rehearsed\.effort: .* at least 50"):
        JointRehearsed(effort=49)
    with pytest.raises(InfeasibleError, match="too small"):
        JointRehearsed().plan(replace(problem, budget=Budget(1e-9, 1e-9)), Oracle(_hill))


def test_without_a_link_the_server_rehearses_alone(problem: Problem) -> None:
    gain = problem.devices.gain.copy()
    gain[0] = 0.0
    apart = replace(problem, devices=replace(problem.devices, gain=gain))
    plan = JointRehearsed(effort=50).plan(apart, Oracle(_hill))
    assert plan.finetune_rounds == 0 < plan.pretrain_rounds


def test_the_familys_rest_is_the_exact_design(problem: Problem) -> None:
    family = Lattice(problem)
    plan, exact = family.plan(0, 32), FinetuneOnly().plan(problem)
    assert plan is not None
    assert _noise_only(problem, plan) <= 1.01 * _noise_only(problem, exact)
    for rounds, batch in ((10, 64), (40, 16), (80, 32)):
        one, eager = family.plan(rounds, batch), family.plan(rounds, batch, 0.1)
        assert one is not None
        assert eager is not None
        for plan in (one, eager):
            seen = predict(problem, plan)
            assert (plan.pretrain_rounds, plan.server.batch) == (rounds, batch)
            assert seen.delay_s <= problem.budget.delay_s
            assert seen.energy_j <= problem.budget.energy_j
        assert eager.finetune_rounds >= one.finetune_rounds
        assert eager.devices.batch.sum() <= one.devices.batch.sum()


def test_no_server_frequency_is_better_than_the_familys(problem: Problem) -> None:
    """The noise of the fine-tuning rounds and their number, over a grid of server times."""
    rounds, batch = 40, 32
    family, server = Lattice(problem), problem.server
    plan = family.plan(rounds, batch)
    assert plan is not None
    cycles = rounds * batch * server.cycles_per_sample

    values = []
    for frequency in np.geomspace(cycles / (0.8 * problem.budget.delay_s), server.max_frequency_hz, 12):
        left = problem.budget.energy_j - server.capacitance * cycles * frequency**2
        if left > 0.0:
            budget = Budget(problem.budget.delay_s - cycles / frequency, left)
            try:
                rest = FinetuneOnly().plan(replace(problem, budget=budget))
            except InfeasibleError:
                continue
            values.append(_noise_only(problem, rest))
    assert _noise_only(problem, plan) <= 1.02 * min(values)


def _noise_only(problem: Problem, plan: Plan) -> float:
    """Phi of the fine-tuning rounds of ``plan`` by themselves."""
    terms = BoundTerms.of(problem)
    return float(terms.bound(0.0, plan.finetune_rounds, 1.0, terms.round_noise(plan.devices.batch)))


def test_seeds_that_all_had_do_not_count() -> None:
    """A plan that only met the easy seeds is not the better for it."""
    seeds = np.array([0.3, 0.3, -0.3, -0.3])
    scores = Scores([seeds + 0.01, seeds, seeds[:2] - 0.05])
    assert scores.mean == pytest.approx([0.01, 0.0, -0.05], abs=1e-2)
    assert scores.mean[2] == pytest.approx(scores.mean[0] - 0.06)


def test_neighbours_speak_for_each_other(problem: Problem) -> None:
    """Of two equal scores, the one whose neighbours do well is smoothed up."""
    plans = [replace(plan, pretrain_rounds=rounds) for rounds in (10, 11, 12, 100) for plan in _plans(problem)[:1]]
    generator = np.random.default_rng(0)
    runs = [level + generator.normal(0.0, 0.03, 40) for level in (0.81, 0.80, 0.81, 0.80)]
    runs = [run - run.mean() + level for run, level in zip(runs, (0.81, 0.805, 0.81, 0.805), strict=True)]
    smoothed = Scores(runs).smoothed(plans, 5)
    assert smoothed[1] > smoothed[3]
    assert np.all(Scores(runs).half_width > 0.0)
