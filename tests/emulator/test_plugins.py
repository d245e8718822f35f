"""Parts from Python: found as those with names are, in other processes too, and never taken for each other."""

import pickle
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

import prefine
from prefine.emulator.channel.base import Channel, Grid, StaticChannel
from prefine.emulator.plugins import POLICY, Part, part, policy_parts
from prefine.emulator.scenario.source import read_source
from prefine.emulator.types import FloatArray, Observation, Plan, Problem, RoundDecision
from prefine.models.workload import Workload
from prefine.policies.baselines import Uniform
from tests.emulator.scenario.small import SMALL


@dataclass(frozen=True)
class Rounds:
    """Fine-tunes ``count`` rounds."""

    count: int = 2

    def plan(self, problem: Problem) -> Plan:
        return replace(Uniform().plan(problem), pretrain_rounds=0, finetune_rounds=self.count)


class Forgetful(Rounds):
    """Counts in itself; ends each run after its second round."""

    seen = 0

    def adapt(self, observation: Observation) -> RoundDecision:
        object.__setattr__(self, "seen", self.seen + 1)
        stage = "finetune" if self.seen <= 2 else "stop"
        return RoundDecision(stage, observation.plan.server, observation.plan.devices)  # type: ignore[arg-type]


class Sampleless(Workload):
    """The scenario's own, with another name in the manifest."""

    def provenance(self) -> dict[str, str]:
        return {**super().provenance(), "data": "mine"}


class Far(StaticChannel):
    """Gains by distance, the same at all times."""

    def __init__(self, distance_m: FloatArray, seed: int) -> None:
        super().__init__(1e-6 * distance_m**-2.0)


class Halves:
    """Fading alone: half of the section's gain, always."""

    def __init__(self, distance_m: FloatArray, seed: int) -> None:
        pass

    def sample(self, device: int, grid: Grid) -> FloatArray:
        return np.full(grid.count, 0.5)


def _rounds(tables: prefine.Tables) -> dict[str, list[int]]:
    return {str(policy): group["finetune_rounds"].tolist() for policy, group in tables.runs.groupby("policy")}


def test_classes_instances_labels_and_names_side_by_side() -> None:
    tables = prefine.compare(SMALL, [Rounds, "uniform"], seeds=2)
    assert _rounds(tables)["Rounds"] == [2, 2]
    tables = prefine.compare(SMALL, {"one": Rounds(1), "three": Rounds(3)}, seeds=1, reference="three")
    assert _rounds(tables) == {"one": [1], "three": [3]}
    assert tables.reference == "three"


def test_a_text_is_one_policy_and_overrides_may_be_a_dictionary() -> None:
    sections = {"budget": {"delay_s": 4.0, "energy_j": np.float64(30.0)}, "devices": {"count": np.int64(3)}}
    constants = read_source(SMALL).scenario.learning.model_dump()
    source = prefine.read_scenario({**sections, "learning": constants, "task": {"samples": 60}}, {"budget.delay_s": 3})
    assert (source.scenario.name, source.scenario.budget.delay_s, source.scenario.device_count) == ("scenario", 3.0, 3)
    tables = prefine.run(source, "uniform", overrides=["channel.model=static"])
    assert tables.policies == ["uniform"]
    assert tables.runs["delay_s"].max() <= 3.0


def test_an_instance_is_fresh_in_every_run_here_and_in_other_processes() -> None:
    """Two runs in a row, or in two processes: what one leaves in the object is not met by the next."""
    alone = prefine.compare(SMALL, Forgetful(), seeds=2)
    assert _rounds(alone)["Forgetful"] == [2, 2]
    both = prefine.compare(SMALL, Forgetful(), seeds=2, jobs=2)
    assert both.runs.equals(alone.runs)


def test_an_object_that_cannot_be_sent_is_one_clear_line() -> None:
    mine = Rounds()
    object.__setattr__(mine, "stream", sys.stdout)
    with pytest.raises(prefine.InputError, match=r"policy Rounds: cannot be sent .*; use jobs=1"):
        prefine.compare(SMALL, mine, seeds=1, jobs=2)


def test_identity_follows_parameters_and_source_and_survives_a_process() -> None:
    one, same, other = part(POLICY, Rounds(1)), part(POLICY, Rounds(1)), part(POLICY, Rounds(2))
    assert one == same != other
    assert one.lasting
    received: Part = pickle.loads(pickle.dumps(one))  # noqa: S301  # our own bytes
    assert received == one
    assert received.given == Rounds(1)
    assert part(POLICY, Rounds) != one
    code = "from tests.emulator.test_plugins import *; print(part(POLICY, Rounds(1)).identity)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert printed.stdout.strip() == one.identity


def test_what_has_no_source_runs_but_is_not_stored(tmp_path: Path) -> None:
    typed = type("Typed", (Rounds,), {"__module__": "__console__"})  # as a notebook makes it
    mine = part(POLICY, typed())
    assert not mine.lasting
    assert mine != part(POLICY, typed())
    tables = prefine.compare(SMALL, [typed()], seeds=1, out=tmp_path)
    assert _rounds(tables) == {"Typed": [2]}
    assert list((tmp_path / "runs").glob("*.json.gz")) == []

    def local(count: int) -> type:
        class Local(Rounds):
            def plan(self, problem: Problem) -> Plan:
                return replace(super().plan(problem), finetune_rounds=count)

        return Local

    assert part(POLICY, local(1)) != part(POLICY, local(2))


