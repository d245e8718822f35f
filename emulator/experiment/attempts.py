"""Runs on an executor: what fails or dies becomes a row with its reason."""

import math
import multiprocessing
import traceback
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import BrokenExecutor, Future
from queue import SimpleQueue
from typing import Any

from prefine.emulator.analysis.entries import column_types
from prefine.emulator.errors import PrefineError, one_line
from prefine.emulator.experiment.executor import Workers, abandon
from prefine.emulator.experiment.results import J, Job
from prefine.emulator.experiment.store import decoded, encoded
from prefine.emulator.records import RunRecord, RunResult

ATTEMPTS = 3

Answer = RunResult | bytes
"""What comes back of a run: its result, or the record of it."""


def completed(
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
