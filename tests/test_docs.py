"""The documentation runs, and its keys are those of the scenario file."""

import re
import runpy
import shlex
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from textwrap import dedent
from typing import Any, get_args

import matplotlib as mpl
import pytest
from pydantic import BaseModel

import prefine
from prefine.emulator.cli import command
from prefine.emulator.scenario.scenario import Scenario
from prefine.emulator.section import DecibelRange, Range, Section
from prefine.emulator.terminal.ending import status_of
from prefine.emulator.types import Budget, Devices, Learning, Problem, Radio, Server

ROOT = Path(__file__).parent.parent
NOTEBOOKS = [path for path in sorted((ROOT / "examples").glob("*.py")) if path.read_text().startswith("# %%")]


def _commands(page: str) -> list[str]:
    """The ``prefine`` lines of the page's ``sh`` blocks."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.startswith("prefine ")]


MEASURED = {
    "smoothness": 5.0,
    "initial_gap": 2.3,
    "discrepancy": 0.4,
    "server_variance": 10.0,
    "device_variance": 8.0,
    "pretrain_contraction": 0.02,
    "pretrain_floor": 1.0,
}
"""Constants of about the size of those measured: measuring takes longer than all else, and has tests of its own."""

TASKS = ("my-policy", "my-trace", "plan-only", "publish")


@pytest.mark.parametrize("page", ["README.md", *(f"docs/{task}.md" for task in TASKS)])
def test_every_command_on_the_page_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In order, in one folder with the files that the page shows: later commands use what earlier ones wrote."""
    commands = _commands(page)
    assert commands
    monkeypatch.chdir(tmp_path)
    text = (ROOT / page).read_text(encoding="utf-8")
    for name, content in re.findall(r'```\w+ title="(\S+)"\n(.*?)```', text, flags=re.DOTALL):
        (tmp_path / name).write_text(content, encoding="utf-8")
    for line in commands:
        is_shown = page == "README.md" and line == commands[0]
        monkeypatch.setattr(sys, "argv", [*shlex.split(line), *([] if is_shown else _quicker(line))])
        assert status_of(command) == 0, line
    if page == "README.md":
        _check_readme(text, tmp_path / "out" / "readme")


def _quicker(line: str) -> list[str]:
    """Options that spare what the command does more than once, or only first of all."""
    seeds = ["--seeds", "1"] if "--seeds" in line else []
    given = MEASURED if line.startswith("prefine sweep both-stages ") else {}
    return seeds + [word for key, value in given.items() for word in ("--set", f"learning.{key}={value}")]


def _check_readme(text: str, out: Path) -> None:
    """Its table and its picture are what its first command makes."""
    assert (out / "report.html").is_file()
    shown, made = _table(text), _table((out / "comparison.md").read_text())
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
            notebook = ROOT / target.replace(".md", ".py")  # the site makes a page of it
            assert (page.parent / target).exists() or notebook.is_file(), f"{page.name} links to {target}"


def test_every_page_is_in_the_sites_navigation() -> None:
    menu = re.findall(
        r"^ +- (?:.*: )?(\S+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").glob("**/*.md")}
    notebooks = {f"examples/{path.stem}.md" for path in NOTEBOOKS}
    assert sorted(menu) == sorted({"index.md", "CONTRIBUTING.md", "CHANGELOG.md"} | pages | notebooks)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_run(notebook: Path) -> None:
    """From top to bottom: every run is done, and there are figures."""
    from matplotlib import pyplot

    mpl.use("agg")
    names = runpy.run_path(str(notebook))
    compared = [each for each in names.values() if isinstance(each, prefine.Tables)]
    assert compared
    for tables in compared:
        assert (tables.runs["status"] == "done").all()
        assert "<table>" in tables._repr_html_()
    drawn = len(pyplot.get_fignums())
    pyplot.close("all")
    assert drawn or notebook.stem == "own_policy"


def test_the_examples_of_contributing_are_parts_that_run(tmp_path: Path) -> None:
    """The policy is without fault, the rule of selection runs; the algorithm, FedProx, has a test of its own."""
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    policy, rule, algorithm = re.findall(r"^    from dataclasses .*?(?=^\S)", page, flags=re.DOTALL | re.MULTILINE)
    (tmp_path / "policy.py").write_text(dedent(policy), encoding="utf-8")
    (tmp_path / "rule.py").write_text(dedent(rule), encoding="utf-8")
    assert prefine.check_policy(f"{tmp_path}/policy.py:Mine") == []
    chosen = {"selection": f"{tmp_path}/rule.py:Frugal", "selection_parameters": {"count": 2}}
    runs = prefine.run("both-stages", "uniform", overrides={"policies.uniform": chosen, "learning": MEASURED}).runs
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
