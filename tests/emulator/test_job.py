"""What a job remembers within a process is never taken for what its files say now."""

from pathlib import Path

from prefine.emulator import api
from prefine.emulator.experiment.job import execute
from prefine.emulator.records import RunRecord
from tests.emulator.scenario.small import SMALL

POLICY = """
from dataclasses import dataclass, replace

from prefine.policies.baselines import Uniform


@dataclass(frozen=True)
class Mine:
    def plan(self, problem):
        return replace(Uniform().plan(problem), pretrain_rounds=0, finetune_rounds={rounds})
"""


def _run(scenario: Path, policy: str) -> RunRecord:
    (job,) = api.jobs_of(api.source_of(scenario), policies=[policy], seeds=1)
    return execute(job).run


def test_an_edited_policy_file_is_planned_anew(tmp_path: Path) -> None:
    scenario, policy = tmp_path / "small.toml", tmp_path / "mine.py"
    scenario.write_text(SMALL)
    seen = []
    for rounds in (1, 2):
        policy.write_text(POLICY.format(rounds=rounds))
        seen.append(_run(scenario, f"{policy}:Mine").planned_finetune_rounds)
    assert seen == [1, 2]


def test_an_edited_trace_is_replayed_anew(tmp_path: Path) -> None:
    scenario, trace = tmp_path / "small.toml", tmp_path / "walk.csv"
    scenario.write_text(SMALL.replace('model = "static"', 'model = "trace"\ntrace = "walk.csv"'))
    energies = []
    for gain_db in (-90, -110):
        trace.write_text(f"time_s,device,gain_db\n0,0,{gain_db}\n")
        energies.append(_run(scenario, "uniform").uplink_energy_j)
    assert energies[0] != energies[1]
