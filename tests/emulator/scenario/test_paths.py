"""Paths in a scenario start from its folder, those given beside it from the working directory."""

from pathlib import Path

import pytest

import prefine
from prefine.emulator.channel.tracefile import trace_of
from prefine.emulator.errors import InputError
from prefine.emulator.scenario.source import read_source
from tests.emulator.scenario.small import SMALL

FIXED = """
from prefine.emulator.types import Plan
import prefine

class Mine:
    def __init__(self, share: float = 0.5) -> None:
        self.share = share

    def plan(self, problem):
        return prefine.plan(problem=problem, policy="uniform").plan
"""

TRACE = "time_s,device,gain_db\n" + "".join(f"{t},{k},-90\n" for t in (0, 1) for k in range(3))


@pytest.fixture
def away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A scenario in ``sub/`` with a trace and a policy beside it; another trace in the working directory."""
    monkeypatch.chdir(tmp_path)
    sub = tmp_path / "sub"
    sub.mkdir()
    (sub / "mine.py").write_text(FIXED)
    (sub / "there.csv").write_text(TRACE)
    (tmp_path / "here.csv").write_text(TRACE.replace("-90", "-87"))
    text = SMALL.replace('model = "static"', 'model = "trace"\ntrace = "there.csv"')
    text = text.replace('policies = ["joint", "joint-ft", "uniform"]', 'policies = ["mine.py:Mine", "uniform"]')
    (sub / "s.toml").write_text(text + '[policies."mine.py:Mine"]\nshare = 0.25\n')
    return Path("sub/s.toml")


def gain(source_overrides: list[str], path: Path) -> float:
    source = read_source(path, source_overrides)
    trace = source.scenario.channel.trace
    assert trace is not None
    return float(source.files.parsed(trace, trace_of).gain_db[0][0])


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], -90),
        (["channel.trace=here.csv"], -87),
        (["channel.trace=sub/there.csv"], -90),
        (["channel={model='trace', trace='here.csv'}"], -87),
    ],
)
def test_an_override_starts_from_the_working_directory(away: Path, overrides: list[str], expected: float) -> None:
    assert gain(overrides, away) == expected


def test_a_missing_file_of_an_override_is_named_as_it_was_looked_for(away: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.csv"):
        prefine.validate(away, overrides=["channel.trace=nowhere.csv"])


def test_policies_of_a_scenario_lie_in_its_folder_with_their_parameters(away: Path) -> None:
    prefine.validate(away)
    tables = prefine.compare(away, seeds=1)
    assert list(tables.runs["policy"]) == ["Mine", "uniform"]
    assert set(tables.runs["status"]) == {"done"}
    given = prefine.compare(away, ["sub/mine.py:Mine"], seeds=1)
    assert list(given.runs["status"]) == ["done"]


def test_parameters_of_an_own_policy_can_be_set_beside_the_scenario(away: Path) -> None:
    where = 'policies."sub/mine.py:Mine"'
    given = prefine.compare(away, ["sub/mine.py:Mine"], seeds=1, overrides=[f"{where}.share=0.5"])
    assert list(given.runs["status"]) == ["done"]
    with pytest.raises(InputError, match=r"share_of: unknown key; allowed: share"):
        prefine.plan(away, "sub/mine.py:Mine", overrides=[f"{where}.share_of=0.5"])


@pytest.mark.parametrize("name", ["Mine", "unifrom"])
def test_parameters_of_a_policy_that_there_is_not_are_refused(away: Path, name: str) -> None:
    """A policy of the user's own goes by its file here, not by the name that tables show."""
    overrides = {f"policies.{name}.share": 0.5}
    line = rf"policies\.{name}: policy '{name}' is unknown, allowed: sub/mine\.py:Mine, .*uniform"
    with pytest.raises(InputError, match=line):
        prefine.plan(away, "sub/mine.py:Mine", overrides=overrides)
    with pytest.raises(InputError, match=line):
        prefine.compare(away, ["sub/mine.py:Mine"], seeds=1, overrides=overrides)
