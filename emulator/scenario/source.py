"""Where scenarios come from: a file, a bundled one by name, TOML text, a dictionary; and the world of each."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from hashlib import sha256
from importlib import resources
from pathlib import Path
from typing import Any

from prefine.emulator.channel.interference import interference_of
from prefine.emulator.channel.tracefile import trace_of
from prefine.emulator.dependencies import Sources
from prefine.emulator.errors import InputError
from prefine.emulator.files import Files, is_there
from prefine.emulator.identity import program
from prefine.emulator.loading import installed_sources, own_modules, sources
from prefine.emulator.options import DEFAULT
from prefine.emulator.plugins import CHANNEL, WORKLOAD, Part, part
from prefine.emulator.scenario.scenario import (
    Overrides,
    Scenario,
    overridden_scenario,
    parse_scenario,
    with_values,
)
from prefine.emulator.scenario.training import ALGORITHMS
from prefine.emulator.simulation.availability import availability_of
from prefine.emulator.text import did_you_mean, unknown
from prefine.emulator.world import World

UNNAMED = "scenario"
SUFFIX = ".toml"
WORLDS_KEPT = 4
"""Per process. Jobs come scenario by scenario, so few worlds are alive at once."""


@dataclass(frozen=True, eq=False)
class Source:
    """A scenario with the files it names. Sources with the same content are equal and have one world in a process.

    ``workload`` and ``channel`` are parts from Python, in place of those that the scenario names.
    """

    scenario: Scenario
    files: Files
    name: str
    workload: Part | None = None
    channel: Part | None = None

    @property
    def own(self) -> tuple[Part, ...]:
        """The parts from Python."""
        return tuple(each for each in (self.workload, self.channel) if each is not None)

    @cached_property
    def checksums(self) -> tuple[tuple[str, str], ...]:
        """SHA-256 of each of the user's files the scenario reads, by the name the scenario gives it.

        Code counts with all that it imports from outside the installed packages.

        Raises InputError where a trace is missing or malformed, PrefineError where a file has changed on the way to
        a worker.
        """
        scenario, task = self.scenario, self.scenario.task
        trace, availability = scenario.channel.trace, scenario.faults.availability
        interference = scenario.radio.interference_file
        if trace is not None:
            self.files.parsed(trace, trace_of)
        if availability is not None:
            self.files.parsed(availability, availability_of, scenario.device_count)
        if interference is not None:
            self.files.parsed(interference, interference_of)
        code = [os.path.relpath(path, self.files.folder) for each in self._code for _, path in each.files]
        named = (trace, availability, interference, task.data)
        found = [name for name in named if name and is_there(self.files.folder / name)]
        return tuple((name, self.files.checksum(name)) for name in dict.fromkeys([*found, *code]))

    @cached_property
    def _code(self) -> tuple[Sources, ...]:
        """The files behind each part in a file of the user's own."""
        scenario = self.scenario
        task = scenario.task
        parts = (task.data, task.model, task.workload, scenario.channel.model, scenario.training.algorithm)
        return tuple(sources(spec, self.files.folder) for spec in parts)

    @cached_property
    def _installed(self) -> Mapping[str, Sources]:
        """The files behind each part that another distribution brings, by its name."""
        scenario = self.scenario
        parts = (
            (WORKLOAD.group, scenario.task.workload),
            (CHANNEL.group, scenario.channel.model),
            (ALGORITHMS, scenario.training.algorithm),
        )
        return {f"{group} {name}": found for group, name in parts if (found := installed_sources(name, group)).files}

    @property
    def lasting(self) -> bool:
        """Whether `checksums` cover every file that the scenario's parts are made of."""
        code = (*self._code, *self._installed.values())
        return not any(each.is_open for each in code) and all(each.lasting for each in self.own)

    @cached_property
    def content(self) -> Mapping[str, object]:
        """Everything that determines what happens in the world, fit for JSON.

        What only selects or describes (names, the list of policies, seeds) is left out.
        """
        scenario = self.scenario.model_dump(
            mode="json",
            exclude={
                "name": True,
                "description": True,
                "policies": True,
                "gym": True,
                "compare": {"policies", "reference", "seeds", "targets"},
            },
        )
        own = {each.kind.noun: each.identity for each in self.own}
        own |= {name: found.digest() for name, found in self._installed.items()}
        return {"scenario": scenario, "own": own, "inputs": dict(self.checksums), **program()}

    @cached_property
    def identity(self) -> str:
        """Digest of everything the world follows from."""
        parts = self.scenario.model_dump_json(), self.files.folder.as_posix(), json.dumps(self.checksums)
        own = [f"{each.kind.noun} {each.identity}" for each in self.own]
        return sha256("\0".join([*parts, *own]).encode()).hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Source) and other.identity == self.identity

    def __hash__(self) -> int:
        return hash(self.identity)

    def __reduce__(self) -> tuple[Any, ...]:
        return _arrived, (self.scenario, self.files.folder, self.checksums, self.name, self.workload, self.channel)

    def world(self) -> World:
        """The scenario with its files read: one world for all who ask in this process."""
        return _world(self)

    @property
    def modules(self) -> tuple[str, ...]:
        """What is imported wherever the scenario is run: of ours, and by whoever runs it anyway."""
        return own_modules(self.scenario.task.workload, WORKLOAD.group) if self.workload is None else ()

    def origin(self) -> tuple[str, ...]:
        """The header comments of the channel trace: where it came from and how it was made."""
        trace = self.scenario.channel.trace
        return () if trace is None else self.files.parsed(trace, trace_of).provenance

    def overridden(self, overrides: Overrides) -> "Source":
        """The same with ``overrides``; raises InputError where that is no scenario."""
        if not overrides:
            return self
        return replace(self, scenario=with_values(self.scenario, overrides, self.name, self.files.folder))


