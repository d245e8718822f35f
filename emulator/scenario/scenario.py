"""A scenario: the TOML text a user writes, checked line by line into one frozen record."""

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any, Self

import numpy as np
from pydantic import Field, ValidationError, model_validator

from prefine.emulator.channel.models import ChannelModel, Static
from prefine.emulator.complaints import complaint
from prefine.emulator.errors import InputError
from prefine.emulator.scenario.hardware import DeviceSettings, DevicesSettings, Fleet, ServerSettings
from prefine.emulator.scenario.learning import LearningSettings
from prefine.emulator.scenario.paths import from_here, policies_from
from prefine.emulator.scenario.population import PopulationSettings, misfits
from prefine.emulator.scenario.radio import RadioSettings
from prefine.emulator.scenario.study import BudgetSettings, CompareSettings, GymSettings
from prefine.emulator.scenario.task import TaskSettings
from prefine.emulator.scenario.training import TrainingSettings
from prefine.emulator.section import Name, Section, Seed
from prefine.emulator.simulation.aggregation import Aggregation, Asynchronous, SemiSynchronous, Synchronous
from prefine.emulator.simulation.faults import Faults
from prefine.emulator.simulation.processor import ProcessorModel

DEFAULT_COUNT = 10
MOST_STEPS = 100

Overrides = Sequence[str] | Mapping[str, Any]
"""``KEY=VALUE`` texts, or dotted keys with their values."""


class Scenario(Section):
    """Everything about a world but the seed of a run.

    ``seed`` fixes what belongs to the world itself: where devices are, which data each has. What happens in it (initial
    model, order of samples, fading, faults) follows the seed of each run.
    """

    name: Name = ""
    description: str = ""
    seed: Seed = 0
    budget: BudgetSettings
    task: TaskSettings = TaskSettings()
    training: TrainingSettings = TrainingSettings()
    server: ServerSettings = ServerSettings()
    devices: DevicesSettings = DevicesSettings()
    device: tuple[DeviceSettings, ...] = ()
    population: PopulationSettings | None = None
    radio: RadioSettings = RadioSettings()
    channel: ChannelModel = Static()
    processor: ProcessorModel = ProcessorModel()
    faults: Faults = Faults()
    aggregation: Aggregation = Synchronous()
    learning: LearningSettings = LearningSettings()
    policies: dict[str, dict[str, Any]] = Field(default_factory=dict)
    compare: CompareSettings = CompareSettings()
    gym: GymSettings = GymSettings()

    @model_validator(mode="after")
    def _counted(self) -> Self:
        if self.device and self.devices.count not in (None, len(self.device)):
            raise ValueError(
                f"devices.count = {self.devices.count}, but there are {len(self.device)} [[device]] tables"
            )
        return self

    @model_validator(mode="after")
    def _aggregable(self) -> Self:
        mode, least = self.aggregation, self.faults.min_participants
        if isinstance(mode, Synchronous):
            return self
        key = "concurrency" if isinstance(mode, Asynchronous) else "buffer"
        if (value := getattr(mode, key) or 0) > self.device_count:
            raise ValueError(f"aggregation.{key} = {value}, but there are {self.device_count} devices")
        if isinstance(mode, Asynchronous) and least > 1:
            raise ValueError(f'faults.min_participants = {least} is of a barrier, aggregation.mode is "{mode.mode}"')
        if isinstance(mode, SemiSynchronous) and (mode.buffer or least) < least:
            raise ValueError(f"aggregation.buffer = {mode.buffer} is below faults.min_participants = {least}")
        return self

    @model_validator(mode="after")
    def _validated(self) -> Self:
        training = self.training
        needing = {
            "keep": training.keep == "best",
            "until_accuracy": training.until_accuracy is not None,
            "until_loss": training.until_loss is not None,
        }
        for key in (key for key, asked in needing.items() if asked):
            if not self.task.validation and self.task.workload == TaskSettings().workload:
                raise ValueError(
                    f"training.{key} = {json.dumps(getattr(training, key))} needs validation samples: set "
                    "task.validation, such as 0.2"
                )
        return self

    @model_validator(mode="after")
    def _populated(self) -> Self:
        for misfit in () if self.population is None else misfits(self, self.population):
            raise ValueError(misfit)
        return self

    @property
    def device_count(self) -> int:
        """K: the number of ``[[device]]`` tables, else ``devices.count``."""
        return len(self.device) or self.devices.count or DEFAULT_COUNT

    @property
    def fleet(self) -> Fleet:
        """The devices that plans are made with, with what their own tables say."""
        return self.fleet_of(self.numbers)

    @property
    def numbers(self) -> Sequence[int]:
        """By which the devices that plans are made with draw what is theirs, (K,)."""
        count = self.device_count
        return range(count) if self.population is None else self.by_distance(self.population.planned(count, self.seed))

    def by_distance(self, clients: Sequence[int]) -> list[int]:
        """``clients`` (K,) in the order in which they sit down: who is near has what was planned for somebody near."""
        order = np.argsort(self.fleet_of(clients).distance_m, kind="stable")
        return [clients[k] for k in order.tolist()]

    def fleet_of(self, numbers: Sequence[int]) -> Fleet:
        """The devices with these ``numbers`` (K,)."""
        return Fleet(self.devices, self.device, numbers, self.seed)


