"""Mutation testing: which small changes of a module does no test notice?

``python -m benchmarks.mutants [--most N] [--seed S] [--clone] [MODULE ...]`` changes one operator, comparison, number
or constant of a module at a time (the operators of Cosmic Ray), runs the tests that `PLAN` names for it, and prints
what survived and a table of scores: of a sample of ``--most`` mutants of each module (0: all), drawn with ``--seed``.
Those that `PLAN` calls equivalent, with a reason, are not tried. With ``--clone`` all that happens in a clone of the
last commit, in a temporary folder that is removed at the end.

The changed source never touches the disk: each mutant is a child process that finds it instead of the file. The child
is forked from a parent that has the libraries loaded, so a mutant costs its tests and little else. There is one child
at a time. Ctrl-C and SIGTERM end it, print the table so far and remove the folder.
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
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from types import CodeType, FrameType, ModuleType
from typing import Any, NamedTuple

import cosmic_ray.plugins
import hypothesis
import matplotlib.pyplot  # noqa: F401 - loaded before the fork
import pandas  # noqa: F401 - as above
import pydantic  # noqa: F401 - as above
import pytest
import scipy.optimize
import scipy.stats  # noqa: F401 - as above
import simpy  # noqa: F401 - as above
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from parso.tree import NodeOrLeaf

ROOT = Path(__file__).parent.parent
PLAN = Path("benchmarks/mutants.toml")
"""What to change, and the tests that are to notice. As all paths here, below the folder worked in."""

OPERATORS = re.compile(
    r"core/(ReplaceBinaryOperator_(Add_Sub|Sub_Add|Mul_Div|Div_Mul|Pow_Mul|FloorDiv_Div|Mod_FloorDiv|BitAnd_BitOr|"
    r"BitOr_BitAnd)|ReplaceUnaryOperator_(USub_UAdd|Delete_\w+)|ReplaceComparisonOperator_(Lt_LtE|LtE_Lt|Gt_GtE|GtE_Gt|"
    r"Lt_GtE|LtE_Gt|Gt_LtE|GtE_Lt|Eq_NotEq|NotEq_Eq|Is_IsNot|IsNot_Is)|NumberReplacer|AddNot|"
    r"Replace(And|Or|True|False|Break|Continue)\w*|ExceptionReplacer|ZeroIterationForLoop)"
)
"""Those of Cosmic Ray whose mutants are worth a run: not, say, + made <<, which no float survives."""

PHASES = [hypothesis.Phase.explicit, hypothesis.Phase.generate]
"""No examples kept from other runs, and no search for a smaller one: one that fails is enough."""

MOST_CPU_TIMES = 5.0
LEAST_CPU_S = 20.0
"""A mutant that takes so many times the tests' processor time, and at least this, never ends: it counts as killed."""

MOST_WAIT = 5.0
"""A mutant whose tests take so many times that limit by the clock waits for something that never comes: killed too."""

MOST_MEMORY_BYTES = 3 * 2**30
"""Of one child. A mutant that needs more is killed as well."""


class Module(NamedTuple):
    """A module to change: its path and its tests' below the root, and what makes no difference, with reasons."""

    path: str
    tests: list[str]
    equivalent: dict[tuple[str, str], str]


def plan() -> dict[str, Module]:
    """The modules of `PLAN` by path."""
    tables = tomllib.loads(PLAN.read_text(encoding="utf-8"))
    return {path: _module(path, table) for path, table in tables.items()}


def _module(path: str, table: dict[str, list[Any]]) -> Module:
    equivalent = {(operator, line): reason for operator, line, reason in table.get("equivalent", [])}
    return Module(path, [f"tests/{test}" for test in table["tests"]], equivalent)


class Mutant(NamedTuple):
    """A changed ``source``: the changed ``line``, its number, and the operator that changed it."""

    number: int
    operator: str
    line: str
    source: str


def mutants(path: str) -> list[Mutant]:
    """All mutants of the module at ``path`` but those of decorators and annotations, which change no behaviour."""
    source = Path(path).read_text(encoding="utf-8")
    found = []
    for name in filter(OPERATORS.fullmatch, cosmic_ray.plugins.operator_names()):
        operator = cosmic_ray.plugins.get_operator(name)()
        places = [node for node in ast_nodes(get_ast(source)) for _ in operator.mutation_positions(node)]
        for occurrence, node in enumerate(places):
            changed = mutate_code(source, operator, occurrence)
            number, line = _changed_line(source, changed)
            if not line.startswith("@") and not _in_annotation(node):
                found.append(Mutant(number, name.removeprefix("core/"), line, changed))
    return sorted(found)


def _in_annotation(node: NodeOrLeaf) -> bool:
    """Whether ``node`` stands in the annotation of a parameter, a result or a variable."""
    above = node.parent
    while above is not None:
        if above.type == "tfpdef" or (above.type == "funcdef" and above.annotation is node):
            return True
        if above.type == "annassign" and above.children[1] is node:
            return True
        node, above = above, above.parent
    return False


def _changed_line(before: str, after: str) -> tuple[int, str]:
    lines = zip(before.splitlines(), after.splitlines(), strict=False)
    return next((n, " ".join(new.split())) for n, (old, new) in enumerate(lines, 1) if old != new)


class _Changed(importlib.machinery.SourceFileLoader):
    """Loads a module from ``code`` in place of its file."""

    code: CodeType

    def get_code(self, fullname: str) -> CodeType:
        return self.code


