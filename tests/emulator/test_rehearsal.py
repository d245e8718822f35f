"""Rehearsals on the clock: what is trained is what a run would train; decisions are made once."""

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from prefine.emulator import api
from prefine.emulator.analysis.reading import read_table
from prefine.emulator.channel.base import Channel
from prefine.emulator.charge import NO_CHARGE
from prefine.emulator.errors import InputError, PolicyError
from prefine.emulator.rehearsal import Rehearser
from prefine.emulator.scenario.source import read_source
from prefine.emulator.simulation.control import FollowPlan
from prefine.emulator.simulation.run import run
from prefine.emulator.simulation.spec import RunSpec
from prefine.emulator.terminal.plans import show_plan
from prefine.emulator.types import (
    Evaluation,
    FloatArray,
    Fold,
    IntArray,
    Learner,
    Plan,
    Problem,
    Rehearse,
    Schedule,
    Validation,
)
from prefine.emulator.world import World
from prefine.models.objective import Batch
from prefine.models.workload import Workload
from prefine.policies.baselines import Uniform
from tests.emulator.scenario.small import SMALL

QUICK = "policies.joint-rehearsed.effort=60"
DROPOUT = ("faults.dropout.mean_up_s=1.0", "faults.dropout.mean_down_s=1.0")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache of this module's tests."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _undecided(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Data stay in the cache from test to test, decisions do not."""
    monkeypatch.setenv("PREFINE_CACHE", str(folder))
    _forget(folder)


def _forget(folder: Path) -> None:
    for kept in folder.glob("rehearsal-*"):
        kept.unlink()


def _world(*overrides: str) -> World:
    return read_source(SMALL, overrides).world()


