"""A rule on top of any plan: planned for those chosen, carried out by them alone, the same in the same run."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from prefine.emulator.bound import device_round, predict
from prefine.emulator.errors import InputError
from prefine.emulator.experiment.job import Job, execute
from prefine.emulator.plugins import POLICY, make_policy, part
from prefine.emulator.records import RunResult
from prefine.emulator.scenario.paths import policies_from
from prefine.emulator.scenario.source import read_source
from prefine.emulator.simulation import run
from prefine.emulator.simulation.control import Adapt
from prefine.emulator.types import IntArray, Observation, Plan, Problem, Rehearse
from prefine.policies.baselines import Uniform
from prefine.policies.joint import Joint, JointFinetune
from prefine.policies.online import JointOnline
from prefine.policies.selection.base import Choice, Selected, Selection, narrowed
from prefine.policies.selection.fedcs import FedCS
from prefine.policies.selection.scheduling import BestChannel, RandomK, RoundRobin
from tests.emulator.scenario.small import SMALL
from tests.emulator.simulation.worlds import run_spec
from tests.policies.instances import load, with_pretraining
from tests.policies.seen import seen


@dataclass(frozen=True, kw_only=True)
class Fixed(Selection):
    """Always the same devices."""

    devices: tuple[int, ...] = (0, 2)
    deadline_s: float = np.inf

    def choose(self, observation: Observation, candidates: IntArray) -> Choice:
        return Choice(np.array(self.devices), deadline_s=self.deadline_s)


PROBLEM = with_pretraining(load("both-stages"))


def test_a_round_is_the_one_joint_online_plans_where_there_are_no_others() -> None:
    """The others are taken out of the problem by hand, the weights of those left scaled to one."""
    plan, index = JointFinetune().plan(PROBLEM), np.array([0, 2])
    observation = seen(PROBLEM, plan)
    decision = Selected(JointFinetune(), Fixed()).adapt(observation)
    few = PROBLEM.devices.at(index)
    alone = replace(PROBLEM, devices=replace(few, weight=few.weight / few.weight.sum()))
    narrow = narrowed(observation, Choice(index))
    expected = JointOnline().adapt(seen(alone, narrow.plan))
    assert decision.participants is not None
    assert np.flatnonzero(decision.participants).tolist() == [0, 2]
    assert decision.weight is None
    for name in ("batch", "frequency_hz", "power_w", "upload_s"):
        assert getattr(decision.devices, name)[index] == pytest.approx(getattr(expected.devices, name), rel=1e-12)
        others = np.setdiff1d(np.arange(len(PROBLEM.devices)), index)
        assert np.array_equal(getattr(decision.devices, name)[others], getattr(plan.devices, name)[others])
    assert np.array_equal(Selected(JointOnline(), Fixed()).adapt(observation).devices.batch, decision.devices.batch)


@pytest.mark.parametrize("inner", [Joint(), JointFinetune(), Uniform(batch=4)])
@pytest.mark.parametrize("replan", [True, False])
def test_on_a_static_channel_rounds_cost_what_they_were_decided_to_and_fill_the_budgets(
    inner: Joint | JointFinetune | Uniform, replan: bool
) -> None:
    """Each round's delay is `device_round` of those chosen to 1e-9, and one of the budgets is used."""
    policy = Selected(inner, RoundRobin(count=3, replan=replan))
    plan, decided = policy.plan(PROBLEM), []

    class Noting(Selected):
        def adapt(self, observation: Observation) -> object:  # type: ignore[override]
            decided.append(super().adapt(observation))
            return decided[-1]

    spec = run_spec(PROBLEM, plan, controller=Adapt("p", Noting(inner, policy.selection)))  # type: ignore[arg-type]
    result = run.run(spec, "p", 0)
    rounds = [record for record in result.rounds if record.stage == "finetune"]
    finetuning = [each for each in decided if each.stage == "finetune"]
    assert len(rounds) == len(finetuning) > 3
    for record, decision in zip(rounds, finetuning, strict=True):
        index = np.flatnonzero(np.asarray(decision.participants))
        chosen = decision.devices.at(index)
        cost = device_round(PROBLEM.devices.at(index), PROBLEM.radio, chosen)
        assert record.end_s - record.start_s == pytest.approx(cost.delay_s, rel=1e-9)
        assert record.energy_j == pytest.approx(cost.energy_j, rel=1e-9)
        assert record.participants == 3
    used = max(result.run.delay_s / PROBLEM.budget.delay_s, result.run.energy_j / PROBLEM.budget.energy_j)
    assert 0.85 < used <= 1.0 + 1e-9
    assert result.run.stop_reason == "policy"


def test_with_everyone_chosen_it_is_joint_online() -> None:
    """Where the plan's own bound is not used as the first guess, the level is the same fixed point to its tolerance."""
    plan = JointFinetune().plan(PROBLEM)
    chosen = Selected(JointFinetune(), RandomK(count=1000)).adapt(seen(PROBLEM, plan)).devices
    online = JointOnline().adapt(seen(PROBLEM, plan)).devices
    assert np.max(np.abs(chosen.batch - online.batch)) <= 1.0
    assert chosen.power_w == pytest.approx(online.power_w, rel=0.05)


