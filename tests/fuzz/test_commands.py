"""Values from anywhere, through the command line: ``--set``, ``--vary``, problem files, plug-ins, whole scenarios.

Each is done or refused in one printable line, within a time limit. What is planned is also run, now and then: what a
run cannot do is a failed row with its reason, and that reason is none of Python's own.
"""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from prefine.emulator.errors import PrefineError
from prefine.emulator.experiment.attempts import attempt
from prefine.emulator.experiment.job import Job, execute
from prefine.emulator.plugins import policy_parts
from prefine.emulator.problem_file import problem_document
from prefine.emulator.scenario.scenario import Scenario
from prefine.emulator.scenario.source import read_source
from tests.emulator.scenario.small import SMALL
from tests.emulator.simulation.worlds import problem
from tests.fuzz.command_line import LONGEST_S, Tally, within, written
from tests.fuzz.effort import examples

HOSTILE = (
    "0", "-1", "1", "2", "3", "0.5", "1e-40", "1e40", "1e41", "1e-41", "1e300", "5e-324", "-0.0", "nan", "inf",
    "-inf", "true", "false", "9" * 400, "9" * 5000, "0x10", "1_000", "[]", "{}", "[1]", "[1, 2, 3]",
    "[1e40, 1e-40, 1.0]", "[[1]]", "{low = 1, high = 2}", "{low = 2.0, high = 1.0}", "{low = 0.0, high = 1e40}",
    "{a = 1}", "'x'", "''", "' '", "'/'", "'..'", "'../../x'", "'a\\u0000b'", '"a\\u0000b"', '"[/x]"',
    '"\\u001b[31m"', '"\\u2028"', "'" + "x" * 5000 + "'", "'s.toml'", "'.'", "'none.py:X'", "'s.toml:X'", "'\udcff'",
    "1979-05-27", "07:32:00", "joint", "uniform", "static", "rayleigh", "trace", "tdma", "ofdma", "fdma", "estimate",
    "target", "unicast", "broadcast", "dirichlet", "source", "digits", "cars", "fedavg", "mlp", "cnn",
    "semi-synchronous", "[" * 300, "1e9", "1000000000", "1000001", "100", "0.1", "10.0", "1e5",
)  # fmt: skip
"""Values of a key, as they would be written after ``--set KEY=``."""


def _keys() -> dict[str, tuple[str, ...]]:
    """Every dotted key that a scenario may have, and some that it may not, with the words that it knows."""
    schema = Scenario.model_json_schema()
    found: dict[str, tuple[str, ...]] = dict.fromkeys(("policies.nobody.x", "nothing", "a" * 5000), ())
    found |= dict.fromkeys(("policies.uniform.batch", "policies.uniform.share"), ())

    def walk(node: Any, key: str) -> None:
        if "$ref" in node:
            walk(schema["$defs"][node["$ref"].rpartition("/")[2]], key)
        for choice in (*node.get("anyOf", ()), *node.get("oneOf", ())):
            walk(choice, key)
        words = node.get("enum", [node["const"]] if "const" in node else [])
        found[key] = (*found.get(key, ()), *map(str, words))
        for name, inner in node.get("properties", {}).items():
            walk(inner, f"{key}.{name}" if key else name)

    walk(schema, "")
    return {key: words for key, words in found.items() if key}


KNOWN = _keys()
KEYS = list(KNOWN)
BASES = (
    (),
    ("radio.access=tdma", "radio.slot_s=0.1"),
    ("channel.model=rayleigh", "radio.power_control=target"),
    ("faults.battery_j=0.5", "faults.round_deadline_s=1.0"),
    ("aggregation.mode=semi-synchronous", "aggregation.buffer=2"),
    ("aggregation.mode=asynchronous", "aggregation.buffer=2", "aggregation.until=budget"),
)


def _value(key: str, random: Random) -> str:
    """Something for ``key``: now anything, now what it might well be."""
    if random.random() < 0.4:
        return random.choice(HOSTILE)
    if KNOWN[key]:
        return random.choice(KNOWN[key])
    return random.choice(
        (f"{10.0 ** random.uniform(-4, 4):.3g}", str(random.randrange(1, 9)), f"{random.random():.3f}")
    )


def _settings(random: Random) -> list[str]:
    keys = random.choices(KEYS, k=random.choice((1, 1, 1, 2, 3)))
    return [*random.choice(BASES), *(f"{key}={_value(key, random)}" for key in keys)]


def _own_mistake(reason: str) -> bool:
    """Whether a failed row's reason is an exception that nobody foresaw."""
    return re.search(r"\(\w+\.py, line \d+\)$", reason) is not None


def _run(overrides: list[str], folder: Path) -> str:
    """Run what was planned; why it failed, empty where it did not."""
    try:
        job = Job(read_source(str(folder / "s.toml"), overrides), policy_parts("uniform")[0], 0)
        result = attempt(execute, job).run
    except PrefineError as error:
        return str(error)
    return result.stop_reason if result.status == "failed" else ""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    written(tmp_path / "s.toml", SMALL)
    return tmp_path


def test_any_value_of_any_key_is_planned_and_run_or_refused_in_one_line(folder: Path) -> None:
    random, tally = Random(1), Tally("--set")  # noqa: S311  # damage, not secrets
    for _ in range(examples(20, 4000)):
        overrides = _settings(random)
        arguments = ["plan", "s.toml", "--policy", "uniform", *(word for each in overrides for word in ("--set", each))]
        ended = tally.command(arguments)
        if ended.status == 0 and random.random() < 0.1 and not any("e40" in each or "e9" in each for each in overrides):
            with within(LONGEST_S):
                reason = _run(overrides, folder)
            tally.require(not _own_mistake(reason), reason, overrides)
    tally.close()


