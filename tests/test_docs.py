"""The documentation runs, and its keys are those of the scenario file."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from textwrap import dedent
from typing import Any, get_args

import pytest
from pydantic import BaseModel

import prefine
from prefine.emulator.scenario.scenario import Scenario
from prefine.emulator.section import DecibelRange, Range, Section
from prefine.emulator.types import Budget, Devices, Learning, Problem, Radio, Server

ROOT = Path(__file__).parent.parent


def _commands(page: str) -> list[str]:
    """The ``prefine`` lines of the page's ``sh`` blocks."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.startswith("prefine ")]


@pytest.mark.parametrize("page", ["README.md"])
def test_every_command_on_the_page_runs(page: str, tmp_path: Path) -> None:
    """In order, in one folder: later commands use what earlier ones wrote."""
    commands = _commands(page)
    assert commands
    start = "import sys; from prefine.emulator.cli import main; sys.argv[0] = 'prefine'; main()"
    for command in commands:
        done = subprocess.run(
            [sys.executable, "-c", start, *shlex.split(command)[1:]],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    out = tmp_path / "out" / "readme"
    assert (out / "report.html").is_file()
    shown, made = _table((ROOT / page).read_text(encoding="utf-8")), _table((out / "comparison.md").read_text())
    assert shown.keys() == made.keys()
    for policy, (rounds, accuracy, *_) in made.items():
        assert shown[policy][0] == rounds
        assert float(shown[policy][1].split()[0]) == pytest.approx(float(accuracy.split()[0]), abs=0.05)
    picture = (out / "figures" / "test-accuracy-over-time-s.svg").read_text()
    assert len((ROOT / "docs" / "pictures" / "readme.svg").read_text()) == pytest.approx(len(picture), rel=0.2)


def _table(text: str) -> dict[str, list[str]]:
    """The cells behind each policy in the Markdown table of a comparison."""
    lines = text.partition("| policy | rounds ")[2].partition("\n\n")[0].splitlines()[2:]
    return {cells[0]: cells[1:] for cells in (line.strip("| ").split(" | ") for line in lines)}


def _parts(annotation: Any) -> Iterator[type[Section]]:
    """The sections named in the annotation of a key; a range is a value."""
    if isinstance(annotation, type) and issubclass(annotation, Section) and annotation not in (Range, DecibelRange):
        yield annotation
    for inside in get_args(annotation):
        yield from _parts(inside)


def _tables(section: type[BaseModel], name: str = "") -> Iterator[tuple[str, set[str]]]:
    """The tables a scenario can have, each with its keys: ``name`` first, then those below it."""
    below = {key: list(_parts(field.annotation)) for key, field in section.model_fields.items()}
    yield name, {key for key, parts in below.items() if not parts}
    for key, parts in below.items():
        for part in parts:
            yield from _tables(part, f"{name}.{key}".lstrip("."))


def _documented() -> Iterator[tuple[str, set[str]]]:
    """The tables of docs/scenario.md, each with the keys in the first column below its heading."""
    page = (ROOT / "docs" / "scenario.md").read_text(encoding="utf-8")
    for chapter in re.split(r"^##+ ", page, flags=re.MULTILINE):
        rows = re.findall(r"^\| (`.*?) \|", chapter, flags=re.MULTILINE)
        keys = set(re.findall(r"`(\w+)`", "".join(rows)))
        for name in re.findall(r"\[+([\w.]+)\]+", chapter.splitlines()[0]) or [""]:
            yield name, keys


def test_the_documented_keys_of_a_problem_are_its_keys() -> None:
    page = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
    chapter = page.split("## Problems: JSON")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (.*?) \| (.*?) \|", chapter, flags=re.MULTILINE)
    documented = set(re.findall(r"`(?:\w+\.)?(\w+)`", "".join(cell for row in rows for cell in row)))
    tables = (Budget, Learning, Server, Devices, Radio)
    keys = {field.name for each in (Problem, *tables) for field in fields(each)}
    assert documented == keys


def test_the_documented_keys_of_each_table_are_its_keys() -> None:
    """Those of a [[device]] are keys of [devices]; [channel] has a page and a test of its own."""
    tables: dict[str, set[str]] = {}
    for name, keys in _tables(Scenario):
        tables[name] = tables.get(name, set()) | keys
    assert tables["devices"] - tables.pop("device") == {"count", "flops_per_cycle"}
    tables[""] -= {"policies"}  # its keys are those of each policy
    documented = {name: keys for name, keys in _documented() if name not in ("device", "policies.NAME")}
    del tables["channel"], documented["channel"]
    assert documented == tables


def test_links_between_pages_lead_somewhere() -> None:
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_examples_of_contributing_are_parts_that_run(tmp_path: Path) -> None:
    """The policy is without fault, the rule of selection runs; the algorithm, FedProx, has a test of its own."""
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    policy, rule, algorithm = re.findall(r"^    from dataclasses .*?(?=^\S)", page, flags=re.DOTALL | re.MULTILINE)
    (tmp_path / "policy.py").write_text(dedent(policy), encoding="utf-8")
    (tmp_path / "rule.py").write_text(dedent(rule), encoding="utf-8")
    assert prefine.check_policy(f"{tmp_path}/policy.py:Mine") == []
    chosen = {"selection": f"{tmp_path}/rule.py:Frugal", "selection_parameters": {"count": 2}}
    runs = prefine.run("both-stages", "uniform", overrides={"policies.uniform": chosen}).runs
    assert list(runs["status"]) == ["done"]
    body = dedent(algorithm).partition("mu: float")[2].split()
    reference = (ROOT / "models" / "algorithms" / "fedprox.py").read_text(encoding="utf-8").partition("mu: float")[2]
    assert body == re.sub(r'""".*?"""', "", reference).split()


def test_the_checks_that_validation_lists_are_there() -> None:
    commands = re.findall(r"`(tests/\S+?\.py)(?:::(\w+))?` \|$", _page("validation"), flags=re.MULTILINE)
    assert len(commands) > 20
    for file, test in commands:
        assert f"\ndef {test}" in (ROOT / file).read_text(encoding="utf-8"), f"{file}::{test}"


def _page(name: str) -> str:
    return (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