def test_a_round_that_would_miss_the_deadline_is_the_plans_own() -> None:
    plan = Uniform(batch=1).plan(PROBLEM)
    observation = seen(PROBLEM, plan)
    decision = Selected(Uniform(batch=1), Fixed(deadline_s=1e-9)).adapt(observation)
    assert np.array_equal(decision.devices.batch, plan.devices.batch)
    freely = Selected(Uniform(batch=1), Fixed()).adapt(observation)
    assert not np.array_equal(freely.devices.batch, plan.devices.batch)


def test_where_nobody_can_be_chosen_it_waits_for_whoever_comes() -> None:
    plan = JointFinetune().plan(PROBLEM)
    nobody = seen(PROBLEM, plan, available=np.zeros(len(PROBLEM.devices)))
    for replan in (True, False):
        decision = Selected(JointFinetune(), BestChannel(replan=replan)).adapt(nobody)
        assert (decision.stage, decision.participants) == ("finetune", None)


def test_a_policy_that_rehearses_still_does() -> None:
    class Rehearsing(JointFinetune):
        rehearses = True

        def plan(self, problem: Problem, rehearse: Rehearse) -> Plan:  # type: ignore[override]
            heard.append(rehearse)
            return super().plan(problem)

    def asked(*_: object, **__: object) -> None: ...

    heard: list[object] = []
    policy = Selected(Rehearsing(), FedCS())
    assert policy.rehearses
    assert predict(PROBLEM, policy.plan(PROBLEM, asked)) == predict(PROBLEM, JointFinetune().plan(PROBLEM))
    assert heard == [asked]
    assert not Selected(Uniform(), FedCS(replan=False)).uses_constants
    assert Selected(Uniform(), FedCS()).uses_constants


FADING = SMALL.replace('"static"', '"block"\nblock_s = 0.1').replace("count = 3", "count = 5")
KEYS = '[policies.joint-ft]\nselection = "{rule}"\nselection_parameters = {{ {parameters} }}\n'


def emulate(rule: str, parameters: str = "count = 2", seed: int = 0) -> RunResult:
    source = read_source(FADING + KEYS.format(rule=rule, parameters=parameters))
    return execute(Job(source, part(POLICY, "joint-ft"), seed))


@pytest.mark.parametrize("rule", ["random-k", "power-of-choice", "oort"])
def test_the_same_run_draws_the_same_devices_and_learns_from_two(rule: str) -> None:
    first, again, other = emulate(rule), emulate(rule), emulate(rule, seed=1)
    assert first == again
    chosen = [[(r.round, r.device) for r in each.devices] for each in (first, other)]
    assert chosen[0] != chosen[1]
    assert {record.participants for record in first.rounds if record.stage == "finetune"} == {2}
    assert "rounds without some devices" in first.run.outside_proof
    assert first.run.overrun_delay_s == first.run.overrun_energy_j == 0.0


def test_a_rule_of_the_users_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "from dataclasses import dataclass\n"
        "from prefine.policies.selection.base import Choice, Selection\n"
        "@dataclass(frozen=True, kw_only=True)\n"
        "class First(Selection):\n"
        "    number: int = 1\n"
        "    def choose(self, observation, candidates):\n"
        "        return Choice(candidates[: self.number])\n"
    )
    result = emulate(f"{path}:First", "number = 1")
    assert {record.device for record in result.devices} == {0}
    source = read_source(FADING + KEYS.format(rule=f"{path}:First", parameters="number = 1"))
    before = Job(source, part(POLICY, "joint-ft"), 0).content()
    path.write_text(path.read_text() + "# edited\n")
    assert Job(source, part(POLICY, "joint-ft"), 0).content() != before


def test_a_rule_in_a_file_is_looked_for_from_the_scenarios_folder(tmp_path: Path) -> None:
    tree = {"policies": {"joint-ft": {"selection": "mine.py:Mine"}, "joint": {"selection": "oort"}}}
    assert policies_from(tree, tmp_path) == {
        "policies": {"joint-ft": {"selection": f"{tmp_path}/mine.py:Mine"}, "joint": {"selection": "oort"}}
    }


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"selection": "best"}, "selection 'best' is unknown, allowed: best-channel, fedcs"),
        ({"selection": 3}, "policies.joint-ft.selection: must be the name of a selection rule"),
        ({"selection_parameters": {}}, "policies.joint-ft.selection: must be the name of a selection rule"),
        (
            {"selection": "oort", "selection_parameters": {"cont": 3}},
            "policies.joint-ft.selection_parameters.cont: unknown key",
        ),
        (
            {"selection": "oort", "selection_parameters": 3},
            "policies.joint-ft.selection_parameters: must be a table, not 3",
        ),
        ({"selecton": "oort"}, "policies.joint-ft.selecton: unknown key"),
    ],
)
def test_what_is_asked_for_wrongly_is_one_line(parameters: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_policy("joint-ft", parameters)
