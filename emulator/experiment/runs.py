"""Many runs: what is stored is not run again, and what ends is stored at once."""

from collections.abc import Callable, Sequence
from contextlib import closing

from prefine.emulator.errors import InputError
from prefine.emulator.experiment.attempts import completed
from prefine.emulator.experiment.executor import Workers
from prefine.emulator.experiment.results import Held, J, Job, Results, stored
from prefine.emulator.experiment.store import Store
from prefine.emulator.identity import address
from prefine.emulator.records import RunResult


class Listener:
    """Hears of the runs of a command; this one keeps it to itself."""

    def done(self, job: Job, result: RunResult) -> None:
        """``job`` has this ``result``, from the store or from a worker."""

    def found(self, count: int) -> None:
        """``count`` results were in the store; all of them have been told of, the rest is run now."""


SILENT = Listener()


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
    held = Held()
    waiting = []
    for index, (job, key) in enumerate(zip(jobs, keys, strict=True)):
        found = stored(store, key, job) if job.lasting else None
        if found is None:
            waiting.append(index)
        else:
            held.add(index, found, in_store=True)
            listener.done(job, found)
    if waiting:
        check()
    listener.found(len(jobs) - len(waiting))
    with closing(completed(jobs, execute, workers, waiting)) as ended:
        for index, result in ended:
            lasts = result.run.status == "done" and jobs[index].lasting
            if lasts:
                store.save(keys[index], result)
            held.add(index, result, in_store=lasts)
            listener.done(jobs[index], result)
    return Results(tuple(jobs), keys, store, held.results)
