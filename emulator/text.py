"""Reading numbers out of text, with messages that say where: ``file:line: what is wrong, what is allowed``."""

from collections.abc import Collection, Iterable, Sequence
from difflib import get_close_matches

import numpy as np
from numpy.typing import NDArray

from prefine.emulator.errors import InputError
from prefine.emulator.types import FloatArray

BoolArray = NDArray[np.bool_]


def wrong(source: str, line: float, message: str) -> InputError:
    """The error to raise for ``line`` (from 1) of ``source``."""
    return InputError(f"{source}:{int(line)}: {message}")


def unknown(what: str, name: str, allowed: Iterable[str]) -> str:
    """The line that ``what``, which is called ``name``, is none of ``allowed``, with the one probably meant.

    >>> unknown("policy 'unifrom'", "unifrom", ["joint", "uniform"])
    "policy 'unifrom' is unknown, allowed: joint, uniform; did you mean 'uniform'?"
    """
    names = list(allowed)
    return f"{what} is unknown, allowed: {', '.join(names) or 'none'}{did_you_mean(name, names)}"


def did_you_mean(name: str, allowed: Collection[str]) -> str:
    """The end of a message that names what ``name`` was probably meant to be; empty where nothing comes near.

    >>> did_you_mean("raileigh", ["static", "rayleigh"])
    "; did you mean 'rayleigh'?"
    """
    near = get_close_matches(name, allowed, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def quoted(text: str) -> str:
    """``text`` in quotes, cut to what fits a message."""
    return repr(text if len(text) <= 60 else text[:57] + "...")


def decoded(data: bytes, source: str, allowed: str) -> list[str]:
    """The lines of a UTF-8 file. Raises InputError that names the first line that is no text."""
    try:
        return data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise wrong(source, data.count(b"\n", 0, error.start) + 1, f"is no UTF-8 text; allowed: {allowed}") from error


def numbers(
    column: Iterable[str],
    name: str,
    line: Sequence[float] | FloatArray,
    source: str,
    missing: Collection[str] = (),
) -> FloatArray:
    """``column`` as float64; texts in ``missing`` become NaN. Raises InputError at the first that is no number."""
    texts = [text.strip() for text in column]
    if missing:
        texts = ["nan" if text.lower() in missing else text for text in texts]
    try:
        if not any("_" in text for text in texts):  # float("1_000") is Python, not data
            return np.array([float(text) for text in texts], dtype=np.float64)
    except ValueError:
        pass
    at, text = next((at, text) for at, text in zip(line, texts, strict=True) if not _is_number(text))
    also = f" or one of {', '.join(sorted(map(repr, missing)))}" if missing else ""
    raise wrong(source, at, f"{name} is {quoted(text)}, must be a number{also}")


def whole(value: FloatArray) -> BoolArray:
    """Where ``value`` is a finite whole number."""
    is_whole: BoolArray = np.isfinite(value) & (np.floor(value) == value)
    return is_whole


def first_bad(bad: BoolArray) -> int | None:
    """Index of the first true entry, ``None`` where there is none."""
    return int(np.argmax(bad)) if bad.any() else None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text
