"""What is wrong with a user's input, on one line: the place, what is wrong, what is allowed, what was meant.

All doors lead here: scenario files, ``--set``, ``--vary``, dictionaries from Python, problem files, plug-in parameters.
"""

import re
import types
from collections.abc import Collection, Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, RootModel, Tag, ValidationError
from pydantic_core import ErrorDetails

KIND_ERRORS = ("_type", "literal_error", "_parsing", "is_instance_of")
"""Ends of the names of pydantic's errors that say a value is of another kind."""

SHOWN_CHARACTERS = 60


def complaint(error: ValidationError, root: type[BaseModel], prefix: str = "") -> str:
    """The most telling of the mistakes in ``error``, which ``root`` found, and how many other places are wrong.

    ``prefix`` is where ``root`` itself stands, such as ``channel``. An unknown key comes first (it is often the
    misspelling of one that is missing), then a wrong value, then a value of the wrong kind: of the branches of a union
    the one that was not meant says least.
    """
    details = error.errors(include_url=False)
    first = min(details, key=_rank)
    wrong_places = {_place(_walk(root, detail["loc"]), prefix) for detail in details}
    others = len(wrong_places) - 1
    return _described(first, root, prefix) + (f" (and {others} more)" if others else "")


def unknown_key(place: str, allowed: Iterable[str]) -> str:
    """Says that the last key of the dotted ``place`` is not known.

    >>> unknown_key("devices.cuont", ["count", "distance_m"])
    "devices.cuont: unknown key; allowed: count, distance_m; did you mean 'count'?"
    """
    names = list(allowed)
    return f"{place}: unknown key; allowed: {', '.join(names) or 'none'}{did_you_mean(place.rpartition('.')[2], names)}"


def did_you_mean(name: str, allowed: Collection[str]) -> str:
    """The end of a message that names what ``name`` was probably meant to be; empty where nothing comes near.

    >>> did_you_mean("raileigh", ["static", "rayleigh"])
    "; did you mean 'rayleigh'?"
    """
    near = get_close_matches(name, allowed, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _rank(detail: ErrorDetails) -> int:
    if detail["type"] == "extra_forbidden":
        return 0
    return 2 if detail["type"].endswith(KIND_ERRORS) else 1


def _described(detail: ErrorDetails, root: type[BaseModel], prefix: str) -> str:
    steps = _walk(root, detail["loc"])
    place = _place(steps, prefix)
    kind, given = detail["type"], detail["input"]
    if kind == "extra_forbidden":
        return unknown_key(place, _keys(steps[-1][0]))
    if kind == "missing":
        return f"{place}: is missing"
    message = detail["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    if kind == "unknown_member":
        if isinstance(given, Mapping):
            key = detail["ctx"]["key"]
            place, given = f"{place}.{key}", given.get(key)
        else:
            message = "must be a table"
    if kind in ("unknown_member", "literal_error") and isinstance(given, str):
        message += did_you_mean(given, re.findall("'([^']+)'", message))
    scalar = isinstance(given, (str, int, float)) or given is None
    shown = f" = {repr(given)[:SHOWN_CHARACTERS]}" if place and scalar else ""
    return f"{place}{shown}: {message}" if place else message


def _place(steps: list[tuple[Any, str]], prefix: str) -> str:
    return (prefix + "".join(step for _, step in steps)).lstrip(".")


def _walk(root: Any, location: tuple[int | str, ...]) -> list[tuple[Any, str]]:
    """The steps from ``root`` to ``location``: the type each is taken in, and how it is written.

    Where a type is a union, pydantic's location names the branch; that is no step of the user's file.
    """
    steps: list[tuple[Any, str]] = []
    here = list(_branches(root))
    for part in location:
        if len(here) > 1:
            here = [branch for branch in here if _is_called(branch, str(part))] or here[:1]
            continue
        inside = _without_notes(here[0]) if here else None
        steps.append((inside, f"[{part}]" if isinstance(part, int) else f".{part}"))
        here = list(_branches(_inner(inside, part)))
    return steps


def _inner(inside: Any, part: int | str) -> Any:
    """The type of ``part`` of something of type ``inside``; None where that is not known."""
    if isinstance(inside, type) and issubclass(inside, BaseModel):
        return inside.model_fields[str(part)].annotation if part in inside.model_fields else None
    arguments = [one for one in get_args(inside) if one is not ...]
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


def _is_called(branch: Any, label: str) -> bool:
    notes = get_args(branch)[1:] if get_origin(branch) is Annotated else ()
    tags = {note.tag for note in notes if isinstance(note, Tag)}
    bare = _without_notes(branch)
    return label in tags or label.startswith(getattr(get_origin(bare) or bare, "__name__", "?"))


def _without_notes(annotation: Any) -> Any:
    return _without_notes(get_args(annotation)[0]) if get_origin(annotation) is Annotated else annotation


def _keys(inside: Any) -> Iterable[str]:
    return inside.model_fields if isinstance(inside, type) and issubclass(inside, BaseModel) else ()