class _Finder(importlib.abc.MetaPathFinder):
    """Finds ``source`` where the module at ``path`` is asked for."""

    def __init__(self, path: str, source: str) -> None:
        self._file = str(Path("prefine", path).absolute())
        self._name = "prefine." + path.removesuffix(".py").replace("/", ".")
        self._code = compile(source, self._file, "exec")

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._name:
            return None
        loader = _Changed(fullname, self._file)
        loader.code = self._code
        return importlib.util.spec_from_file_location(fullname, self._file, loader=loader)


def _run_tests(module: Module, mutant: Mutant | None, cpu_s: float) -> int:
    """Run the tests of ``module`` in a child process, with ``mutant`` in its place if any; 0: they passed."""
    child = os.fork()
    if child:
        try:
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        except BaseException:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise
        finally:
            with suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)  # what its tests started and left behind
    code = 1
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.setsid()
        resource.setrlimit(resource.RLIMIT_CPU, (int(cpu_s), int(cpu_s) + 5))
        signal.alarm(int(MOST_WAIT * cpu_s))
        resource.setrlimit(resource.RLIMIT_DATA, (MOST_MEMORY_BYTES, MOST_MEMORY_BYTES))
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        if mutant is not None:
            sys.meta_path.insert(0, _Finder(module.path, mutant.source))
        hypothesis.settings.register_profile("mutants", derandomize=True, database=None, deadline=None, phases=PHASES)
        hypothesis.settings.load_profile("mutants")
        code = int(pytest.main(["-x", "--assert=plain", "-p", "no:cacheprovider", "-p", "no:xdist", *module.tests]))
    finally:
        os._exit(code)


class Score(NamedTuple):
    """What became of the mutants of a module; ``lost`` ones were ended from outside, as where memory runs out."""

    path: str
    killed: int
    alive: int
    lost: int
    equivalent: int
    duration_s: float

    def line(self) -> str:
        """A line of the table."""
        tried = self.killed + self.alive
        share = f"{self.killed / tried:.0%}" if tried else "-"
        return (
            f"{self.path:40} {self.killed:6d} {tried:6d} {share:>6} {self.lost:6d} {self.equivalent:10d} "
            f"{self.duration_s:8.0f}"
        )


HEADER = f"{'module':40} {'killed':>6} {'tried':>6} {'score':>6} {'lost':>6} {'equivalent':>10} {'seconds':>8}"


def score(module: Module, most: int, seed: int) -> Score:
    """Try the mutants of ``module`` and print what survives. Exits where its tests fail on the module as it is."""
    begin_s, before_s = time.monotonic(), _children_cpu_s()
    if _run_tests(module, None, 600.0):
        raise SystemExit(f"{module.path}: its tests fail before anything is changed")
    limit_s = max(LEAST_CPU_S, MOST_CPU_TIMES * (_children_cpu_s() - before_s))
    found = mutants(module.path)
    tried = [mutant for mutant in found if (mutant.operator, mutant.line) not in module.equivalent]
    for _, line in module.equivalent.keys() - {(mutant.operator, mutant.line) for mutant in found}:
        print(f"  {module.path}: no such mutant any more: {line}", flush=True)
    draw = random.Random(f"{seed} {module.path}")  # noqa: S311 - a sample of mutants, no secret
    chosen = sorted(draw.sample(tried, most)) if 0 < most < len(tried) else tried
    alive = lost = 0
    for mutant in chosen:
        code = _run_tests(module, mutant, limit_s)
        alive, lost = alive + (code == 0), lost + (code == -signal.SIGKILL)
        if code in {0, -signal.SIGKILL}:
            what = "lost" if code else "alive"
            print(f"  {module.path}:{mutant.number} {what}: {mutant.operator}: {mutant.line}", flush=True)
    killed, equivalent = len(chosen) - alive - lost, len(found) - len(tried)
    return Score(module.path, killed, alive, lost, equivalent, time.monotonic() - begin_s)


def _children_cpu_s() -> float:
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime


@contextmanager
def _clone() -> Iterator[None]:
    """Work in a clone of the last commit; it and what the tests write for themselves are removed at the end."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        clone = Path(folder, "prefine")
        subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
        os.chdir(clone)
        sys.path.insert(0, str(clone))
        os.environ["TMPDIR"] = tempfile.tempdir = folder
        try:
            yield
        finally:
            os.chdir(ROOT)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """Read the command line, try the mutants and print the table; exit with 130 where that was interrupted."""
    os.chdir(ROOT)
    known = plan()
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "modules", nargs="*", metavar="MODULE", help="all, or their paths as in benchmarks/mutants.toml"
    )
    parser.add_argument("--most", type=int, default=10, help="mutants of each module, 0 for all of them")
    parser.add_argument("--seed", type=int, default=0, help="of the sample of mutants")
    parser.add_argument("--clone", action="store_true", help="work in a temporary clone of the last commit")
    options = parser.parse_args()
    if unknown := [path for path in options.modules if path not in known]:
        parser.error(f"{unknown[0]}: not in {PLAN}, which has {', '.join(known)}")
    sys.dont_write_bytecode = True
    signal.signal(signal.SIGTERM, _interrupt)
    scores: list[Score] = []
    with _clone() if options.clone else nullcontext():
        try:
            modules = plan()
            for path in options.modules or modules:
                scores.append(score(modules[path], options.most, options.seed))
                print(scores[-1].line(), flush=True)
        except KeyboardInterrupt:
            raise SystemExit(130) from None
        finally:
            print("\n".join([HEADER, *(each.line() for each in scores)]))
            print(f"largest test process: {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024} MiB")


if __name__ == "__main__":
    main()
