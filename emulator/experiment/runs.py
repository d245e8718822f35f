"""Many runs on an executor: what is stored is not run again, and what fails or dies becomes a row with its reason."""

import math
import multiprocessing
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Future
from contextlib import closing
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import Any, Generic, Protocol, TypeVar

from prefine.emulator.analysis.entries import Entry, column_types
from prefine.emulator.errors import InputError, PrefineError, one_line
from prefine.emulator.experiment.executor import Workers, abandon
from prefine.emulator.experiment.store import Store, decoded, encoded
from prefine.emulator.identity import address
from prefine.emulator.records import RunRecord, RunResult

ATTEMPTS = 3

Answer = RunResult | bytes
"""What comes back of a run: its result, or the record of it."""


class Job(Protocol):
    """One run to be: a scenario, a policy and a seed, and a name that is unique among the jobs of a command."""

    @property
    def run_id(self) -> str:
        """Names the run in all tables."""
        ...

    @property
    def policy(self) -> str:
        """How the policy was asked for: its name, or a file and class."""
        ...

    @property
    def label(self) -> str:
        """The policy's name in tables."""
        ...

    @property
    def seed(self) -> int:
        """The run's seed."""
        ...

    @property
    def varied(self) -> tuple[tuple[str, object], ...]:
        """The scenario keys that a sweep varied, with this run's values."""
        ...

    @property
    def lasting(self) -> bool:
        """Whether `content` tells this run from every other one, so that its result can be stored and found again."""
        ...

    def content(self) -> Mapping[str, object]:
        """Everything that determines the result, fit for JSON."""
        ...


J = TypeVar("J", bound=Job)


class Listener:
    """Hears of the runs of a command; this one keeps it to itself."""

    def done(self, job: Job, result: RunResult) -> None:
        """``job`` has this ``result``, from the store or from a worker."""

    def found(self, count: int) -> None:
        """``count`` results were in the store; all of them have been told of, the rest is run now."""


SILENT = Listener()


@dataclass(frozen=True)
class Results(Generic[J]):
    """The results of ``jobs`` in their order, read from the store one at a time.

    ``held`` are those that are not in the store, by index: failed runs, and jobs that are not lasting.
    """

    jobs: tuple[J, ...]
    keys: tuple[str, ...]
    store: Store
    held: Mapping[int, RunResult]

    def __iter__(self) -> Iterator[Entry]:
        for index, (job, key) in enumerate(zip(self.jobs, self.keys, strict=True)):
            result = self.held.get(index) or _stored(self.store, key, job)
            if result is None:
                raise PrefineError(f"{self.store.folder}: the result of {job.run_id} has gone; run the same again")
            yield Entry(job.run_id, job.varied, result)

    def where(self, wanted: Callable[[J], bool]) -> "Results[J]":
        """The results of the ``wanted`` jobs, in the same order."""
        chosen = [index for index, job in enumerate(self.jobs) if wanted(job)]
        jobs, keys = tuple(self.jobs[index] for index in chosen), tuple(self.keys[index] for index in chosen)
        held = {place: self.held[index] for place, index in enumerate(chosen) if index in self.held}
        return Results(jobs, keys, self.store, held)


def run_many(
    jobs: Sequence[J],
    execute: Callable[[J], RunResult],
    workers: Workers,
    store: Store,
    listener: Listener = SILENT,
    check: Callable[[], None] = lambda: None,
) -> Results[J]:
    """Every job's result, from the store where it is there, else by ``execute`` (picklable) on ``workers``.

    Finished runs are stored as they come in; failed ones are not, so that the next attempt tries them again, nor are
    jobs that are not lasting.
    ``listener`` hears of each in order of completion. ``check``, which may raise, is called before the first is run, if
    one has to be. Raises PrefineError where the store cannot be written, InputError where two jobs have the same name.
    """
    names = [job.run_id for job in jobs]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(
            f"two runs would both be named {twice}: give the policies different names, in Python {{label: policy, ...}}"
        )
    keys = tuple(address(job.content()) for job in jobs)
    held: dict[int, RunResult] = {}
    waiting = []
    for index, (job, key) in enumerate(zip(jobs, keys, strict=True)):
        stored = _stored(store, key, job) if job.lasting else None
        if stored is None:
            waiting.append(index)
        else:
            listener.done(job, stored)
    if waiting:
        check()
    listener.found(len(jobs) - len(waiting))
    with closing(_completed(jobs, execute, workers, waiting)) as completed:
        for index, result in completed:
            if result.run.status == "done" and jobs[index].lasting:
                store.save(keys[index], result)
            else:
                held[index] = result
            listener.done(jobs[index], result)
    return Results(tuple(jobs), keys, store, held)


