"""Finished runs for experiment trackers: TensorBoard, MLflow, or plain CSV files.

A tracker is told of a run when its result is there, in the process that collects results: runs on worker processes and
on a cluster need no connection of their own, and curves are complete or absent. What was told before is not told again.
"""

import hashlib
import io
import math
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from prefine.emulator.errors import InputError, PrefineError
from prefine.emulator.experiment.results import Job
from prefine.emulator.experiment.runs import Listener
from prefine.emulator.files import write_bytes
from prefine.emulator.identity import address
from prefine.emulator.options import TrackFormat
from prefine.emulator.records import RunRecord, RunResult

FOLDER = "track"
CURVES = ("train_loss", "test_accuracy", "grad_norm_sq", "participants")
_UNSAFE = re.compile(r"[^\w.=+-]", re.ASCII)
_LONGEST_NAME = 150


class Point(NamedTuple):
    """``value`` of ``metric`` after ``step`` rounds, ``time_s`` on the virtual clock."""

    metric: str
    step: int
    time_s: float
    value: float


@dataclass(frozen=True)
class Tracked:
    """One finished run: ``name`` can name a folder, ``parameters`` and ``points`` are what trackers show."""

    name: str
    parameters: tuple[tuple[str, str], ...]
    points: tuple[Point, ...]

    @classmethod
    def of(cls, job: Job, result: RunResult) -> "Tracked":
        """The curves over rounds and the figures of ``result``; what is not finite is left out."""
        run = result.run
        told = {"policy": job.label, "seed": job.seed, **dict(job.varied), "status": run.status}
        points = [*_curves(result), *_figures(run, len(result.rounds))] if run.status == "done" else []
        parameters = tuple((key, str(value)) for key, value in (told | {"stop_reason": run.stop_reason}).items())
        return cls(_safe(job.run_id), parameters, tuple(point for point in points if math.isfinite(point.value)))


class Tracker(Protocol):
    """Where runs are told; all that another tracker needs is a class with this one method."""

    def write(self, run: Tracked) -> None:
        """Tell ``run``, in place of what was told under its name before."""
        ...


@dataclass(frozen=True)
class CsvTracker:
    """A file for each run, ``metric,step,time_s,value``, its parameters in comments above."""

    folder: Path

    def write(self, run: Tracked) -> None:
        """One file, atomically."""
        text = io.StringIO()
        text.writelines(f"# {key}: {' '.join(value.split())}\n" for key, value in run.parameters)
        text.write(",".join(Point._fields) + "\n")
        text.writelines(f"{metric},{step},{time_s!r},{value!r}\n" for metric, step, time_s, value in run.points)
        write_bytes(self.folder / f"{run.name}.csv", text.getvalue().encode("utf-8", "backslashreplace"))


class TensorBoardTracker:
    """An event file for each run, in a folder of its name. The virtual clock stands where TensorBoard has wall time."""

    def __init__(self, folder: Path) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            raise _missing("tensorboard") from None
        self._folder, self._writer = folder, SummaryWriter

    def write(self, run: Tracked) -> None:
        """Scalars by step, parameters as a text."""
        place = self._folder / run.name
        shutil.rmtree(place, ignore_errors=True)
        with self._writer(logdir=str(place)) as writer:
            writer.add_text("parameters", "\n".join(f"- {key}: {value}" for key, value in run.parameters))
            for metric, step, time_s, value in run.points:
                writer.add_scalar(metric, value, step, time_s)


class MlflowTracker:
    """A run of the experiment for each, where ``MLFLOW_TRACKING_URI`` says, by default in an SQLite file."""

    def __init__(self, folder: Path) -> None:
        try:
            import mlflow
        except ImportError:
            raise _missing("mlflow") from None
        if not mlflow.environment_variables.MLFLOW_TRACKING_URI.get():
            mlflow.set_tracking_uri(f"sqlite:///{folder.resolve()}.db")
        self._entities = mlflow.entities
        self._client: Any = mlflow.MlflowClient()
        name = folder.resolve().parent.parent.name  # the output folder's
        found = self._client.get_experiment_by_name(name)
        self._experiment = self._client.create_experiment(name) if found is None else found.experiment_id

    def write(self, run: Tracked) -> None:
        """A new run, in place of one of the same name."""
        where = f"tags.mlflow.runName = '{run.name}'"
        for older in self._client.search_runs([self._experiment], where):
            self._client.delete_run(older.info.run_id)
        made = self._client.create_run(self._experiment, run_name=run.name).info.run_id
        metrics = [
            self._entities.Metric(each.metric, each.value, round(1e3 * each.time_s), each.step) for each in run.points
        ]
        parameters = [self._entities.Param(key, value[:500]) for key, value in run.parameters]
        self._client.log_batch(made, params=parameters)
        for first in range(0, len(metrics), 1000):  # as many as one request may hold
            self._client.log_batch(made, metrics=metrics[first : first + 1000])
        self._client.set_terminated(made, "FAILED" if ("status", "failed") in run.parameters else "FINISHED")


