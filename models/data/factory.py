"""The user's own data from Python: a function in a file that returns three data sets, torch's among them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prefine.emulator.errors import InputError
from prefine.emulator.loading import foreign, load_attribute
from prefine.models.data.files import PARTS, Raw, checked
from prefine.models.data.samples import DataPair

MOST_SAMPLES = 10_000_000


def load(spec: str, folder: Path) -> DataPair:
    """What ``path/to/file.py:factory`` returns, the path from ``folder``, called without arguments.

    That is a mapping with the keys general, task and test, or a sequence of three, each a data set: something with a
    length whose items are pairs of features and target (`torch.utils.data.Dataset`), or a pair of arrays. Raises
    InputError or ValueError, one line, where it is anything else.
    """
    made = load_attribute(spec, "data", folder)
    if not callable(made):
        raise InputError(f"data {spec}: must be a function without parameters, not {type(made).__name__}")
    with foreign(f"data {spec}:", "when it was called"):
        returned = made()
    parts = returned if isinstance(returned, Mapping) else _named(spec, returned)
    missing = [part for part in PARTS if part not in parts]
    if missing:
        raise InputError(f"data {spec}: returned no {missing[0]!r}; it must have {', '.join(PARTS)}")
    return checked(Path(spec), {part: _arrays(spec, part, parts[part]) for part in PARTS}, None)


def _named(spec: str, returned: object) -> Mapping[str, Any]:
    if not isinstance(returned, Sequence) or len(returned) != len(PARTS):
        raise InputError(f"data {spec}: returned {type(returned).__name__}, must be {', '.join(PARTS)}")
    return dict(zip(PARTS, returned, strict=True))


def _arrays(spec: str, part: str, data: Any) -> Raw:
    with foreign(f"data {spec}:", f"when its {part} part was read"):
        if isinstance(data, tuple) and len(data) == 2:
            return np.asarray(data[0]), np.asarray(data[1])
        if not 0 < len(data) <= MOST_SAMPLES:
            raise InputError(f"data {spec}: its {part} part has {len(data)} samples, must be 1 to {MOST_SAMPLES}")
        pairs = [data[index] for index in range(len(data))]
        return _stacked([pair[0] for pair in pairs]), _stacked([pair[1] for pair in pairs])


def _stacked(values: list[Any]) -> NDArray[Any]:
    return np.stack([np.asarray(value) for value in values])
