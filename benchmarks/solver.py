"""The exact solver against a conic solver (CVXPY, Clarabel) and the published route (joint-sca), in one run.

``python -m benchmarks.solver [--sizes 10,100,...]`` prints, for each number of devices, the time of the relaxed
optimum, its gap, the time of the whole-number plan with its integer gap, the peak memory up to there, and the peers'
times as ratios with how far their optima are off. Every size runs in a process of its own.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from typing import Any

from benchmarks.fleet import macro_cell
from prefine.policies.dual import relax_all_rounds
from prefine.policies.joint import Joint
from prefine.policies.sca import JointSca
from prefine.policies.subproblems import Stages
from tests.policies.conic import InaccurateError, solve_conic

SIZES = (10, 100, 1_000, 10_000, 100_000, 1_000_000)
MOST_FOR_CONIC = 1_000
MOST_FOR_SCA = 100
REPEATS = 3


def measure(count: int) -> dict[str, Any]:
    """All figures for ``count`` devices."""
    problem = macro_cell(count)
    times = []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        relaxed, _ = relax_all_rounds(Stages(problem))
        times.append(time.perf_counter() - begin)
    row: dict[str, Any] = {"devices": count, "relaxed_s": min(times), "gap": relaxed.gap}
    row["rounds"] = f"{relaxed.pretrain_rounds:.1f} + {relaxed.finetune_rounds:.1f}"
    begin = time.perf_counter()
    plan = Joint().plan(problem)
    row |= {"plan_s": time.perf_counter() - begin, "integer_gap": plan.integer_gap}
    row["memory_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    if count <= MOST_FOR_CONIC:
        begin = time.perf_counter()
        try:
            value = solve_conic(problem, relaxed)
            row |= {"conic_s": time.perf_counter() - begin, "conic_off": value / relaxed.bound - 1.0}
        except InaccurateError:
            row |= {"conic_s": time.perf_counter() - begin, "conic_off": None}
    if count <= MOST_FOR_SCA:
        begin = time.perf_counter()
        value = JointSca().optimise(problem).bound
        row |= {"sca_s": time.perf_counter() - begin, "sca_off": value / relaxed.bound - 1.0}
    return row


def _peer(row: dict[str, Any], name: str) -> str:
    if f"{name}_s" not in row:
        return "-"
    off = row[f"{name}_off"]
    ratio = row[f"{name}_s"] / row["relaxed_s"]
    return f"{row[f'{name}_s']:.2f} s, x{ratio:.0f}, " + ("gave up" if off is None else f"{off:+.0e}")


def main() -> None:
    """Print one line a size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="numbers of devices")
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.measure)))
        return
    print("devices | relaxed: time, gap, N + M | plan: time, integer gap | memory | conic: time, ratio, off | SCA")
    for size in arguments.sizes.split(","):
        command = [sys.executable, "-m", "benchmarks.solver", "--measure", size]
        row = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        print(
            f"{row['devices']:>9,} | {row['relaxed_s'] * 1e3:.1f} ms, {row['gap']:.0e}, {row['rounds']} | "
            f"{row['plan_s']:.2f} s, {row['integer_gap']:.3%} | {row['memory_gb']:.2f} GB | "
            f"{_peer(row, 'conic')} | {_peer(row, 'sca')}",
            flush=True,
        )


if __name__ == "__main__":
    main()