class Heard:
    """A workload that remembers what it was asked to rehearse and trains nothing."""

    def __init__(self, world: World) -> None:
        self._inner = world.workload
        self.asked: list[tuple[Schedule, Fold, int]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def rehearse(
        self, schedules: Sequence[Schedule], fold: Fold, seed: int, learning_rate: float
    ) -> tuple[list[Validation], int]:
        self.asked += [(schedule, fold, seed) for schedule in schedules]
        return [Validation(1.0, 0.5)] * len(schedules), 3


class Noted:
    """A learner that notes its rounds."""

    def __init__(self) -> None:
        self.pretrained: list[int] = []
        self.told: list[object] = []

    def pretrain(self, batch: int) -> None:
        self.pretrained.append(batch)

    def finetune(self, batches: IntArray, weights: FloatArray) -> None:
        self.told.append(("finetune", batches.tobytes(), weights.tobytes()))

    def hand_out(self, devices: IntArray) -> None:
        self.told.append(("hand_out", devices.tobytes()))

    def receive(self, device: int, batch: int) -> None:
        self.told.append(("receive", device, batch))

    def merge(self, weights: FloatArray, by: str) -> None:
        self.told.append(("merge", weights.tobytes(), by))

    def evaluate(self) -> Evaluation:
        return Evaluation(1.0, 0.5, 1.0)


def _spec(world: World, plan: Plan, seed: int, channel: Channel, learner: Learner) -> RunSpec:
    return world._spec(plan, FollowPlan(plan), seed, channel, learner, NO_CHARGE)


def _rehearser(world: World, heard: Heard) -> Rehearser:
    inner: Any = heard
    spec = partial(_spec, world)
    return Rehearser("mine", world.problem, inner, world.learning_rate, world.scenario.seed, world.channel, spec)


WORLDS = {
    "static": (),
    "rayleigh": ("channel.model=rayleigh",),
    "dropout": DROPOUT,
    "tdma": ("radio.access=tdma",),
    "half": ("training.participation=0.5",),
    "first": ("aggregation.mode=semi-synchronous", "aggregation.buffer=2"),
    "asynchronous": ("aggregation.mode=asynchronous", "aggregation.buffer=2"),
    "target": ("radio.power_control=target", "channel.model=rayleigh"),
}


@pytest.mark.parametrize("overrides", WORLDS.values(), ids=WORLDS)
def test_what_is_rehearsed_is_what_a_run_does(overrides: tuple[str, ...]) -> None:
    world = _world(*overrides)
    heard = Heard(world)
    plan = Uniform(batch=8).plan(world.problem)
    more = replace(plan, pretrain_rounds=2 * plan.pretrain_rounds, server=replace(plan.server, batch=4.0))
    greedy = replace(plan, pretrain_rounds=10_000)  # ends with the budget
    seen = _rehearser(world, heard)([plan, more, greedy], range(2), folds=3)
    assert seen.loss.shape == seen.score.shape == (3, 2)
    assert seen.rounds == 6
    assert [fold for _, fold, _ in heard.asked] == [Fold(number, 3, "task") for number in (0, 0, 0, 1, 1, 1)]
    for asked, (schedule, _, seed) in zip([plan, more, greedy] * 2, heard.asked, strict=True):
        learner = Noted()
        run(_spec(world, asked, seed, world.channel(seed), learner), "mine", seed)
        assert learner.pretrained == [schedule.server_batch] * schedule.pretrain_rounds
        assert learner.told == [
            (method, *(each.tobytes() if isinstance(each, np.ndarray) else each for each in arguments))
            for method, arguments in schedule.finetuning
        ]
    assert min(seed for _, _, seed in heard.asked) >= 2**32  # no run counts so far


def test_seeds_are_the_worlds_own() -> None:
    drawn = []
    for overrides in ((), ("seed=1",)):
        world = _world(*overrides)
        heard = Heard(world)
        _rehearser(world, heard)([Uniform().plan(world.problem)], range(5))
        drawn.append([seed for _, _, seed in heard.asked])
    assert len({*drawn[0], *drawn[1]}) == 10


def test_a_wrong_question_names_the_policy() -> None:
    world = _world()
    plan = Uniform().plan(world.problem)
    rehearse = _rehearser(world, Heard(world))
    with pytest.raises(PolicyError, match=r"policy mine: server\.batch"):
        rehearse([replace(plan, server=replace(plan.server, batch=0.5))], [0])
    for wrong in ({"folds": 1}, {"on": "test"}):
        with pytest.raises(PolicyError, match=r"policy mine: rehearse\("):
            rehearse([plan], [0], **wrong)


class _Untouchable:
    def __getattr__(self, name: str) -> object:
        raise AssertionError(f"the test samples were asked for {name}")


@pytest.mark.parametrize("on", ["task", "general"])
def test_test_samples_are_never_touched(monkeypatch: pytest.MonkeyPatch, on: str) -> None:
    world = _world(QUICK, f"policies.joint-rehearsed.on={on}")
    untouchable: Batch = _Untouchable()  # type: ignore[assignment]  # it stands in for the test samples
    workload: Any = world.workload
    monkeypatch.setattr(workload, "_federation", replace(workload._federation, test=untouchable))
    plan = world.plan("joint-rehearsed", world.policy("joint-rehearsed"))
    assert plan.rehearsal is not None
    assert plan.rehearsal.on == on
    with pytest.raises(AssertionError, match="the test samples were asked for"):
        world.workload.learner(0, 0.1).evaluate()  # the trap works


def test_a_decision_is_made_once_and_damage_makes_it_anew(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = api.plan(SMALL, "joint-rehearsed", overrides=[QUICK]).plan
    (kept,) = folder.glob("rehearsal-*")
    rehearse = Workload.rehearse
    monkeypatch.setattr(Workload, "rehearse", lambda *_: pytest.fail("it had decided already"))
    again = api.plan(SMALL, "joint-rehearsed", overrides=[QUICK, "name=other"]).plan
    assert _same(first, again)
    assert first.rehearsal is not None
    assert again.rehearsal == first.rehearsal
    monkeypatch.setattr(Workload, "rehearse", rehearse)
    kept.write_bytes(kept.read_bytes()[:100])
    anew = api.plan(SMALL, "joint-rehearsed", overrides=[QUICK]).plan
    assert _same(first, anew)
    assert anew.rehearsal == replace(first.rehearsal, processor_s=anew.rehearsal.processor_s)  # type: ignore[union-attr]


def _same(one: Plan, other: Plan) -> bool:
    columns = ("batch", "frequency_hz", "power_w", "upload_s")
    counts = [(plan.pretrain_rounds, plan.finetune_rounds, plan.server) for plan in (one, other)]
    return counts[0] == counts[1] and all(
        np.array_equal(getattr(one.devices, name), getattr(other.devices, name)) for name in columns
    )


def test_a_comparison_is_the_same_for_any_number_of_jobs(folder: Path, tmp_path: Path) -> None:
    tables = {}
    for jobs in (1, 2):
        out = tmp_path / str(jobs)
        api.compare(SMALL, ["joint-rehearsed", "uniform"], overrides=[QUICK], seeds=2, out=out, jobs=jobs)
        tables[jobs] = {path.name: path.read_bytes() for path in out.glob("*.csv")}
        _forget(folder)
    assert tables[1] == tables[2]
    rows = pd.read_csv(tmp_path / "1" / "rehearsals.csv")
    drawn = read_table(tmp_path / "1" / "figures", "rehearsals")
    pd.testing.assert_frame_equal(drawn, read_table(tmp_path / "1", "rehearsals"))
    assert "What was rehearsed before the plan was made" in (tmp_path / "1" / "report.html").read_text()
    assert set(rows["policy"]) == {"joint-rehearsed"}
    runs = pd.read_csv(tmp_path / "1" / "runs.csv").set_index("policy").loc["joint-rehearsed"]
    assert rows["pretrain_rounds"][0] == runs["planned_pretrain_rounds"].iloc[0]
    assert rows["finetune_rounds"][0] == runs["planned_finetune_rounds"].iloc[0]
    api.compare(SMALL, ["uniform"], seeds=1, out=tmp_path / "1")
    assert not (tmp_path / "1" / "rehearsals.csv").exists()  # that of the last comparison would mislead


def test_the_table_is_shown_and_written() -> None:
    solution = api.plan(SMALL, "joint-rehearsed", overrides=[QUICK])
    console = Console(record=True, width=160)
    show_plan(solution, console)
    shown = console.export_text()
    assert "Rehearsed, the chosen one first" in shown
    assert "the devices' task samples, seen centrally" in shown
    document = json.loads(json.dumps(solution.document(), allow_nan=False))["rehearsal"]
    table = solution.plan.rehearsal
    assert table is not None
    assert (document["on"], document["rounds"]) == ("task", table.rounds)
    assert document["candidates"][0] == table.rows[0]._asdict()
    assert sum(row.rehearsals for row in table.rows) <= 60


def test_a_problem_alone_cannot_be_rehearsed() -> None:
    problem = _world().problem
    with pytest.raises(InputError, match="policy joint-rehearsed: rehearses on data and model"):
        api.plan(policy="joint-rehearsed", problem=problem)


class Plain:
    """A workload without rehearsal."""

    def __init__(self, **parameters: Any) -> None:
        self._inner = Workload(**parameters)
        self.weights, self.cost = self._inner.weights, self._inner.cost
        self.constants, self.calibration = self._inner.constants, self._inner.calibration
        self.learner, self.provenance = self._inner.learner, self._inner.provenance


class Halved:
    """A policy from Python: the better of two plans."""

    rehearses = True

    def plan(self, problem: Problem, rehearse: Rehearse) -> Plan:
        plan = Uniform().plan(problem)
        short = replace(plan, pretrain_rounds=0, finetune_rounds=1)
        seen = rehearse([short, plan], range(4), folds=2)
        return (short, plan)[int(seen.loss.mean(axis=1).argmin())]


def test_a_workload_without_rehearsal_is_one_line() -> None:
    with pytest.raises(InputError, match="policy Halved: rehearses, but the workload Plain has no rehearse"):
        api.plan(SMALL, Halved, workload=Plain)


def test_a_policy_from_python_rehearses() -> None:
    decided = api.plan(SMALL, Halved).plan
    assert decided.pretrain_rounds > 0
    assert decided.rehearsal is None


@pytest.mark.parametrize(
    "overrides",
    [
        ("channel.model=rayleigh", "training.upload=top-k"),
        (*DROPOUT, "training.local_steps=2", "training.preset=practice"),
        ("task.partition=dirichlet", "task.model=logistic", "policies.joint-rehearsed.score=both"),
    ],
    ids=str,
)
def test_every_world_can_be_rehearsed(overrides: tuple[str, ...]) -> None:
    tables = api.compare(SMALL, ["joint-rehearsed"], overrides=[QUICK, *overrides], seeds=1)
    assert tables.runs["status"].tolist() == ["done"]
