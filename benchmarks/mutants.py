"""Mutation testing: which small changes of a module does no test notice?

``python -m benchmarks.mutants [--most N] [--seed S] [--jobs J] [MODULE ...]`` changes one operator, comparison, number
or constant of a module at a time (the operators of Cosmic Ray), runs the tests that `MODULES` names for it, and prints
what survived and a score for each module. A sample of ``--most`` mutants a module (0: all), drawn with ``--seed``.

The changed source never touches the disk: each mutant is a child process that finds it instead of the file. The child
is forked from a parent that has the libraries loaded, so a mutant costs its tests and little else.
"""

import argparse
import importlib.abc
import importlib.machinery
import importlib.util
import os
import random
import re
import resource
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import CodeType, ModuleType
from typing import NamedTuple

import cosmic_ray.plugins
import hypothesis
import matplotlib.pyplot  # noqa: F401 - loaded before the fork
import pandas  # noqa: F401 - as above
import parso
import pydantic  # noqa: F401 - as above
import pytest
import scipy.optimize
import scipy.stats  # noqa: F401 - as above
import simpy  # noqa: F401 - as above
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code

ROOT = Path(__file__).parent.parent

SIMULATION = ("simulation/test_run.py", "simulation/test_fastpath.py", "simulation/test_invariants.py")
PLANNING = ("tests/policies/test_relaxed.py", "tests/policies/test_whole_numbers.py")


def _emulator(*names: str) -> tuple[str, ...]:
    return tuple(f"tests/emulator/{name}" for name in names)


MODULES: dict[str, tuple[str, ...]] = {
    "emulator/physics.py": (*_emulator("test_physics.py", "simulation/test_transfer.py"), PLANNING[0]),
    "emulator/bound.py": (*_emulator("test_bound.py"), *PLANNING),
    "emulator/analysis/statistics.py": _emulator("experiment/test_statistics.py"),
    "emulator/simulation/transfer.py": _emulator("simulation/test_transfer.py", *SIMULATION),
    "emulator/simulation/uplink.py": _emulator("simulation/test_uplink.py", "simulation/test_faults.py", *SIMULATION),
    "emulator/simulation/device.py": _emulator(
        "simulation/test_faults.py", "simulation/test_processor.py", "simulation/test_device.py", *SIMULATION
    ),
    "emulator/simulation/processor.py": _emulator("simulation/test_processor.py", *SIMULATION),
    "emulator/simulation/energy.py": _emulator("simulation/test_energy.py", *SIMULATION),
    "emulator/simulation/fastpath.py": _emulator(*SIMULATION),
    "policies/dual.py": PLANNING,
    "policies/objectives/all_rounds.py": PLANNING,
    "policies/objectives/base.py": PLANNING,
    "policies/objectives/counting.py": PLANNING[::-1],
    "policies/objectives/fine_tuned.py": PLANNING,
    "policies/objectives/given_share.py": (*PLANNING, "tests/policies/test_plans.py"),
}
"""The tests of each module, those that fail soonest first. One that is not there is passed over."""

OPERATORS = re.compile(
    r"core/(ReplaceBinaryOperator_(Add_Sub|Sub_Add|Mul_Div|Div_Mul|Pow_Mul|FloorDiv_Div|Mod_FloorDiv|BitAnd_BitOr|"
    r"BitOr_BitAnd)|ReplaceUnaryOperator_(USub_UAdd|Delete_\w+)|ReplaceComparisonOperator_(Lt_LtE|LtE_Lt|Gt_GtE|GtE_Gt|"
    r"Lt_GtE|LtE_Gt|Gt_LtE|GtE_Lt|Eq_NotEq|NotEq_Eq|Is_IsNot|IsNot_Is)|NumberReplacer|AddNot|"
    r"Replace(And|Or|True|False|Break|Continue)\w*|ExceptionReplacer|ZeroIterationForLoop)"
)
"""Those of Cosmic Ray whose mutants are worth a run: not, say, + made <<, which no float survives."""

MOST_CPU_TIMES = 5.0
LEAST_CPU_S = 20.0
"""A mutant that takes so many times the tests' processor time, and at least this, never ends: it counts as killed."""

MOST_MEMORY_BYTES = 6 * 2**30


class Mutant(NamedTuple):
    """The ``occurrence``-th place of ``module`` that ``operator`` changes, with the changed ``line`` and its number."""

    module: str
    number: int
    operator: str
    occurrence: int
    line: str
    source: str


