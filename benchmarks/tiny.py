"""Where the processor time of 300 tiny runs on two worker processes goes: ``python -m benchmarks.tiny``.

What is in ``execute`` is taken from all runs in one process, so the workers' own first-time costs count as outside.
"""

import json

from benchmarks.spent import spent
from benchmarks.work import BARE, SMALL, SWEEP

TIMED = f"""
import json, sys, time
from functools import partial
import prefine.garbage
from prefine.emulator import api
from prefine.emulator.cli import command
took = {{"imports": time.process_time()}}
def timed(name, work, *given, **named):
    began = time.process_time()
    try:
        return work(*given, **named)
    finally:
        took[name] = time.process_time() - began
for name in ("run_many", "_load", "write_folder", "report"):
    setattr(api, name, partial(timed, name, getattr(api, name)))
sys.argv = {["prefine", *SWEEP.split()]!r}
command()
took["all"] = time.process_time()
print(json.dumps(took))
"""


def parts() -> dict[str, float]:
    """Seconds of processor time by part; they sum to what the command and its workers take together."""
    whole = spent(TIMED, SMALL)
    took = json.loads(whole.said)
    inside_s = float(spent(BARE, SMALL).said)
    named = {
        "the runs themselves": inside_s,
        "workers: imports, first run of each": whole.cpu_s - took["all"] - inside_s,
        "command: imports": took["imports"],
        "command: imports for tables and figures": took["_load"],
        "command: runs handed out and stored": took["run_many"] - took["_load"],
        "command: tables of runs": took["write_folder"],
        "command: report": took["report"],
    }
    return {**named, "command: the rest": whole.cpu_s - sum(named.values())}


def main() -> None:
    """Print a line a part, and the part that is outside of the runs."""
    found = parts()
    total = sum(found.values())
    for name, took_s in found.items():
        print(f"{name:42} {took_s:6.2f} s {took_s / total:5.2f}")
    print(f"{'all':42} {total:6.2f} s  outside of the runs: {1.0 - next(iter(found.values())) / total:.2f}")


if __name__ == "__main__":
    main()
