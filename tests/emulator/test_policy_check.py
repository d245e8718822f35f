"""check-policy: what is wrong with a policy, a line each, by the checks of a run; nothing to say of what is right."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

import prefine
from prefine.emulator.cli import app
from prefine.emulator.errors import InputError
from prefine.emulator.policy_check import WORLDS
from prefine.emulator.types import Budget, Observation, Plan, Problem, RoundDecision
from prefine.policies.baselines import Uniform

WRONG = """
from dataclasses import replace
import numpy as np
from prefine.policies.baselines import Uniform

class Fast(Uniform):
    def plan(self, problem):
        plan = super().plan(problem)
        return replace(plan, server=replace(plan.server, frequency_hz=1e99))

class Fails(Uniform):
    def plan(self, problem):
        return {}["no such key"]
"""


class Spends(Uniform):
    """Plans for twice the time there is."""

    def plan(self, problem: Problem) -> Plan:
        double = Budget(2.0 * problem.budget.delay_s, problem.budget.energy_j)
        return super().plan(replace(problem, budget=double))


class Dices(Uniform):
    """Another plan each time."""

    count = 0

    def plan(self, problem: Problem) -> Plan:
        Dices.count += 1
        return replace(super().plan(problem), pretrain_rounds=Dices.count)


class LateFault(Uniform):
    """A plan that is right, and rounds that are not."""

    def adapt(self, observation: Observation) -> RoundDecision:
        devices = observation.plan.devices
        return RoundDecision("finetune", observation.plan.server, replace(devices, power_w=-devices.power_w))


@pytest.mark.parametrize("name", ["joint-online"])
def test_what_is_right_has_no_faults(name: str) -> None:
    assert prefine.check_policy(name) == []


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (Spends, r"plans for .* of budget\.delay_s = .*: a run will be stopped before the plan's end$"),
        (Dices, r"plans differently for the same problem"),
        (LateFault, r"devices\.power_w\[0\] = -.*"),
    ],
)
def test_each_fault_is_a_line_that_names_policy_and_world(policy: type, said: str) -> None:
    found = prefine.check_policy(policy)
    assert found
    for line in found:
        assert "\n" not in line
        assert line.startswith(f"{policy.__name__}, world '")
        assert line.split("'")[1] in WORLDS
    assert re.search(said, found[0])


def test_on_the_command_line_faults_are_status_1(tmp_path: Path) -> None:
    path = tmp_path / "wrong.py"
    path.write_text(WRONG)
    for name, said in (("Fast", "server.frequency_hz"), ("Fails", "raised KeyError: 'no such key' in plan()")):
        result = CliRunner().invoke(app, ["check-policy", f"{path}:{name}"])
        assert result.exit_code == 1
        assert said in result.output
        assert "Traceback" not in result.output
    result = CliRunner().invoke(app, ["check-policy", "separate"])
    assert (result.exit_code, result.output) == (0, "separate: plans and runs without a fault\n")
    with pytest.raises(InputError, match="no file"):
        prefine.check_policy(f"{tmp_path}/nobody.py:Mine")
