"""The work that `benchmarks.rows` times: each a piece of Python for a process and a folder of its own."""


def command(line: str) -> str:
    """A command line of ours."""
    return f"import sys; from prefine.__main__ import main; sys.argv = {['prefine', *line.split()]!r}; main()"


def plan(devices: int, repeats: int) -> str:
    """Seconds of the best of so many plans in whole numbers, after one that loads all there is to load."""
    return f"""
import time
from benchmarks.fleet import macro_cell
from prefine.policies.joint import Joint
problem = macro_cell({devices})
Joint().plan(macro_cell(10))
took = []
for _ in range({repeats}):
    began = time.process_time()
    Joint().plan(problem)
    took.append(time.process_time() - began)
print(min(took))
"""


RELAXED = """
import time
from benchmarks.fleet import macro_cell
from prefine.policies.dual import relax_all_rounds
from prefine.policies.subproblems import Stages
problem = macro_cell(1_000_000)
began = time.process_time()
relax_all_rounds(Stages(problem))
print(time.process_time() - began)
"""

FADING = """
import numpy as np
from prefine.emulator.channel.mobility import Site
from prefine.emulator.channel.models import Rayleigh
from prefine.emulator.channel.planner import planned_gain
each = np.ones(20_000)
planned_gain(Rayleigh(), Site(np.linspace(20.0, 400.0, 20_000), 3), 0.2 * each, 64e3, 2e4 * each, 4e-21, 16.0)
"""

SMALL = """
from pathlib import Path
from tests.emulator.scenario.small import SMALL
Path("small.toml").write_text(SMALL)
"""


def crowd(rows: str) -> str:
    """Twenty rounds of 100,000 devices; ``rows`` as of ``--devices``."""
    return f"from benchmarks.many import run; run(100_000, '{rows}')"


def population(clients: int) -> str:
    """A hundred rounds of 1,000 of so many clients."""
    return f"from benchmarks.population import run; run({clients})"


SWEEP = "sweep small.toml --vary budget.delay_s=2,4 --policies uniform,joint --seeds 75 --jobs 2 -q --out tiny"

TINY = command(SWEEP)

BARE = """
import time
import torch
import prefine.models.workload
from prefine.emulator.experiment.job import execute
from prefine.emulator.experiment.sweep import jobs_of
from prefine.emulator.plugins import policy_parts
from prefine.emulator.scenario.source import read_source
jobs = jobs_of(read_source("small.toml"), ["budget.delay_s=2,4"], policy_parts("uniform,joint"), range(75))
began = time.process_time()
for job in jobs:
    execute(job)
print(time.process_time() - began)
"""


def over(out: str | None) -> str:
    """Seconds that our imports and `compare` take beside torch's import and the run, whose world is open already."""
    return f"""
import time
import torch
began = time.process_time()
import prefine
prefine.compare
from prefine.emulator import api, plugins
plugins.find(plugins.WORKLOAD, api.read_source("small.toml").scenario.task.workload)
imported_s = time.process_time() - began
inside_s, execute = [], api.execute
def timed(job):
    start = time.process_time()
    result = execute(job)
    inside_s.append(time.process_time() - start)
    return result
api.execute = timed
(job,) = api.jobs_of(api.read_source("small.toml"), [], api.policy_parts(["uniform"]), [0])
execute(job)
began = time.process_time()
api.compare("small.toml", ["uniform"], seeds=1, out={out!r})
print(imported_s + time.process_time() - began - sum(inside_s))
"""


TWELVE = command("compare default --policies uniform,finetune-only,joint --seeds 4 --out twelve -q")

REPORT = command("report report")


def _folder(policies: int, cases: str) -> str:
    return f"""
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


RUNS_350 = _folder(policies=5, cases="[(('budget.delay_s', float(d)),) for d in range(10, 45)]")
POLICIES_200 = _folder(policies=200, cases="[()]")

TRACE = """
import numpy as np
random = np.random.default_rng(0)
with open("trace.csv", "w") as file:
    file.write("time_s,device,gain_db\\n")
    for device in range(2):
        for begin in range(0, 5_000_000, 500_000):
            gains = random.normal(-95.0, 6.0, 500_000).round(6).tolist()
            file.writelines(f"{(begin + i) / 100!r},{device},{gain!r}\\n" for i, gain in enumerate(gains))
"""

INSPECT = command("trace inspect trace.csv")
