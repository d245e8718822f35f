"""Where scenarios come from: a path, the name of a bundled one, or the bundled default."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from prefine.emulator.channel.tracefile import read_trace
from prefine.emulator.errors import InputError
from prefine.emulator.experiment.job import Job
from prefine.emulator.files import checksum
from prefine.emulator.loading import own_file
from prefine.emulator.scenario.scenario import Scenario, parse_scenario, with_values
from prefine.emulator.simulation.availability import read_availability
from prefine.emulator.world import World

DEFAULT = "default"
SUFFIX = ".toml"


@dataclass(frozen=True)
class Source:
    """A scenario with the folder its relative paths start from."""

    scenario: Scenario
    folder: Path
    name: str

    def world(self) -> World:
        """The scenario with its files read."""
        return World(self.scenario, self.folder)

    def inputs(self) -> tuple[tuple[str, str], ...]:
        """SHA-256 of each of the user's files the scenario reads, by the name the scenario gives it.

        Raises InputError where a trace is missing or malformed.
        """
        trace, availability = self.scenario.channel.trace, self.scenario.faults.availability
        if trace is not None:
            read_trace(self.folder / trace)
        if availability is not None:
            read_availability(self.folder / availability, self.scenario.device_count)
        task, channel, training = self.scenario.task, self.scenario.channel, self.scenario.training
        code = (own_file(spec) for spec in (task.model, task.workload, channel.model, training.algorithm))
        names = (trace, availability, task.data, *code)
        return tuple((name, checksum(self.folder / name)) for name in names if name and (self.folder / name).exists())

    def origin(self) -> tuple[str, ...]:
        """The header comments of the channel trace: where it came from and how it was made."""
        trace = self.scenario.channel.trace
        return () if trace is None else read_trace(self.folder / trace).provenance

    def varied(self, values: tuple[tuple[str, object], ...]) -> "Source":
        """The same with dotted keys set to ``values``."""
        return Source(with_values(self.scenario, dict(values), self.name), self.folder, self.name)

    def jobs(
        self, policies: Sequence[str], seeds: Sequence[int], varied: tuple[tuple[str, object], ...] = ()
    ) -> list[Job]:
        """Every policy with every seed, policy by policy."""
        inputs = self.inputs()
        return [Job(self.scenario, self.folder, policy, seed, varied, inputs) for policy in policies for seed in seeds]


def bundled() -> tuple[str, ...]:
    """The names of the bundled scenarios."""
    folder = Path(str(files("prefine.scenarios")))
    return tuple(sorted(path.name.removesuffix(SUFFIX) for path in folder.glob(f"*{SUFFIX}")))


def bundled_text(name: str) -> str:
    """The text of a bundled scenario. Raises InputError where there is none of that name."""
    if name not in bundled():
        raise InputError(f"scenario {name!r} is not bundled, allowed: {', '.join(bundled())}")
    return (Path(str(files("prefine.scenarios"))) / f"{name}{SUFFIX}").read_text(encoding="utf-8")


def read_source(where: str | Path | None = None, overrides: Sequence[str] = ()) -> Source:
    """The scenario at path ``where``, or the bundled one of that name, or the bundled default.

    Raises InputError where there is none or it is wrong.
    """
    path = _find(DEFAULT if where is None else where)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as text ({error})") from error
    scenario = parse_scenario(text, str(path), overrides)
    if not scenario.name:
        scenario = scenario.model_copy(update={"name": path.stem})
    return Source(scenario, path.parent, str(path))


def _find(where: str | Path) -> Path:
    path = Path(where)
    if path.is_file():
        return path
    if str(where) in bundled():
        return Path(str(files("prefine.scenarios"))) / f"{where}{SUFFIX}"
    raise InputError(f"scenario {where}: no such file, nor is it bundled ({', '.join(bundled())})")
