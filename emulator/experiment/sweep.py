"""Which scenarios a sweep runs: every combination of the values of some scenario keys, or their pairs."""

import itertools
import tomllib
from collections.abc import Sequence
from typing import Any

from prefine.emulator.errors import InputError
from prefine.emulator.scenario.scenario import parse_value

Varied = tuple[tuple[str, object], ...]


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
    except tomllib.TOMLDecodeError:
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
    rows = zip(*(values for _, values in parsed), strict=True) if pairs else itertools.product(*(v for _, v in parsed))
    return [tuple(zip(keys, row, strict=True)) for row in rows]