def test_any_values_to_vary_are_refused_in_one_line_or_combined(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to where the runs would begin: those are another test's."""
    begun: list[object] = []

    def begin(jobs: Any, *_: Any) -> None:
        begun.append(len(jobs))
        raise SystemExit(0)

    monkeypatch.setattr("prefine.emulator.api.run_many", begin)
    random, tally = Random(2), Tally("--vary")  # noqa: S311  # damage, not secrets
    for _ in range(examples(20, 1500)):
        keys = random.choices(KEYS, k=random.choice((1, 1, 2)))
        varied = [f"{key}={','.join(_value(key, random) for _ in range(random.choice((1, 2, 3))))}" for key in keys]
        words = [word for each in varied for word in ("--vary", each)]
        arguments = ["sweep", "s.toml", "--policies", "uniform", "--seeds", "1", "--out", "o", *words]
        tally.command(arguments)
    tally.close()
    assert begun


def _numbers(document: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in a JSON document, as what holds it and the key or index there."""
    places = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in list(places):
        yield document, key
        if isinstance(value, dict | list):
            yield from _numbers(value)


ODD_VALUES: tuple[Callable[[Random], object], ...] = (
    lambda random: 10.0 ** random.uniform(-40, 40),
    lambda random: 10.0 ** random.uniform(-40, 40),
    lambda random: 10.0 ** random.uniform(-3, 3),
    lambda random: random.choice((0, -1.0, 1e-40, 1e40, 1e41, 10**400, True, None, "x", [], {}, [1.0, 2.0], "[/x]")),
)


def test_any_number_in_a_problem_is_planned_for_or_refused_in_one_line(folder: Path) -> None:
    original = json.dumps(problem_document(problem(3)))
    policies = (
        "joint",
        "finetune-only",
        "fixed-batch",
        "fixed-share",
        "joint-simple",
        "uniform",
        "min-delay",
        "fedl",
        "random",
    )
    random, tally = Random(3), Tally("problem numbers")  # noqa: S311  # damage, not secrets
    for _ in range(examples(10, 1000)):
        document = json.loads(original)
        for _ in range(random.choice((1, 1, 2))):
            holder, key = random.choice(list(_numbers(document)))
            holder[key] = random.choice(ODD_VALUES)(random)
        written(folder / "p.json", json.dumps(document))
        arguments = ["plan", "--problem", "p.json", "--policy", random.choice(policies)]
        tally.command(arguments, document)
    tally.close()


DEEDS = (
    "import sys; sys.exit(0)", "raise SystemExit", "raise BaseException('x')", "raise GeneratorExit",
    "raise StopIteration", "1 / 0", "raise MemoryError", "raise ValueError('a\\nb\\x1b[31m\\u2028[/x]')",
    "raise ValueError('x' * 9000)", "return None", "return 5", "return self", "def f(): f()\n        f()",
    "raise type('E', (Exception,), {'__str__': lambda s: 1 / 0})",
    "raise type('E', (BaseException,), {'__str__': lambda s: 5})",
    "given.devices.gain.setflags(write=True); given.devices.gain[:] = 1", "object.__setattr__(given, 'budget', None)",
    "import no_such_module",  "return __import__('copy').copy(given)",
    "raise OSError(28, 'No space left on device')", "raise BrokenPipeError", "raise EOFError",
    "raise UnicodeDecodeError('utf-8', b'', 0, 1, '\\udcff')", "given.name = 'x'", "return type('Plan', (), {})()",
    "return replace(Uniform().plan(given), pretrain_rounds=10**30)",
    "return replace(Uniform().plan(given), finetune_rounds=float('nan'))",
    "return replace(Uniform().plan(given), server=None)",
    "return replace(Uniform().plan(given), devices='x')",
    "p = Uniform().plan(given); return replace(p, devices=replace(p.devices, batch=[None]))",
    "p = Uniform().plan(given); return replace(p, server=replace(p.server, batch='x'))",
)  # fmt: skip

POLICY = "from dataclasses import replace\nfrom prefine.policies.baselines import Uniform\nclass P(Uniform):\n"
PLACES = {
    "module": POLICY + "    pass\ndef f(self, given):\n        {deed}\nf(None, None)\n",
    "made": POLICY + "    def __init__(self, given=None):\n        {deed}\n",
    "plan": POLICY + "    def plan(self, given):\n        {deed}\n",
    "adapt": POLICY + "    def adapt(self, given):\n        {deed}\n",
    "network": "import torch\nclass P(torch.nn.Module):\n    def forward(self, given):\n        {deed}\n",
    "factory": "def P(given, *_):\n    def f(self, given):\n        {deed}\n    return f(None, given)\n",
    "channel": "class P:\n    def __init__(self, **given):\n        {deed}\n",
}
"""Where a plug-in does its deed."""

KEY_OF = {"network": "task.model", "factory": "task.model", "channel": "channel.model"}


def test_whatever_a_plug_in_does_is_one_line(folder: Path) -> None:
    random, tally = Random(4), Tally("plug-ins")  # noqa: S311  # damage, not secrets
    for number in range(examples(12, 600)):
        place, deed = random.choice(list(PLACES)), random.choice(DEEDS)
        name = f"plug{number}.py"
        written(folder / name, PLACES[place].format(deed=deed))
        policy = "uniform" if place in KEY_OF else f"{name}:P"
        chosen = ["--set", f"{KEY_OF[place]}='{name}:P'"] if place in KEY_OF else []
        arguments = ["plan", "s.toml", "--policy", policy, *chosen]
        if tally.command(arguments, (place, deed)).status == 0:
            job = Job(read_source("s.toml", chosen[1:]), policy_parts(policy)[0], 0)
            with within(LONGEST_S):
                attempt(execute, job)
    tally.close()