def mutants(module: str) -> list[Mutant]:
    """All mutants of ``module``, a path below the root, but those of annotations: they change no behaviour."""
    source = (ROOT / module).read_text(encoding="utf-8")
    found = []
    for name in filter(OPERATORS.fullmatch, cosmic_ray.plugins.operator_names()):
        operator = cosmic_ray.plugins.get_operator(name)()
        places = [node for node in ast_nodes(get_ast(source)) for _ in operator.mutation_positions(node)]
        for occurrence, node in enumerate(places):
            if not _in_annotation(node):
                changed = mutate_code(source, operator, occurrence)
                number, line = _changed_line(source, changed)
                found.append(Mutant(module, number, name.removeprefix("core/"), occurrence, line, changed))
    return sorted(found)


def _in_annotation(node: parso.tree.NodeOrLeaf) -> bool:
    """Whether ``node`` stands in the annotation of a parameter, a result or a variable."""
    above = node.parent
    while above is not None:
        if above.type == "annassign" and node.start_pos < (above.children[2:3] or [above])[0].start_pos:
            return True
        if above.type == "tfpdef" or (above.type == "funcdef" and above.annotation is node):
            return True
        if above.type == "annassign" and len(above.children) == 2:
            return True
        node, above = above, above.parent
    return False


def _changed_line(before: str, after: str) -> tuple[int, str]:
    lines = zip(before.splitlines(), after.splitlines(), strict=False)
    return next((n, new.strip()) for n, (old, new) in enumerate(lines, 1) if old != new)


class _Changed(importlib.machinery.SourceFileLoader):
    """Loads a module from ``code`` in place of its file."""

    code: CodeType

    def get_code(self, fullname: str) -> CodeType:
        return self.code


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the module ``name`` in ``mutant``'s source."""

    def __init__(self, name: str, mutant: Mutant) -> None:
        self._name, self._mutant = name, mutant

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._name:
            return None
        file = str(ROOT / "prefine" / self._mutant.module)
        loader = _Changed(fullname, file)
        loader.code = compile(self._mutant.source, file, "exec")
        return importlib.util.spec_from_file_location(fullname, file, loader=loader)


def _run_tests(module: str, mutant: Mutant | None, cpu_s: float) -> int:
    """Run the tests of ``module`` in a child process, with ``mutant`` in its place if any; 0: they passed."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    resource.setrlimit(resource.RLIMIT_CPU, (int(cpu_s), int(cpu_s) + 5))
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_MEMORY_BYTES, MOST_MEMORY_BYTES))
    signal.alarm(int(20 * cpu_s))
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    code = 1
    try:
        if mutant is not None:
            name = "prefine." + module.removesuffix(".py").replace("/", ".")
            sys.meta_path.insert(0, _Finder(name, mutant))
        hypothesis.settings.register_profile(
            "mutants", derandomize=True, database=None, deadline=None, phases=list(hypothesis.Phase)[:3]
        )
        hypothesis.settings.load_profile("mutants")
        tests = [test for test in MODULES[module] if (ROOT / test).is_file()]
        code = int(pytest.main(["-x", "--assert=plain", "-p", "no:cacheprovider", "-p", "no:xdist", *tests]))
    finally:
        os._exit(code)


def _survivors(module: str, most: int, seed: int, jobs: int) -> Iterator[str]:
    """The lines of the report on ``module``: its survivors, then its score."""
    begin, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    if _run_tests(module, None, 600.0):
        raise SystemExit(f"{module}: its tests fail before anything is changed")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = max(LEAST_CPU_S, MOST_CPU_TIMES * (after.ru_utime - before.ru_utime))
    found = mutants(module)
    chosen = sorted(random.Random(f"{seed} {module}").sample(found, most)) if 0 < most < len(found) else found  # noqa: S311
    with ThreadPoolExecutor(jobs) as pool:
        passed = list(pool.map(lambda mutant: _run_tests(module, mutant, cpu_s) == 0, chosen))
    for mutant, alive in zip(chosen, passed, strict=True):
        if alive:
            yield f"  {module}:{mutant.number} {mutant.operator}: {mutant.line}"
    killed = len(chosen) - sum(passed)
    took_s = time.monotonic() - begin
    share = f"{killed} of {len(chosen)} killed, {killed / len(chosen):.0%}"
    yield f"{module}: {share} ({len(found)} in all), {took_s:.0f} s"


def main() -> None:
    """Read the command line and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("modules", nargs="*", default=list(MODULES))
    parser.add_argument("--most", type=int, default=25)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    os.chdir(ROOT)
    sys.dont_write_bytecode = True
    for module in options.modules:
        for line in _survivors(module, options.most, options.seed, options.jobs):
            print(line, flush=True)


if __name__ == "__main__":
    main()