def test_a_workload_from_a_file_by_name_and_from_python(tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(SMALL)
    (tmp_path / "mine.py").write_text("from tests.emulator.test_plugins import Sampleless as Mine\n")
    own = prefine.run(
        tmp_path / "small.toml", "uniform", overrides={"task.workload": f"{tmp_path}/mine.py:Mine"}
    ).manifest
    assert own["checksums"]["data"] == "mine"  # type: ignore[index]  # JSON
    given = prefine.run(SMALL, "uniform", workload=Sampleless, jobs=2).manifest
    assert given["checksums"]["data"] == "mine"  # type: ignore[index]  # JSON
    with pytest.raises(prefine.InputError, match=r"workload 'defualt' is unknown, .*did you mean 'default'"):
        prefine.run(SMALL, "uniform", overrides={"task.workload": "defualt"})


@pytest.mark.parametrize("given", [Far, Far(np.full(3, 100.0), 0)])
def test_a_channel_from_python(given: type[Channel] | Channel) -> None:
    tables = prefine.run(SMALL, "uniform", channel=given)
    assert np.allclose(tables.runs["delay_s"], tables.runs["predicted_delay_s"], rtol=1e-9)
    assert tables.runs["uplink_energy_j"].item() != prefine.run(SMALL, "uniform").runs["uplink_energy_j"].item()


def test_fading_from_python_goes_with_the_sections_large_scale_gain() -> None:
    plain = prefine.plan(SMALL, "uniform").problem.devices.gain
    halved = prefine.plan(SMALL, "uniform", channel=Halves).problem.devices.gain
    assert np.allclose(halved, 0.5 * plain, rtol=1e-9)
    with pytest.raises(prefine.InputError, match=r"^channel int: is no Channel and has no sample"):
        prefine.plan(SMALL, "uniform", channel=7)


@pytest.mark.parametrize(
    ("wanted", "line"),
    [
        ("unifrom", r"policy 'unifrom' is unknown, allowed: .*; did you mean 'uniform'\?"),
        (7, "policy 7 has no method plan, so it is no policy"),
        ([], "policies: at least one is needed"),
        (StaticChannel, "has no method plan"),
    ],
)
def test_what_is_no_policy_is_one_clear_line(wanted: object, line: str) -> None:
    with pytest.raises(prefine.InputError, match=line):
        policy_parts(wanted)


def test_two_policies_of_one_name_need_labels() -> None:
    with pytest.raises(prefine.InputError, match=r"both be named Rounds__s0: .*\{label: policy"):
        prefine.compare(SMALL, [Rounds(1), Rounds(2)], seeds=1)


def test_a_reference_that_does_not_take_part_is_refused() -> None:
    with pytest.raises(prefine.InputError, match=r"'unifrom' is unknown, allowed: uniform; did you mean 'uniform'"):
        prefine.compare(SMALL, "uniform", reference="unifrom")


MISBEHAVED = """
import sys
from prefine.policies.baselines import Uniform

class Mine(Uniform):
    def plan(self, problem):
        {body}
        return super().plan(problem)
{top}
"""


@pytest.mark.parametrize(
    ("body", "top", "reason"),
    [
        ("sys.exit(0)", "", r"^policy .*mine\.py:Mine: raised SystemExit: 0 in plan\(\)$"),
        ("raise GeneratorExit", "", r"raised GeneratorExit in plan\(\)$"),
        ("raise BaseException('a\\x1b[31m\\nb')", "", r"raised BaseException: a\\x1b\[31m b in plan\(\)$"),
        ("", "sys.exit(0)", r"mine\.py raised SystemExit: 0 when it was read$"),
        (
            "problem.devices.gain.setflags(write=True); problem.devices.gain[:] *= 2.0",
            "",
            r"plan\(\) has changed the problem it was given$",
        ),
        ("object.__setattr__(problem.budget, 'delay_s', 1e9)", "", r"has changed the problem it was given$"),
    ],
)
def test_whatever_a_policy_does_is_one_line_and_harms_no_one(body: str, top: str, reason: str, tmp_path: Path) -> None:
    own = tmp_path / "mine.py"
    own.write_text(MISBEHAVED.format(body=body or "pass", top=top))
    with pytest.raises(prefine.PrefineError, match=reason):
        prefine.plan(SMALL, f"{own}:Mine")
    if not top:
        problem = read_source(SMALL).world().problem
        before = pickle.dumps(problem)
        runs = prefine.compare(SMALL, [f"{own}:Mine", "uniform"], seeds=1).runs.set_index("policy")
        assert runs["status"].to_dict() == {"Mine": "failed", "uniform": "done"}
        assert pickle.dumps(problem) == before


def test_an_adaptive_policy_that_changes_what_it_sees_or_exits_is_a_failed_run() -> None:
    class Thief(Rounds):
        def adapt(self, observation: Observation) -> RoundDecision:
            observation.problem.devices.gain.setflags(write=True)
            observation.problem.devices.gain[:] = 1.0
            return RoundDecision("stop", observation.plan.server, observation.plan.devices)

    class Leaver(Rounds):
        def adapt(self, observation: Observation) -> RoundDecision:
            sys.exit(0)

    reasons = prefine.compare(SMALL, [Thief, Leaver, "uniform"], seeds=1).runs.set_index("policy")["stop_reason"]
    assert reasons["Thief"] == "policy Thief: adapt() has changed the observation it was given"
    assert reasons["Leaver"] == "policy Leaver: raised SystemExit: 0 in adapt()"
    assert reasons["uniform"] == "plan"
