"""A scenario: the TOML text a user writes, checked line by line into one frozen record."""

import json
import tomllib
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any, Self

from pydantic import Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from prefine.emulator.errors import InputError
from prefine.emulator.scenario.base import Section
from prefine.emulator.scenario.budget import BudgetSettings
from prefine.emulator.scenario.channel import ChannelSettings
from prefine.emulator.scenario.compare import CompareSettings
from prefine.emulator.scenario.devices import DeviceSettings, DevicesSettings
from prefine.emulator.scenario.faults import FaultsSettings
from prefine.emulator.scenario.learning import LearningSettings
from prefine.emulator.scenario.processor import ProcessorSettings
from prefine.emulator.scenario.radio import RadioSettings
from prefine.emulator.scenario.server import ServerSettings
from prefine.emulator.scenario.task import TaskSettings
from prefine.emulator.scenario.training import TrainingSettings

DEFAULT_COUNT = 10

Overrides = Sequence[str] | Mapping[str, Any]
"""``KEY=VALUE`` texts, or dotted keys with their values."""


class Scenario(Section):
    """Everything about a world but the seed of a run.

    ``seed`` fixes what belongs to the world itself: where devices are, which data each has. What happens in it (initial
    model, order of samples, fading, faults) follows the seed of each run.
    """

    name: str = ""
    description: str = ""
    seed: int = Field(default=0, ge=0)
    budget: BudgetSettings
    task: TaskSettings = TaskSettings()
    training: TrainingSettings = TrainingSettings()
    server: ServerSettings = ServerSettings()
    devices: DevicesSettings = DevicesSettings()
    device: tuple[DeviceSettings, ...] = ()
    radio: RadioSettings = RadioSettings()
    channel: ChannelSettings = ChannelSettings()
    processor: ProcessorSettings = ProcessorSettings()
    faults: FaultsSettings = FaultsSettings()
    learning: LearningSettings = LearningSettings()
    policies: dict[str, dict[str, Any]] = Field(default_factory=dict)
    compare: CompareSettings = CompareSettings()

    @model_validator(mode="after")
    def _counted(self) -> Self:
        if self.device and self.devices.count not in (None, len(self.device)):
            raise ValueError(
                f"devices.count = {self.devices.count}, but there are {len(self.device)} [[device]] tables"
            )
        return self

    @property
    def device_count(self) -> int:
        """K: the number of ``[[device]]`` tables, else ``devices.count``."""
        return len(self.device) or self.devices.count or DEFAULT_COUNT


def parse_scenario(text: str, source: str, overrides: Overrides = ()) -> Scenario:
    """The scenario in the TOML ``text`` of ``source``, with ``overrides`` applied.

    Raises InputError: one line with source, key, what is wrong and what is allowed.
    """
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{source}: is not valid TOML: {error}") from error
    return scenario_of(overridden(tree, overrides), source)


def overridden(tree: Mapping[str, Any], overrides: Overrides) -> Mapping[str, Any]:
    """``tree`` with ``overrides``, ``KEY=VALUE`` texts or dotted keys with their values; raises InputError."""
    if isinstance(overrides, Mapping):
        return reduce(lambda t, item: _set(t, *item), overrides.items(), tree)
    return reduce(_override, overrides, tree)


def scenario_of(tree: Mapping[str, Any], source: str) -> Scenario:
    """The scenario in a tree of tables; raises InputError as `parse_scenario` does."""
    try:
        return Scenario.model_validate_json(json.dumps(tree, default=str))
    except ValidationError as error:
        raise InputError(f"{source}: {_first_line(error)}") from error


def with_values(scenario: Scenario, values: Mapping[str, Any], source: str) -> Scenario:
    """``scenario`` with dotted keys set to ``values``; raises InputError where the result is no scenario."""
    tree = scenario.model_dump(mode="json", exclude_unset=True)
    return scenario_of(overridden(tree, values), source)


def parse_value(text: str) -> Any:
    """A value as TOML would read it; a bare word is a string.

    >>> parse_value("3.5"), parse_value("rayleigh"), parse_value("[1, 2]")
    (3.5, 'rayleigh', [1, 2])
    """
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _override(tree: Mapping[str, Any], assignment: str) -> dict[str, Any]:
    key, equals, value = assignment.partition("=")
    if not equals or not key.strip():
        raise InputError(f"--set {assignment}: must be KEY=VALUE, such as budget.delay_s=20")
    return _set(tree, key.strip(), parse_value(value.strip()))


def _set(tree: Mapping[str, Any], key: str, value: Any) -> dict[str, Any]:
    first, _, rest = key.partition(".")
    if not rest:
        return {**tree, first: value}
    branch = tree.get(first, {})
    if not isinstance(branch, Mapping):
        raise InputError(f"{key}: {first} is a value, not a table")
    return {**tree, first: _set(branch, rest, value)}


_KIND_ERRORS = ("_type", "literal_error", "_parsing", "is_instance_of")


def _first_line(error: ValidationError) -> str:
    """The most telling of pydantic's errors, on one line: a wrong value before a wrong kind of value."""
    details = error.errors(include_url=False)
    telling = [d for d in details if not d["type"].endswith(_KIND_ERRORS)] or details
    message = _describe(telling[0])
    others = len({_place(d) for d in details} - {_place(telling[0])})
    return message + (f" (and {others} more)" if others else "")


def _describe(detail: ErrorDetails) -> str:
    place = _place(detail)
    if detail["type"] == "extra_forbidden":
        return f"{place}: unknown key"
    if detail["type"] == "missing":
        return f"{place}: is missing"
    message = detail["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    given = detail["input"]
    shown = "" if isinstance(given, dict) or detail["type"] == "value_error" else f" = {given!r}"
    return f"{place}{shown}: {message}" if place else message


def _place(detail: ErrorDetails) -> str:
    """The dotted key, without the names pydantic gives to the branches of a union."""
    parts: list[str] = []
    for part in detail["loc"]:
        if isinstance(part, int):
            parts.append(f"[{part}]")
        elif (part.isidentifier() and part[:1].islower() and part not in _BRANCHES) or not parts:
            parts.append(f".{part}")
    return "".join(parts).lstrip(".")


_BRANCHES = {"float", "int", "str", "bool", "tuple", "constrained-float", "constrained-int"}
