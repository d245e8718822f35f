"""manifest.json as it is read: a file that anybody may have edited, checked as far as tables and report use it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict  # typing's own is refused by pydantic before Python 3.12

from prefine.emulator.errors import InputError


@with_config(ConfigDict(extra="forbid", strict=True))
class Calibration(TypedDict):
    """What measuring the constants took and saw; see `prefine.emulator.planning.calibration_cost`."""

    runs: int
    step_size_searches: int
    pretrain_rounds: dict[str, int]
    finetune_rounds: dict[str, int]
    delay_s: float | None
    energy_j: float | None
    charged: bool
    sees: str


@with_config(ConfigDict(extra="allow", strict=True))
class Manifest(TypedDict, total=False):
    """The keys that are read; what else there is goes along."""

    command: str
    policies: list[str]
    reference: str
    hindsight: list[str]
    seeds: list[int]
    varied: dict[str, list[Any]]
    versions: dict[str, str]
    calibration: Calibration | dict[str, None]
    scenario: dict[str, Any]


_MANIFEST = TypeAdapter(Manifest)


def read_manifest(path: Path) -> Mapping[str, object]:
    """The manifest of an output folder; empty where there is none. Raises InputError, one line, where it is broken."""
    try:
        read: Mapping[str, object] = _MANIFEST.validate_json(path.read_bytes())
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"][:1]))
        where = f"{place}: " if place else ""
        raise InputError(f"{path}: {where}{first['msg']}; the same command writes it anew") from None
    return read