def parse_scenario(text: str, source: str, overrides: Overrides = (), folder: Path = Path()) -> Scenario:
    """The scenario in the TOML ``text`` of ``source``, a file in ``folder``, with ``overrides`` applied.

    Raises InputError: one line with source, key, what is wrong and what is allowed.
    """
    try:
        tree = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{source}: is not valid TOML: {error}") from error
    return overridden_scenario(policies_from(tree, folder), overrides, source, folder)


def overridden_scenario(tree: Mapping[str, Any], overrides: Overrides, source: str, folder: Path = Path()) -> Scenario:
    """The scenario in ``tree``, of ``source`` in ``folder``, with ``overrides`` on top.

    Raises InputError, one line; where an override is to blame, it is named in place of ``source``.
    """
    changed = overridden(tree, overrides, folder)
    try:
        return scenario_of(changed, source)
    except InputError as error:
        said = str(error).removeprefix(f"{source}: ")
        option = "override" if isinstance(overrides, Mapping) else "--set"
        keys = [key.partition("=")[0].strip() for key in overrides]
        place = re.split(r"[\s:=\[]", said, maxsplit=1)[0]
        if any(f"{place}.".startswith(f"{key}.") for key in keys):
            raise InputError(f"{option} {said}") from error
        if not keys or not _is_scenario(tree):
            raise
        around = any(key.startswith(f"{place}.") for key in keys)
        raise InputError(f"{option} {said}" if around else f"{option} {', '.join(keys)}: {said}") from error


def _is_scenario(tree: Mapping[str, Any]) -> bool:
    try:
        scenario_of(tree, "")
    except InputError:
        return False
    return True


def overridden(tree: Mapping[str, Any], overrides: Overrides, folder: Path = Path()) -> Mapping[str, Any]:
    """``tree``, of a scenario in ``folder``, with ``overrides``, whose paths start from the working directory.

    They are ``KEY=VALUE`` texts or dotted keys with their values. Raises InputError.
    """
    given = overrides.items() if isinstance(overrides, Mapping) else map(_assignment, overrides)
    return reduce(lambda t, item: _set(t, item[0], from_here(item[0], item[1], folder)), given, tree)


def scenario_of(tree: Mapping[str, Any], source: str) -> Scenario:
    """The scenario in a tree of tables; raises InputError as `parse_scenario` does."""
    try:
        return Scenario.model_validate_json(json.dumps(tree, default=str))
    except ValidationError as error:
        raise InputError(f"{source}: {complaint(error, Scenario)}") from error
    except (ValueError, RecursionError, TypeError) as error:  # what JSON cannot hold
        raise InputError(f"{source}: is nested too deep, or holds what no scenario can ({error})") from error


def with_values(scenario: Scenario, values: Overrides, source: str, folder: Path = Path()) -> Scenario:
    """``scenario``, of ``folder``, with ``values`` on top; raises InputError as `overridden_scenario` does."""
    return overridden_scenario(scenario.model_dump(mode="json", exclude_unset=True), values, source, folder)


def parse_value(text: str) -> Any:
    """A value as TOML would read it; a bare word is a string.

    >>> parse_value("3.5"), parse_value("rayleigh"), parse_value("[1, 2]")
    (3.5, 'rayleigh', [1, 2])
    """
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
    except (ValueError, RecursionError) as error:
        raise InputError(f"{text}: is nested too deep, or has too many digits") from error


def _assignment(assignment: str) -> tuple[str, Any]:
    key, equals, value = assignment.partition("=")
    if not equals or not key.strip():
        raise InputError(f"--set {assignment}: must be KEY=VALUE, such as budget.delay_s=20")
    return key.strip(), parse_value(value.strip())


def _set(tree: Mapping[str, Any], key: str, value: Any, above: str = "") -> dict[str, Any]:
    """``tree`` with the dotted ``key`` set; ``above`` is where the tree itself stands."""
    if key.count(".") > MOST_STEPS:
        raise InputError(f"{key}: has more than {MOST_STEPS} steps; no key is so deep")
    first, rest = _first_step(key)
    if not rest:
        return {**tree, first: value}
    branch = tree.get(first, {})
    if not isinstance(branch, Mapping):
        raise InputError(f"{above}{key}: {above}{first} is a value, not a table")
    return {**tree, first: _set(branch, rest, value, f"{above}{first}.")}


def _first_step(key: str) -> tuple[str, str]:
    """The first step of a dotted ``key``, and the rest; one with dots of its own is quoted: ``policies."a.py:A".x``."""
    if quoted := re.match(r'"([^"]*)"(?:\.|\Z)', key):
        return quoted[1], key[quoted.end() :]
    step, _, rest = key.partition(".")
    return step, rest
