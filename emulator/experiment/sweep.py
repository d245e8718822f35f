"""Which runs a comparison has: every policy with every seed, in each combination of the values of varied keys."""

import itertools
import math
import tomllib
from collections.abc import Iterable, Sequence
from typing import Any

from prefine.emulator.analysis.entries import Varied
from prefine.emulator.errors import InfeasibleError, InputError, PolicyError
from prefine.emulator.experiment.job import Job
from prefine.emulator.loading import installed, own_file
from prefine.emulator.plugins import POLICY, Part, make_policy
from prefine.emulator.scenario.scenario import parse_value
from prefine.emulator.scenario.source import Source
from prefine.emulator.text import unknown

MOST_SEEDS = 1_000_000

MOST_SCENARIOS = 1_000_000


def parse_vary(text: str) -> tuple[str, tuple[object, ...]]:
    """``KEY=V1,V2,...`` as a key and its values, each read as TOML would; a bare word is a string.

    Raises InputError where there is no key, no value, or a value twice.

    >>> parse_vary("budget.delay_s=10,20.5")
    ('budget.delay_s', (10, 20.5))
    >>> parse_vary("channel.model=static,rayleigh")
    ('channel.model', ('static', 'rayleigh'))
    """
    key, equals, listed = (part.strip() for part in text.partition("="))
    if not equals or not key or not listed:
        raise InputError(f"--vary {text}: must be KEY=V1,V2,..., such as budget.delay_s=10,20,40")
    values = _values(text, listed)
    if "" in values:
        raise InputError(f"--vary {text}: a value is missing between two commas")
    for index, value in enumerate(values):
        if value in values[:index]:
            raise InputError(f"--vary {text}: {value} is there twice")
    return key, tuple(values)


def _values(text: str, listed: str) -> list[Any]:
    """As a TOML array, so that strings and lists may hold commas; bare words are split at every comma."""
    try:
        tree = tomllib.loads(f"values = [{listed}]")
    except RecursionError:
        raise InputError(f"--vary {text}: is nested too deep") from None
    except ValueError:
        if set(listed) & set("\"'[]{}"):
            raise InputError(f"--vary {text}: the values are no TOML; where one is quoted, quote every word") from None
        return [parse_value(value.strip()) for value in listed.split(",")]
    values: list[Any] = tree["values"]
    return values


def combinations(vary: Sequence[str], *, pairs: bool = False) -> list[Varied]:
    """All combinations of the values in the ``KEY=V1,V2,...`` texts, the last key varying fastest.

    With ``pairs``, the first values of all keys together, then the second ones, and so on. Raises InputError where a
    text is malformed, a key is there twice, or pairs cannot be made because the numbers of values differ.
    """
    parsed = [parse_vary(text) for text in vary]
    keys = [key for key, _ in parsed]
    for key in keys:
        if keys.count(key) > 1:
            raise InputError(f"--vary {key}: is varied twice; name all its values once")
    if pairs and len({len(values) for _, values in parsed}) > 1:
        counts = ", ".join(f"{key} has {len(values)}" for key, values in parsed)
        raise InputError(f"--zip: every key needs the same number of values, but {counts}")
    if not pairs and math.prod(len(values) for _, values in parsed) > MOST_SCENARIOS:
        raise InputError(f"--vary: at most {MOST_SCENARIOS} combinations can be swept")
    rows = zip(*(values for _, values in parsed), strict=True) if pairs else itertools.product(*(v for _, v in parsed))
    return [tuple(zip(keys, row, strict=True)) for row in rows]


def jobs_of(
    source: Source, vary: Sequence[str], policies: Sequence[Part], seeds: Sequence[int], *, pairs: bool = False
) -> list[Job]:
    """The jobs of a comparison, scenario by scenario, policy by policy.

    Raises InputError where a key, a value or a combination of them makes no scenario, or one for unknown policies.
    """
    scenarios = [(row, _varied(source, row)) for row in combinations(vary, pairs=pairs)]
    for _, each in scenarios:
        check_parameters(each, policies)
    return [Job(each, part, seed, row) for row, each in scenarios for part in policies for seed in seeds]


def _varied(source: Source, row: Varied) -> Source:
    """The scenario with the values of ``row``; raises InputError, which blames ``--vary``."""
    try:
        return source.overridden(dict(row))
    except InputError as error:
        raise InputError(f"--vary {str(error).removeprefix('override ')}") from error


def seeds_of(seeds: int | Sequence[int]) -> list[int]:
    """``seeds``, or the seeds 0, 1, ... of which ``seeds`` is the number; raises InputError for none or negative."""
    if isinstance(seeds, int) and seeds > MOST_SEEDS:
        raise InputError(f"seeds = {seeds}: at most {MOST_SEEDS} seeds can be compared")
    chosen = list(range(seeds)) if isinstance(seeds, int) else list(dict.fromkeys(seeds))
    if not chosen or min(chosen) < 0:
        raise InputError(f"seeds = {seeds}: at least one seed is needed, and none may be negative")
    if max(chosen) >= 2**63:
        raise InputError(f"seed = {max(chosen)}: must be below 2**63")
    return chosen


def reference_of(source: Source, reference: str | None, policies: Sequence[Part]) -> Part:
    """The policy to compare with: as asked, else the scenario's if it takes part, else the first.

    Raises InputError where the one asked for, by name or label, is not among ``policies``.
    """
    wanted = source.scenario.compare.reference if reference is None else reference
    for part in policies:
        if wanted in (part.name, part.label):
            return part
    if reference is not None:
        raise InputError(unknown(f"reference {reference!r}", reference, [part.label for part in policies]))
    return policies[0]


def check_parameters(source: Source, policies: Sequence[Part]) -> None:
    """Raises InputError where the scenario has a table ``[policies.NAME]`` of a policy that there is not.

    It may be one that takes no part now: one that is installed, or one in a file of the user's.
    """
    check_policies(source.scenario.policies, policies)


def check_policies(names: Iterable[str], policies: Sequence[Part]) -> None:
    """Raises InputError where one of ``names`` is neither of ``policies``, nor installed, nor in a user's file."""
    known = list(dict.fromkeys((*(part.name for part in policies), *installed(POLICY.group))))
    for name in names:
        if name not in known and not own_file(name):
            raise InputError(unknown(f"policies.{name}: policy {name!r}", name, known))


def check_feasible(source: Source, policies: Sequence[Part]) -> None:
    """Raises InputError where none of the policies can afford one round; one that fails otherwise is a failed run."""
    world, errors = source.world(), []
    for part in policies:
        try:
            world.plan(part.name, make_policy(part, source.scenario.policies.get(part.name, {})))
        except InfeasibleError as error:
            errors.append(error)
        except PolicyError:  # its runs will say so
            continue
    if errors and len(errors) == len(policies):
        raise errors[0]
