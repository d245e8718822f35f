"""One world per scenario, each file read once, and nothing remembered is taken for what files say now."""

import pickle
from pathlib import Path

import pytest

from prefine.emulator.channel import tracefile
from prefine.emulator.channel.trace import Trace
from prefine.emulator.errors import PrefineError
from prefine.emulator.experiment.job import Job, execute
from prefine.emulator.experiment.sweep import jobs_of
from prefine.emulator.plugins import POLICY, part
from prefine.emulator.records import RunRecord
from prefine.emulator.scenario.source import Source, read_source
from tests.emulator.scenario.small import SMALL

POLICY_FILE = """
from dataclasses import dataclass, replace

from prefine.policies.baselines import Uniform


@dataclass(frozen=True)
class Mine:
    def plan(self, problem):
        return replace(Uniform().plan(problem), pretrain_rounds=0, finetune_rounds={rounds})
"""
TRACED = SMALL.replace('model = "static"', 'model = "trace"\ntrace = "walk.csv"')


def _run(scenario: Path, policy: str) -> RunRecord:
    return execute(Job(read_source(scenario), part(POLICY, policy), 0)).run


def _write_trace(folder: Path, gain_db: float) -> None:
    (folder / "walk.csv").write_text(f"time_s,device,gain_db\n0,0,{gain_db}\n")


@pytest.fixture
def traced(tmp_path: Path) -> Path:
    (tmp_path / "small.toml").write_text(TRACED)
    _write_trace(tmp_path, -90.0)
    return tmp_path / "small.toml"


def test_an_edited_policy_file_is_planned_anew(tmp_path: Path) -> None:
    scenario, policy = tmp_path / "small.toml", tmp_path / "mine.py"
    scenario.write_text(SMALL)
    seen = []
    for rounds in (1, 2):
        policy.write_text(POLICY_FILE.format(rounds=rounds))
        seen.append(_run(scenario, f"{policy}:Mine").planned_finetune_rounds)
    assert seen == [1, 2]


def test_an_edited_trace_is_replayed_anew(traced: Path) -> None:
    energies = []
    for gain_db in (-90.0, -110.0):
        _write_trace(traced.parent, gain_db)
        energies.append(_run(traced, "uniform").uplink_energy_j)
    assert energies[0] != energies[1]


def test_a_trace_is_read_once_for_all_scenarios_of_a_sweep(traced: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []
    parse = tracefile.plain_trace

    def counted(data: bytes, source: str) -> Trace | None:
        parsed.append(source)
        return parse(data, source)

    monkeypatch.setattr(tracefile, "plain_trace", counted)
    parts = [part(POLICY, name) for name in ("uniform", "finetune-only")]
    jobs = jobs_of(read_source(traced), ["budget.delay_s=3,4,5"], parts, [0, 1])
    assert len({job.source.identity for job in jobs}) == 3
    for job in jobs:
        execute(job)
    assert len(parsed) == 1


def _arrive(source: Source) -> Source:
    sent: Source = pickle.loads(pickle.dumps(source))  # noqa: S301  # our own bytes
    return sent


def test_jobs_of_a_scenario_share_one_world_here_and_where_they_are_sent(traced: Path) -> None:
    first, second = jobs_of(read_source(traced), [], [part(POLICY, "uniform")], [0, 1])
    assert first.source.world() is second.source.world()
    sent = [_arrive(job.source) for job in (first, second)]
    assert sent[0] == sent[1] == first.source
    assert sent[0].world() is sent[1].world()
    assert sent[0].files is sent[1].files


def test_a_file_that_changed_on_the_way_to_a_worker_is_refused(traced: Path) -> None:
    sent = pickle.dumps(read_source(traced))
    _write_trace(traced.parent, -111.0)
    arrived = pickle.loads(sent)  # noqa: S301  # our own bytes
    with pytest.raises(PrefineError, match=r"walk\.csv: has changed since the command was started"):
        arrived.world()
