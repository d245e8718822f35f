"""What is wrong with a user's input, on one line: the place, what is wrong, what is allowed, what was meant.

All doors lead here: scenario files, ``--set``, ``--vary``, dictionaries from Python, problem files, plug-in parameters.
"""

import re
import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel, RootModel, Tag, ValidationError
from pydantic_core import ErrorDetails

from prefine.emulator.section import UNKNOWN_MEMBER
from prefine.emulator.text import did_you_mean

KIND_ERRORS = ("_type", "literal_error", "_parsing", "is_instance_of")
"""Ends of the names of pydantic's errors that say a value is of another kind."""

CONTAINERS = {"a table": ("dict_type", "model_type", "model_attributes_type"), "a list": ("tuple_type", "list_type")}
"""What pydantic's errors of these types want, in the words of TOML."""

SHOWN_CHARACTERS = 60


def complaint(error: ValidationError, root: type[BaseModel], prefix: str = "") -> str:
    """The most telling of the mistakes in ``error``, which ``root`` found, and how many other places are wrong.

    ``prefix`` is where ``root`` itself stands, such as ``channel``. An unknown key comes first (it is often the
    misspelling of one that is missing), then a wrong value, then a value of the wrong kind: of the branches of a union
    the one that was not meant says least.
    """
    details = error.errors(include_url=False)
    first = min(details, key=_rank)
    others = len({_spot(root, detail["loc"], prefix, to_union=True).written for detail in details}) - 1
    return _described(first, root, prefix) + (f" (and {others} more)" if others else "")


def unknown_key(place: str, allowed: Iterable[str]) -> str:
    """Says that the last key of the dotted ``place`` is not known.

    >>> unknown_key("devices.cuont", ["count", "distance_m"])
    "devices.cuont: unknown key; allowed: count, distance_m; did you mean 'count'?"
    """
    names = list(allowed)
    return f"{place}: unknown key; allowed: {', '.join(names) or 'none'}{did_you_mean(place.rpartition('.')[2], names)}"


def _rank(detail: ErrorDetails) -> int:
    if detail["type"] == "extra_forbidden":
        return 0
    return 2 if detail["type"].endswith(KIND_ERRORS) else 1


def _described(detail: ErrorDetails, root: type[BaseModel], prefix: str) -> str:
    place, table, kinds = _spot(root, detail["loc"], prefix)
    kind, given = detail["type"], detail["input"]
    if kind == "extra_forbidden":
        return unknown_key(place, _keys(table))
    if kind == "missing":
        return f"{place}: is missing"
    message = detail["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    message = next((f"must be {what}" for what, errors in CONTAINERS.items() if kind in errors), message)
    if kind == UNKNOWN_MEMBER and isinstance(given, Mapping):
        key = detail["ctx"]["key"]
        place, given = f"{place}.{key}", given.get(key)
        message = f"must be one of {', '.join(repr(name) for one in kinds for name in _tags(one))}"
    elif kind == UNKNOWN_MEMBER:
        message = "must be a table"
    if kind in (UNKNOWN_MEMBER, "literal_error") and isinstance(given, str):
        message += did_you_mean(given, re.findall("'([^']+)'", message))
    scalar = isinstance(given, (str, int, float)) or given is None
    shown = f" = {repr(given)[:SHOWN_CHARACTERS]}" if place and scalar else ""
    return f"{place}{shown}: {message}" if place else message


class _Spot(NamedTuple):
    """A place in the user's input: how it is written, the type of the table around it, the types of its value."""

    written: str
    table: Any
    kinds: list[Any]


def _spot(root: Any, location: tuple[int | str, ...], prefix: str, to_union: bool = False) -> _Spot:
    """Where pydantic's ``location`` is in an input of type ``root`` that stands at ``prefix``.

    Where a type is a union, the location names the branch; that is no step of the user's input. ``to_union`` ends the
    walk at the first value that several kinds would do for: each of them complains of it.
    """
    written, table, kinds = prefix, None, list(_branches(root))
    for part in location:
        if len(kinds) > 1:
            if to_union and not any(_tags(kind) for kind in kinds):
                break
            kinds = [kind for kind in kinds if _is_called(kind, str(part))] or kinds[:1]
            continue
        table = _without_notes(kinds[0]) if kinds else None
        written += f"[{part}]" if isinstance(part, int) else f".{part}"
        kinds = list(_branches(_inner(table, part)))
    return _Spot(written.lstrip("."), table, kinds)


def _inner(table: Any, part: int | str) -> Any:
    """The type of ``part`` of something of type ``table``; None where that is not known."""
    if isinstance(table, type) and issubclass(table, BaseModel):
        return table.model_fields[str(part)].annotation if part in table.model_fields else None
    arguments = [one for one in get_args(table) if one is not ...]
    return arguments[-1] if arguments else None


def _branches(annotation: Any) -> Iterator[Any]:
    """The members of a union, with their notes; anything else is its own only branch, and None has none."""
    bare = _without_notes(annotation)
    if isinstance(bare, type) and issubclass(bare, RootModel):
        yield from _branches(bare.model_fields["root"].annotation)
    elif get_origin(bare) in (Union, types.UnionType):
        for one in get_args(bare):
            yield from _branches(one)
    elif bare is not None and bare is not type(None):
        yield annotation


def _tags(branch: Any) -> set[str]:
    notes = get_args(branch)[1:] if get_origin(branch) is Annotated else ()
    return {note.tag for note in notes if isinstance(note, Tag)}


def _is_called(branch: Any, label: str) -> bool:
    bare = _without_notes(branch)
    return label in _tags(branch) or label.startswith(getattr(get_origin(bare) or bare, "__name__", "?"))


def _without_notes(annotation: Any) -> Any:
    return _without_notes(get_args(annotation)[0]) if get_origin(annotation) is Annotated else annotation


def _keys(table: Any) -> Iterable[str]:
    return table.model_fields if isinstance(table, type) and issubclass(table, BaseModel) else ()