def _stored(store: Store, key: str, job: Job) -> RunResult | None:
    """The result of ``job`` in the store, under its own label: jobs that differ in that alone share one."""
    result = store.load(key)
    return None if result is None else replace(result, run=result.run._replace(policy=job.label))


def _completed(
    jobs: Sequence[J], execute: Callable[[J], RunResult], workers: Workers, indices: Sequence[int]
) -> Generator[tuple[int, RunResult], None, None]:
    """Results as they come in. When a worker process dies, those under way are suspects: each is tried again alone."""
    waiting = deque(indices)
    suspects: deque[int] = deque()
    deaths = dict.fromkeys(indices, 0)
    while waiting or suspects:
        width = 1 if suspects else workers.width
        queue = deque([suspects.popleft()]) if suspects else waiting
        under_way: list[int] = []
        try:
            yield from _drain(jobs, execute, workers, queue, width, under_way)
        except BrokenExecutor:
            for index in under_way:
                deaths[index] += 1
                if deaths[index] < ATTEMPTS:
                    suspects.append(index)
                else:
                    yield (
                        index,
                        failed(jobs[index], f"its worker process died {ATTEMPTS} times"),
                    )


def _drain(
    jobs: Sequence[J],
    execute: Callable[[J], RunResult],
    workers: Workers,
    queue: "deque[int]",
    width: int,
    under_way: list[int],
) -> Generator[tuple[int, RunResult], None, None]:
    """Run ``queue`` empty on one executor, ``width`` at a time; ``under_way`` always tells what was submitted.

    Raises BrokenExecutor when a worker process dies.
    """
    others = set(multiprocessing.active_children())
    executor = workers.open()
    futures: dict[Future[Answer], int] = {}
    ended: SimpleQueue[Future[Answer]] = SimpleQueue()  # asking each of thousands whether it is done would take longer
    work = recorded if workers.far else attempt
    try:
        while queue or futures:
            while queue and len(futures) < width:
                index = queue.popleft()
                under_way.append(index)
                future = executor.submit(work, execute, jobs[index])
                futures[future] = index
                future.add_done_callback(ended.put)
            future = ended.get()
            index = futures[future]
            result = _outcome(jobs[index], future)
            del futures[future]
            under_way.remove(index)
            yield index, result
    except BaseException:
        abandon(executor, others)
        raise
    executor.shutdown()


def _outcome(job: Job, future: "Future[Answer]") -> RunResult:
    try:
        answer = future.result()
        return decoded(answer) if isinstance(answer, bytes) else answer
    except (BrokenExecutor, PrefineError):  # from the executor: `attempt` lets nothing out
        raise
    except Exception as error:  # noqa: BLE001  # whatever a cluster did to this one run is its row's reason
        return failed(job, _reason(error))


def attempt(execute: Callable[[J], RunResult], job: J) -> RunResult:
    """``execute(job)``; whatever it raises becomes a failed run with the reason in one line."""
    try:
        return execute(job)
    except PrefineError as error:
        return failed(job, str(error))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001  # a plug-in may be anybody's code; one bad run must not end a sweep
        return failed(job, _reason(error))


def recorded(execute: Callable[[J], RunResult], job: J) -> RunResult | bytes:
    """As `attempt`; a finished run as the record that the store keeps, a third of what its objects would be."""
    result = attempt(execute, job)
    return encoded(result) if result.run.status == "done" else result


def failed(job: Job, reason: str) -> RunResult:
    """The row of a run that did not come about: no rounds, every figure NaN."""
    blank = {"int64": 0, "float64": math.nan, "str": ""}
    values: dict[str, Any] = {name: blank[kind] for name, kind in column_types(RunRecord).items()}
    values |= {"policy": job.label, "seed": job.seed, "status": "failed", "stop_reason": reason}
    return RunResult(RunRecord(**values), (), ())


def _reason(error: BaseException) -> str:
    """What happened and where, in one line."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({frames[-1].filename.rpartition('/')[2]}, line {frames[-1].lineno})" if frames else ""
    return one_line(f"{type(error).__name__}: {error}{place}")
