"""What takes long where there is much of it: commands, planning under fading, many runs, reports, traces, many devices.

``python -m benchmarks.scale [ROW ...]`` prints a line for each row: processor time (user and system, start of Python
included) and peak memory of a process of its own, and what it took before these paths were made fast. Those figures
come from one busy machine with two cores, that of 20,000 devices from 200 times 100: read the ratios roughly.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple


class Row(NamedTuple):
    """``code`` is timed, after ``setting_up`` in the same folder; ``before_s`` is what it took."""

    what: str
    code: str
    before_s: float
    setting_up: str = ""


def command(line: str) -> str:
    """Code that runs a command line of ours."""
    return f"import sys; from prefine.__main__ import main; sys.argv = {['prefine', *line.split()]!r}; main()"


TWELVE = command("compare default --policies uniform,finetune-only,joint --seeds 4 --out twelve -q")

FADING = """
import numpy as np
from prefine.emulator.channel.mobility import Site
from prefine.emulator.channel.models import Rayleigh
from prefine.emulator.channel.planner import planned_gain
each = np.ones(20_000)
planned_gain(Rayleigh(), Site(np.linspace(20.0, 400.0, 20_000), 3), 0.2 * each, 64e3, 2e4 * each, 4e-21, 16.0)
"""

PLAN = """
from benchmarks.fleet import macro_cell
from prefine.policies.joint import Joint
Joint().plan(macro_cell({devices}))
"""

RELAXED = """
from benchmarks.fleet import macro_cell
from prefine.policies.dual import relax_all_rounds
from prefine.policies.subproblems import Stages
relax_all_rounds(Stages(macro_cell(1_000_000)))
"""

FOLDER = """
from pathlib import Path
import tests.emulator.experiment.synthetic as synthetic
from prefine.emulator.experiment.executor import Serial
from prefine.emulator.experiment.folder import manifest, result_store, write_folder
from prefine.emulator.experiment.runs import run_many
names = [f"p{{i}}" for i in range({policies})]
synthetic.PRETRAIN_SHARE |= {{name: 0.8 * i / len(names) for i, name in enumerate(names)}}
synthetic.ROUNDS_PER_S |= {{name: 1.0 + i / len(names) for i, name in enumerate(names)}}
jobs = [
    synthetic.SyntheticJob(name, seed, varied)
    for varied in {cases} for name in names for seed in range(2)
]
folder = Path("report")
results = run_many(jobs, synthetic.execute, Serial(), result_store(folder))
write_folder(folder, results, manifest(jobs, {{}}, "p0", "", {{}}))
"""

BARE = """
from prefine.emulator.experiment.job import execute
from prefine.emulator.experiment.sweep import jobs_of
from prefine.emulator.plugins import policy_parts
from prefine.emulator.scenario.source import read_source
jobs = jobs_of(read_source("small.toml"), ["budget.delay_s=2,4"], policy_parts("uniform,joint"), range(15))
for job in jobs:
    execute(job)
"""

TRACE = """
import numpy as np
random = np.random.default_rng(0)
with open("trace.csv", "w") as file:
    file.write("time_s,device,gain_db\\n")
    for device in range(2):
        gains = random.normal(-95.0, 6.0, 500_000).round(6).tolist()
        file.writelines(f"{step / 100!r},{device},{gain!r}\\n" for step, gain in enumerate(gains))