@lru_cache(maxsize=WORLDS_KEPT)
def _world(source: Source) -> World:
    return World(source.scenario, source.files, lambda: source.content, source.workload, source.channel)


def _arrived(
    scenario: Scenario, folder: Path, checksums: tuple[tuple[str, str], ...], name: str, *own: Part | None
) -> Source:
    """A source in the process it was sent to, which reads the files itself, once for all sources that name them."""
    return Source(scenario, _files(folder, checksums), name, *own)


@lru_cache(maxsize=WORLDS_KEPT)
def _files(folder: Path, checksums: tuple[tuple[str, str], ...]) -> Files:
    return Files(folder, dict(checksums))


def bundled() -> tuple[str, ...]:
    """The names of the bundled scenarios."""
    folder = Path(str(resources.files("prefine.scenarios")))
    return tuple(sorted(path.name.removesuffix(SUFFIX) for path in folder.glob(f"*{SUFFIX}")))


def bundled_text(name: str) -> str:
    """The text of a bundled scenario. Raises InputError where there is none of that name."""
    if name not in bundled():
        raise InputError(unknown(f"bundled scenario {name!r}", name, bundled()))
    return (Path(str(resources.files("prefine.scenarios"))) / f"{name}{SUFFIX}").read_text(encoding="utf-8")


def read_source(
    where: "str | Path | Mapping[str, Any] | Source | None" = None,
    overrides: Overrides = (),
    workload: object = None,
    channel: object = None,
) -> Source:
    """The scenario ``where``, with ``overrides`` on top.

    ``where`` is the path of a TOML file, the name of a bundled scenario, TOML text (of more than one line), a
    dictionary of sections, a source that was read already, or None for the bundled default. Paths in a scenario start
    from its file's folder; in text, dictionaries and overrides, from the working directory. ``workload`` is a workload
    from Python: a class that takes what `prefine.models.workload.Workload` takes, or an instance. ``channel`` is a
    channel from Python: a class that takes the devices' distances and the run's seed, or an instance. Raises InputError
    where any of it is wrong.
    """
    source = where.overridden(overrides) if isinstance(where, Source) else _read(where, overrides)
    if workload is not None:
        source = replace(source, workload=part(WORKLOAD, workload))
    return source if channel is None else replace(source, channel=part(CHANNEL, channel))


def _read(where: str | Path | Mapping[str, Any] | None, overrides: Overrides) -> Source:
    if isinstance(where, Mapping):
        return _named(overridden_scenario(_plain(where), overrides, UNNAMED), Path.cwd(), UNNAMED)
    if isinstance(where, str) and "\n" in where:
        return _named(parse_scenario(where, UNNAMED, overrides), Path.cwd(), UNNAMED)
    path = _find(DEFAULT if where is None else where)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as text ({error})") from error
    return _named(parse_scenario(text, str(path), overrides, path.parent), path.parent, str(path))


def _named(scenario: Scenario, folder: Path, source: str) -> Source:
    """Without a name of its own a scenario goes by its file's, with what no name may hold left out."""
    stem = re.sub(r"[^\w .-]", "", Path(source).stem, flags=re.ASCII).lstrip(" .-")[:100]
    titled = scenario if scenario.name else scenario.model_copy(update={"name": stem or UNNAMED})
    return Source(titled, Files(folder), source)


def _plain(value: Any) -> Any:
    """``value`` with NumPy's numbers and arrays as Python's own."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value.tolist() if hasattr(value, "tolist") else value


def _find(where: str | Path) -> Path:
    path = Path(where)
    if is_there(path) and path.is_file():
        return path
    if str(where) in bundled():
        return Path(str(resources.files("prefine.scenarios"))) / f"{where}{SUFFIX}"
    meant = did_you_mean(str(where), bundled())
    raise InputError(f"scenario {where}: no such file, nor is it bundled ({', '.join(bundled())}){meant}")
