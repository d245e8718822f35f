"""What trackers are told of finished runs: once, from the stored records, and without a word in the tables."""

import csv
import math
from pathlib import Path
from typing import Any

import pytest

from prefine.emulator.errors import InputError, PrefineError
from prefine.emulator.experiment.executor import Serial
from prefine.emulator.experiment.runs import SILENT, run_many
from prefine.emulator.experiment.store import Store
from prefine.emulator.experiment.tracking import Tracked, tracked
from prefine.emulator.options import TrackFormat
from tests.emulator.experiment import synthetic
from tests.emulator.experiment.synthetic import SyntheticJob

JOBS = [SyntheticJob(policy, 0, (("budget.delay_s", 4),)) for policy in ("joint", "uniform", "no-such")]


def told(folder: Path, kind: TrackFormat) -> None:
    run_many(JOBS, synthetic.execute, Serial(), Store(folder / "runs"), tracked(kind, folder, SILENT))


def points(folder: Path) -> dict[str, list[tuple[int, float, float]]]:
    lines = [line for line in folder.read_text().splitlines() if not line.startswith("#")]
    found: dict[str, list[tuple[int, float, float]]] = {}
    for row in csv.DictReader(lines):
        found.setdefault(row["metric"], []).append((int(row["step"]), float(row["time_s"]), float(row["value"])))
    return found


def test_csv_has_the_curves_and_figures_of_each_run(tmp_path: Path) -> None:
    told(tmp_path, "csv")
    folder = tmp_path / "track" / "csv"
    assert sorted(path.name for path in folder.iterdir()) == [
        f"delay_s=4__{policy}__s0.csv" for policy in ("joint", "no-such", "uniform")
    ]
    rounds, run = synthetic.execute(JOBS[0]).rounds, synthetic.execute(JOBS[0]).run
    found = points(folder / "delay_s=4__joint__s0.csv")
    assert found["test_accuracy"] == [(step, each.end_s, each.test_accuracy) for step, each in enumerate(rounds, 1)]
    assert found["energy_j"][-1][2] == pytest.approx(math.fsum(each.energy_j for each in rounds))
    assert found["run/test_accuracy"] == [(len(rounds), run.delay_s, run.test_accuracy)]
    assert "run/bound_ft" not in found, "what is not known is not told"
    failed = (folder / "delay_s=4__no-such__s0.csv").read_text()
    assert "# status: failed\n# stop_reason: budget.delay_s = 0.1: one round needs at least 2 s\nmetric" in failed
    assert points(folder / "delay_s=4__no-such__s0.csv") == {}


def test_what_was_told_is_not_told_again(tmp_path: Path) -> None:
    told(tmp_path, "csv")
    folder = tmp_path / "track" / "csv"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for path in folder.iterdir():
        path.unlink()
    told(tmp_path, "csv")
    names = [path.name for path in folder.iterdir()]
    assert names == ["delay_s=4__no-such__s0.csv"], "failed runs are tried and told again"
    (tmp_path / "track" / "csv.told").unlink()
    told(tmp_path, "csv")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_tensorboard_has_the_virtual_clock(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    told(tmp_path, "tensorboard")
    (tmp_path / "track" / "tensorboard.told").unlink()
    told(tmp_path, "tensorboard")  # in place of the first, not beside it
    folder = tmp_path / "track" / "tensorboard" / "delay_s=4__joint__s0"
    assert len(list(folder.iterdir())) == 1
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(folder)).Reload()
    rounds = synthetic.execute(JOBS[0]).rounds
    shown = [(event.step, event.wall_time, event.value) for event in events.Scalars("train_loss")]
    assert shown == [
        (step, each.end_s, pytest.approx(each.train_loss, rel=1e-6)) for step, each in enumerate(rounds, 1)
    ]


def test_mlflow_has_a_run_for_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow", minversion="3")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "server").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    for _ in range(2):
        told(tmp_path, "mlflow")
        (tmp_path / "track" / "mlflow.told").unlink()
    client = mlflow.MlflowClient()
    runs = client.search_runs([client.get_experiment_by_name(tmp_path.name).experiment_id])
    assert {run.info.run_name: run.info.status for run in runs} == {
        "delay_s=4__joint__s0": "FINISHED",
        "delay_s=4__uniform__s0": "FINISHED",
        "delay_s=4__no-such__s0": "FAILED",
    }
    assert len(runs) == 3
    (joint,) = (run for run in runs if run.info.run_name == "delay_s=4__joint__s0")
    assert joint.data.params["budget.delay_s"] == "4"
    history = client.get_metric_history(joint.info.run_id, "train_loss")
    assert [each.step for each in history] == list(range(1, len(synthetic.execute(JOBS[0]).rounds) + 1))


def test_what_cannot_be_told_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tensorboardX", None)
    monkeypatch.setitem(__import__("sys").modules, "mlflow", None)
    kinds: list[TrackFormat] = ["tensorboard", "mlflow"]
    for kind in kinds:
        with pytest.raises(InputError, match=rf"--track {kind} is not installed: pip install 'prefine\[{kind}\]'"):
            tracked(kind, tmp_path, SILENT)
    wrong: Any = "wandb"
    with pytest.raises(InputError, match="track = 'wandb': allowed: csv, tensorboard, mlflow"):
        tracked(wrong, tmp_path, SILENT)
    (tmp_path / "track").mkdir(exist_ok=True)
    (tmp_path / "track" / "csv").touch()
    with pytest.raises(PrefineError, match=r"track/csv/delay_s=4__joint__s0\.csv: cannot be written"):
        told(tmp_path, "csv")


def test_names_are_those_of_folders() -> None:
    odd = Tracked.of(SyntheticJob("joint", 0, (("channel.trace", "../a b.csv"),)), synthetic.execute(JOBS[0])).name
    assert odd.startswith("trace=.._a_b.csv__joint__s0-")
    assert "/" not in odd
