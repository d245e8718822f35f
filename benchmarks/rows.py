"""Every row of the table in docs/speed.md: what it took before, what it takes now, and the aim.

``python -m benchmarks.rows [WORD ...]`` prints them all, or those that have one of the words in their name. ``s`` are
seconds of processor time of a process of its own, its children and the start of Python included; ``wall s`` are on the
clock, which other programs disturb; ``plan s`` and ``over s`` are inside a process (`benchmarks.work`); ``x`` are
multiples of bare SimPy in the same process, the least and the most of 10, 100 and 1,000 devices. What was before is
from a busy machine with two cores, partly on the clock: read the ratios roughly.
"""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from math import nan
from typing import NamedTuple

from benchmarks import work
from benchmarks.engine import ratios
from benchmarks.spent import spent

SIZES = 10, 100, 1000


class Row(NamedTuple):
    """``measure`` answers in ``unit``, in which ``before`` and ``aim`` are; NaN where it cannot be had."""

    what: str
    unit: str
    before: float
    aim: float
    measure: Callable[[], float]


@cache
def times_simpy() -> Sequence[Mapping[str, float]]:
    """The ratios of each world of `benchmarks.engine`, for all sizes."""
    return [ratios(devices, repeats=5)[1] for devices in SIZES]


def engine(name: str, pick: Callable[[Iterable[float]], float]) -> Callable[[], float]:
    """Multiples of bare SimPy in one of its worlds, at the size that ``pick`` takes."""
    return lambda: pick(found[name] for found in times_simpy())


def cpu(code: str, setting_up: str = "") -> Callable[[], float]:
    """Processor seconds of ``code``."""
    return lambda: spent(code, setting_up).cpu_s


def memory(code: str, setting_up: str = "") -> Callable[[], float]:
    """Peak memory of ``code`` in GB; it runs once for this and `cpu`."""
    return lambda: spent(code, setting_up).memory_gb


def said(code: str, setting_up: str = "") -> Callable[[], float]:
    """The number that ``code`` prints last."""
    return lambda: float(spent(code, setting_up).said.split()[-1])


def wall(code: str, setting_up: str = "") -> Callable[[], float]:
    """Seconds that ``code`` takes on the clock."""
    return lambda: spent(code, setting_up).wall_s


def outside() -> float:
    """The part of the processor time of many tiny runs that is not in ``execute``, all of which run in one process."""
    return 1.0 - float(spent(work.BARE, work.SMALL).said) / spent(work.TINY, work.SMALL).cpu_s


ROWS = (
    Row("lived rounds, static, batteries: least", "x", 5.8, 2.5, engine("static, lived", min)),
    Row("lived rounds, static, batteries: most", "x", 7.2, 2.5, engine("static, lived", max)),
    Row("lived rounds, Rayleigh, batteries: least", "x", 15.6, 5.0, engine("Rayleigh, lived", min)),
    Row("lived rounds, Rayleigh, batteries: most", "x", 17.3, 5.0, engine("Rayleigh, lived", max)),
    Row("fast path, Rayleigh: least", "x", 4.6, 2.0, engine("Rayleigh", min)),
    Row("fast path, Rayleigh: most", "x", 6.2, 2.0, engine("Rayleigh", max)),
    Row("fast path, static: least", "x", 0.3, 0.3, engine("static", min)),
    Row("fast path, static: most", "x", 1.0, 0.3, engine("static", max)),
    Row("planning gain of 20,000 devices, Rayleigh", "s", 308.0, 10.0, cpu(work.FADING)),
    Row("100,000 devices x 20 rounds, static", "s", 91.0, 30.0, cpu(work.crowd("all"))),
    Row("the same, memory", "GB", 4.7, 1.5, memory(work.crowd("all"))),
    Row("the same with a sample of devices.csv", "s", nan, nan, cpu(work.crowd("sample"))),
    Row("10^6 clients, 1,000 drawn, 100 rounds", "s", nan, 60.0, cpu(work.population(10**6))),
    Row("the same, memory", "GB", nan, 2.0, memory(work.population(10**6))),
    Row("the same with 10^9 clients", "s", nan, 60.0, cpu(work.population(10**9))),
    Row("300 tiny runs, 2 jobs", "wall s", 52.0, 15.0, wall(work.TINY, work.SMALL)),
    Row("the same, processor time", "s", nan, nan, cpu(work.TINY, work.SMALL)),
    Row("the same, part outside execute", "", nan, 1.0 / 3.0, outside),
    Row("12 finished runs, resumed", "s", 7.0, 1.5, cpu(work.TWELVE, work.TWELVE)),
    Row("report of 350 runs", "s", 120.0, 15.0, cpu(work.REPORT, work.RUNS_350)),
    Row("report of 200 policies", "s", 33.0, 5.0, cpu(work.REPORT, work.POLICIES_200)),
    Row("prefine --version", "s", 1.6, 0.2, cpu(work.command("--version"))),
    Row("prefine --help", "s", 1.6, 0.5, cpu(work.command("--help"))),
    Row("plan in whole numbers, 10 devices", "plan s", 0.080, 0.015, said(work.plan(10, 5))),
    Row("plan in whole numbers, 1,000 devices", "plan s", 0.090, 0.030, said(work.plan(1000, 5))),
    Row("plan in whole numbers, 10^6 devices", "plan s", 25.0, 6.0, said(work.plan(1_000_000, 1))),
    Row("relaxed plan, 10^6 devices", "plan s", 4.9, 2.0, said(work.RELAXED)),
    Row("trace of 10^7 rows: inspect", "s", 36.0, 6.0, cpu(work.INSPECT, work.TRACE)),
    Row("the same, memory", "GB", 3.6, 1.0, memory(work.INSPECT, work.TRACE)),
    Row("import, compare of one run, over the run", "over s", 2.6, 0.3, said(work.over("one"), work.SMALL)),
    Row("the same, without a folder: nothing drawn", "over s", nan, 0.3, said(work.over(None), work.SMALL)),
)


def line(row: Row, now: float) -> str:
    """One row as it is printed."""
    cells = ["-" if figure != figure else f"{figure:.3g}" for figure in (row.before, now, row.aim, row.before / now)]
    met = "" if now != now or row.aim != row.aim else "yes" if now <= row.aim else "no"
    return f"{row.what:46} {row.unit:>6} {cells[0]:>8} {cells[1]:>8} {cells[2]:>8} {cells[3]:>8} {met:>5}"


def main() -> None:
    """Print one line a row."""
    print(f"{'':46} {'unit':>6} {'before':>8} {'now':>8} {'aim':>8} {'faster':>8} {'met':>5}")
    for row in ROWS:
        if not sys.argv[1:] or any(word in row.what for word in sys.argv[1:]):
            print(line(row, row.measure()), flush=True)


if __name__ == "__main__":
    main()