_TRACKERS: Mapping[str, Callable[[Path], Tracker]] = {
    "csv": CsvTracker,
    "tensorboard": TensorBoardTracker,
    "mlflow": MlflowTracker,
}


class Tracking(Listener):
    """Hears of runs and tells ``tracker``, each once: ``ledger`` is a file of what was told."""

    def __init__(self, tracker: Tracker, ledger: Path) -> None:
        self._tracker, self._ledger = tracker, ledger
        self._told = set(ledger.read_text().splitlines()) if ledger.exists() else set()

    def done(self, job: Job, result: RunResult) -> None:
        """Tell of ``job``, unless this very result was told."""
        run = Tracked.of(job, result)
        entry = f"{address(job.content())} {run.name}"
        lasting = job.lasting and result.run.status == "done"
        if lasting and entry in self._told:
            return
        try:
            self._tracker.write(run)
            if lasting:
                with self._ledger.open("a") as file:
                    file.write(f"{entry}\n")
        except PrefineError:
            raise
        except Exception as error:  # whatever a server or a library raises
            raise PrefineError(f"tracking: {job.run_id} could not be told ({error}); finished runs are kept") from error


@dataclass(frozen=True)
class All(Listener):
    """Each of ``listeners`` hears."""

    listeners: Sequence[Listener]

    def done(self, job: Job, result: RunResult) -> None:
        """All in turn."""
        for listener in self.listeners:
            listener.done(job, result)

    def found(self, count: int) -> None:
        """All in turn."""
        for listener in self.listeners:
            listener.found(count)


def tracked(kind: TrackFormat, folder: Path, listener: Listener) -> Listener:
    """``listener``, and beside it a tracker of ``kind``, which keeps what it keeps below ``folder``.

    Raises InputError where the tracker is unknown or not installed, PrefineError where it cannot be reached.
    """
    if kind not in _TRACKERS:
        raise InputError(f"track = {kind!r}: allowed: {', '.join(_TRACKERS)}")
    place = folder / FOLDER
    try:
        place.mkdir(parents=True, exist_ok=True)
        return All((listener, Tracking(_TRACKERS[kind](place / kind), place / f"{kind}.told")))
    except PrefineError:
        raise
    except Exception as error:  # whatever a server or a library raises
        raise PrefineError(f"--track {kind}: cannot be reached ({error})") from error


def _curves(result: RunResult) -> Iterator[Point]:
    spent_j = 0.0
    for step, record in enumerate(result.rounds, 1):
        spent_j += record.energy_j
        yield Point("energy_j", step, record.end_s, spent_j)
        yield Point("pretraining", step, record.end_s, float(record.stage == "pretrain"))
        for name in CURVES:
            yield Point(name, step, record.end_s, float(getattr(record, name)))


def _figures(run: RunRecord, step: int) -> Iterator[Point]:
    """The columns of runs.csv, after the last round."""
    for name, value in run._asdict().items():
        if isinstance(value, float | int) and name != "seed":
            yield Point(f"run/{name}", step, run.delay_s, float(value))


def _safe(run_id: str) -> str:
    """``run_id``, where it can name a folder; else what can be kept of it, and a digest."""
    kept = _UNSAFE.sub("_", run_id)[:_LONGEST_NAME]
    return kept if kept == run_id else f"{kept}-{hashlib.sha256(run_id.encode()).hexdigest()[:8]}"


def _missing(kind: str) -> InputError:
    return InputError(f"--track {kind} is not installed: pip install 'prefine[{kind}]'")
