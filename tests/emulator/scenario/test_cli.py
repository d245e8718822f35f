"""The command line as a user meets it: in a process of its own."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import typer
from rich.text import Text

import prefine as prefine_package
from prefine.emulator.cli import app
from prefine.emulator.problem_file import dump_problem
from prefine.emulator.scenario.source import bundled
from tests.emulator.scenario.small import SMALL
from tests.emulator.scenario.test_world import world

PLUGIN = """
import numpy as np
from prefine.emulator.types import DevicesPlan, Plan, RoundDecision, ServerPlan

class Mine:
    def plan(self, problem):
        d = problem.devices
        each = DevicesPlan(np.full(len(d), 8.0), d.max_frequency_hz, d.max_power_w, np.ones(len(d)))
        return Plan(2, 3, ServerPlan(16.0, 1e9), each)

class Stops(Mine):
    def adapt(self, seen):
        stage = "finetune" if seen.finetune_rounds_done < 1 else "stop"
        return RoundDecision(stage, seen.plan.server, seen.plan.devices)

class Broken(Mine):
    def adapt(self, seen):
        return seen.nothing

class Impatient(Mine):
    def adapt(self, seen):
        raise KeyboardInterrupt

class NoPlan:
    def plan(self, problem):
        return 7
"""


def prefine(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    code = "import sys; from prefine.emulator.cli import main; sys.argv[0] = 'prefine'; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=folder, capture_output=True, text=True, timeout=240, check=False
    )


def first_seed(out: Path) -> dict[str, Any]:
    """The runs of seed 0, by policy."""
    runs = pd.read_csv(out / "runs.csv")
    rows: list[dict[str, Any]] = runs[runs["seed"] == 0].to_dict("records")  # type: ignore[assignment]  # string keys
    return {row["policy"]: row for row in rows}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "small.toml").write_text(SMALL)
    (tmp_path / "mine.py").write_text(PLUGIN)
    return tmp_path


def test_compare_writes_what_the_contract_names(folder: Path) -> None:
    done = prefine("compare", "small.toml", "--out", "here", folder=folder)
    assert done.returncode == 0, done.stderr
    assert "joint-ft" in done.stdout
    assert "report.html" in done.stdout
    names = {path.name for path in (folder / "here").iterdir()}
    assert names >= {"runs.csv", "rounds.csv", "devices.csv", "comparison.csv", "manifest.json", "report.html"}
    runs = pd.read_csv(folder / "here" / "runs.csv")
    assert len(runs) == 6
    assert set(runs["status"]) == {"done"}
    rounds = pd.read_csv(folder / "here" / "rounds.csv")
    totals = rounds.groupby("run_id").size().reindex(runs["run_id"]).to_numpy()
    assert (totals == runs["pretrain_rounds"] + runs["finetune_rounds"]).all()


def test_same_bytes_for_any_number_of_jobs(folder: Path) -> None:
    for out, jobs in (("one", "1"), ("two", "2")):
        done = prefine(
            "compare",
            "small.toml",
            "--jobs",
            jobs,
            "--out",
            out,
            "-q",
            "--policies",
            "joint,uniform",
            "--set",
            "channel.model=rayleigh",
            folder=folder,
        )
        assert done.returncode == 0, done.stderr
    for name in ("runs.csv", "rounds.csv", "devices.csv", "comparison.csv"):
        assert (folder / "two" / name).read_bytes() == (folder / "one" / name).read_bytes()


def test_plan_as_json_of_a_problem_file(folder: Path) -> None:
    (folder / "problem.json").write_text(dump_problem(world().problem))
    done = prefine("plan", "--problem", "problem.json", "--policy", "joint", "--json", folder=folder)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["policy"] == "joint"
    assert document["predicted"]["delay_s"] <= 4.0
    assert document["predicted"]["energy_j"] <= 30.0
    assert document["relaxed"]["gap"] <= 1e-6
    bounds = document["relaxed"]["lower_bound"], document["integer_lower_bound"], document["predicted"]["bound"]
    assert list(bounds) == sorted(bounds)


def test_plan_for_people(folder: Path) -> None:
    done = prefine("plan", "small.toml", folder=folder)
    assert done.returncode == 0, done.stderr
    assert "certificate" in done.stdout
    assert "no plan of whole numbers is below" in " ".join(done.stdout.split())


def test_own_policies_from_a_file(folder: Path) -> None:
    done = prefine("compare", "small.toml", "--policies", "mine.py:Mine,mine.py:Stops", "--out", "own", folder=folder)
    assert done.returncode == 0, done.stderr
    runs = first_seed(folder / "own")
    assert [runs["Mine"]["pretrain_rounds"], runs["Mine"]["finetune_rounds"]] == [2, 3]
    assert [runs["Stops"]["pretrain_rounds"], runs["Stops"]["finetune_rounds"]] == [0, 1]


def test_a_policy_that_fails_in_a_run_is_a_row_with_its_reason(folder: Path) -> None:
    done = prefine("compare", "small.toml", "--policies", "mine.py:Mine,mine.py:Broken", "--out", "own", folder=folder)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    runs = first_seed(folder / "own")
    assert runs["Mine"]["status"] == "done"
    assert runs["Broken"]["status"] == "failed"
    assert "policy mine.py:Broken: raised AttributeError" in runs["Broken"]["stop_reason"]


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["compare", "small.toml", "--policies", "nonsense"], 2, "nonsense"),
        (["compare", "small.toml", "--set", "budget.delay_s=1e-6"], 2, "needs at least"),
        (["compare", "small.toml", "--set", "channel.model=trace", "--set", "channel.trace=no.csv"], 2, "no.csv"),
        (["run", "small.toml", "--policy", "mine.py:NoPlan"], 1, "not a Plan"),
        (["run", "small.toml", "--policy", "mine.py:Nobody"], 2, "has no Nobody"),
        (["validate", "nowhere.toml"], 2, "nowhere.toml"),
        (["plan", "--problem", "nowhere.json"], 2, "nowhere.json"),
        (["sweep", "small.toml", "--vary", "budget.nothing=1,2"], 2, "prefine: --vary budget.nothing: unknown key"),
        (["report", "nowhere"], 2, "nowhere"),
        (["new", "small.toml"], 2, "exists already"),
    ],
)
def test_wrong_input_is_one_line_and_a_status(folder: Path, arguments: list[str], status: int, said: str) -> None:
    done = prefine(*arguments, folder=folder)
    assert done.returncode == status
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr


def test_ctrl_c_and_going_on_say_how_many_runs_are_kept(folder: Path) -> None:
    command = ["compare", "small.toml", "--policies", "mine.py:Mine,mine.py:Impatient", "--out", "here"]
    stopped = prefine(*command, folder=folder)
    assert stopped.returncode == 130
    assert stopped.stderr == (
        "prefine: interrupted; 2 of 4 runs are kept in here, the same command goes on from there\n"
    )
    (folder / "mine.py").write_text(PLUGIN.replace("raise KeyboardInterrupt", "return Stops().adapt(seen)"))
    prefine("compare", "small.toml", "--policies", "mine.py:Mine,mine.py:Impatient", "--out", "here", folder=folder)
    again = prefine(*command, folder=folder)
    assert again.returncode == 0, again.stderr
    assert "4 of 4 runs are there already" in again.stdout
    fewer = prefine(*command[:2], "--policies", "mine.py:Mine", "--out", "here", "-q", folder=folder)
    assert "here: its tables had Impatient too and now have Mine alone" in fewer.stderr


def _commands(command: Any, name: str = "") -> dict[str, Any]:
    """Every command below ``command``, by its name."""
    below = getattr(command, "commands", {})
    found = {} if below else {name.strip(): command}
    for word, each in below.items():
        found |= _commands(each, f"{name} {word}")
    return found


def test_help_shows_what_is_written_in_brackets() -> None:
    """Rich takes ``[default: out/NAME]`` for markup unless it is escaped."""
    helps = {}
    for name, command in _commands(typer.main.get_command(app)).items():
        for option in (each for each in command.params if each.help):
            helps[f"{name} {option.name}"] = Text.from_markup(option.help).plain
            assert helps[f"{name} {option.name}"] == option.help.replace("\\[", "[")
    assert helps["compare out"] == "Output folder [default: out/NAME]."
    assert helps["run out"] == "Output folder [default: out/NAME-run]."
    assert helps["trace convert out"] == "Canonical CSV [default: the screen]."
    assert "Any key of [channel], such as speed_m_s=20." in helps.values()


def test_every_command_is_a_function_or_said_to_be_none() -> None:
    page = (Path(__file__).parents[3] / "docs" / "tutorial.md").read_text(encoding="utf-8").partition("## Scenarios")[0]
    for name in _commands(typer.main.get_command(app)):
        assert name.rpartition(" ")[2].replace("-", "_") in re.findall(r"\w+", page.replace("-", "_")), name
    for function in set(prefine_package.__all__) - {"Solution", "Tables"}:
        assert function.endswith("Error") or f"`{function}" in page, function


def test_the_shell_completes_scenarios(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_PREFINE_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "prefine compare s")
    monkeypatch.setenv("COMP_CWORD", "2")
    assert prefine(folder=folder).stdout.split() == ["selection", "small.toml", "stragglers"]


def test_examples_name_scenarios_that_exist() -> None:
    examples = [each.epilog for each in app.registered_commands if each.epilog]
    assert len(examples) >= 4
    for example in examples:
        for named in re.findall(r"prefine (?:compare|run|sweep|plan) (?!--)(\S+)", example):
            assert named in bundled()


def test_new_validate_policies_scenarios(folder: Path) -> None:
    assert prefine("new", "mine.toml", folder=folder).returncode == 0
    assert "[budget]" in (folder / "mine.toml").read_text()
    valid = prefine("validate", "small.toml", "--set", "learning.discrepancy=estimate", folder=folder)
    assert valid.returncode == 0
    assert "in order" in valid.stdout
    assert valid.stdout.count("not measured (--measure)") == 1
    assert "files" in prefine("cache", folder=folder).stdout
    assert "joint-ft" in prefine("policies", folder=folder).stdout
    assert "default" in prefine("scenarios", folder=folder).stdout