"""

SMALL = """
from pathlib import Path
from tests.emulator.scenario.small import SMALL
Path("small.toml").write_text(SMALL)
"""

MANY_DEVICES = "run small.toml --policy uniform --set devices.count=1400 --set task.samples=1400 -q"
MANY_DEVICES += " --set radio.bandwidth_hz=1e8 --set budget.energy_j=1e5 --out many"

MANY = "from benchmarks.many import run; run(100_000, '{rows}')"

ROWS: Mapping[str, Row] = {
    "version": Row("prefine --version", command("--version"), 3.10),
    "help": Row("prefine --help", command("--help"), 3.15),
    "import": Row("import of the public functions", "import prefine.emulator.api", 2.58),
    "fading": Row("planning gain of 20,000 devices, Rayleigh", FADING, 308.0),
    "plan-10": Row("plan in whole numbers, 10 devices", PLAN.format(devices=10), 0.47),
    "plan-1000": Row("plan in whole numbers, 1,000 devices", PLAN.format(devices=1000), 0.48),
    "plan-1000000": Row("plan in whole numbers, 10^6 devices", PLAN.format(devices=1_000_000), 40.1),
    "relaxed": Row("relaxed plan, 10^6 devices", RELAXED, 7.02),
    "resumed": Row("12 finished runs, resumed", TWELVE, 10.34, TWELVE),
    "tiny": Row(
        "60 tiny runs, 2 jobs",
        command(
            "sweep small.toml --vary budget.delay_s=2,4 --policies uniform,joint --seeds 15 --jobs 2 -q --out tiny"
        ),
        20.38,
        SMALL,
    ),
    "tiny-bare": Row("the same 60 runs, `execute` alone in one process", BARE, 0.0, SMALL),
    "report-350": Row(
        "report of 350 runs in 35 combinations",
        command("report report"),
        27.88,
        FOLDER.format(policies=5, cases="[(('budget.delay_s', float(d)),) for d in range(10, 45)]"),
    ),
    "report-200": Row(
        "report of 200 policies", command("report report"), 87.52, FOLDER.format(policies=200, cases="[()]")
    ),
    "trace": Row("trace of 10^6 rows: inspect", command("trace inspect trace.csv"), 5.82, TRACE),
    "devices": Row("1,400 devices, all rows of devices.csv", command(MANY_DEVICES), 9.73, SMALL),
    "many-all": Row("100,000 devices x 20 rounds, all rows", MANY.format(rows="all"), 91.0),
    "many-sample": Row("100,000 devices x 20 rounds, a sample", MANY.format(rows="sample"), 0.0),
    "sample": Row("1,400 devices, a sample of them", command(f"{MANY_DEVICES} --devices sample"), 0.0, SMALL),
}


class Spent(NamedTuple):
    """Processor time and peak memory of a process and its children."""

    cpu_s: float
    memory_gb: float


def spent(code: str, folder: str) -> Spent:
    """What ``code`` takes in a process of its own in ``folder``."""
    watched = (
        "import contextlib, ctypes, json, os, resource, subprocess, sys\n"
        "ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)\n"  # PR_SET_CHILD_SUBREAPER: count workers' servers too
        "done = subprocess.run([sys.executable, '-W', 'ignore', '-c', sys.argv[1]], stdout=subprocess.DEVNULL)\n"
        "with contextlib.suppress(ChildProcessError):\n"
        "    while True: os.wait()\n"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "print(json.dumps([done.returncode, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024**2]))"
    )
    path = os.pathsep.join(filter(None, [str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH")]))
    found = subprocess.run(
        [sys.executable, "-c", watched, code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    status, cpu_s, memory_gb = json.loads(found.stdout)
    if status:
        raise SystemExit(f"failed: {found.stderr}")
    return Spent(cpu_s, memory_gb)


def main() -> None:
    """Print one line a row."""
    print(f"{'':45} {'now':>9} {'memory':>8} {'before':>9} {'ratio':>7}")
    for name in sys.argv[1:] or ROWS:
        row = ROWS[name]
        with tempfile.TemporaryDirectory() as folder:
            if row.setting_up:
                spent(row.setting_up, folder)
            used = spent(row.code, folder)
        before = f"{row.before_s:7.2f} s {row.before_s / used.cpu_s:6.1f}x" if row.before_s else f"{'-':>9} {'-':>7}"
        print(f"{row.what:45} {used.cpu_s:7.2f} s {used.memory_gb:5.2f} GB {before}", flush=True)


if __name__ == "__main__":
    main()
