"""Device profiles: benchmark scores of phones as ``[[device]]`` tables of a scenario.

Scores are AI-Benchmark's (Ignatov et al., "AI Benchmark: All About Deep Learning on Smartphones in 2019", ICCVW 2019),
in the two JSON forms of FLASH (Yang et al., "Characterizing Impacts of Heterogeneity in Federated Learning upon
Large-Scale Smartphone Data", WWW 2021): an object of names and scores, or a list of objects with ``Model`` and a column
for each score. FLASH's users (``state_traces.json``) say which phones there are how often, and its aliases
(``real2benchmark.json``) what the benchmark calls them.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from prefine.emulator.errors import InputError
from prefine.emulator.randomness import stream
from prefine.emulator.text import quoted, unknown
from prefine.emulator.types import FloatArray

NAME, USERS_NAME = "Model", "model"
SCORE = "AI_Score"
MOST_DEVICES = 1_000_000
MOST_SCORE = 1e12
ALLOWED = "an object of names and scores, or a list of objects with Model and a score"


@dataclass(frozen=True)
class Profile:
    """One kind of device and its benchmark score; the higher, the faster."""

    name: str
    score: float


@dataclass(frozen=True)
class Pace:
    """Seconds a sample takes on a device of ``score``: ``factor_s`` score^``exponent``."""

    factor_s: float
    exponent: float

    def seconds(self, score: FloatArray) -> FloatArray:
        """Seconds a sample, of each score (n,)."""
        seconds: FloatArray = self.factor_s * score**self.exponent
        return seconds


def parse_profiles(data: bytes, source: str, column: str = SCORE) -> dict[str, Profile]:
    """The profiles in a JSON file by name; of a list, the scores are in ``column``, marks behind the number left out.

    Raises InputError where the file is no such JSON, has no such column, or a score that is no number above 0.
    """
    tree = _json(data, source)
    if isinstance(tree, Mapping):
        scores = dict(tree)
    elif isinstance(tree, list) and all(isinstance(row, Mapping) and NAME in row for row in tree):
        missing = next((row for row in tree if column not in row), None)
        if missing is not None:
            raise InputError(f"{source}: {quoted(str(missing[NAME]))}: {unknown(f'score {column}', column, missing)}")
        scores = {str(row[NAME]): row[column] for row in tree}
    else:
        raise InputError(f"{source}: is no list of device profiles; allowed: {ALLOWED}")
    if not scores:
        raise InputError(f"{source}: has no device profiles; allowed: {ALLOWED}")
    return {name: Profile(name, _score(score, name, source)) for name, score in scores.items()}


def parse_users(data: bytes, source: str, aliases: Mapping[str, str], known: Mapping[str, Profile]) -> list[Profile]:
    """The profile of each user's phone, of a list of names or an object of objects with ``model``.

    Phones without a score are left out. Raises InputError where the file is no such JSON, or no phone is ``known``.
    """
    tree = _json(data, source)
    rows = list(tree.values()) if isinstance(tree, Mapping) else tree
    if not isinstance(rows, list):
        raise InputError(f"{source}: is no list of users; allowed: names of phones, or objects with {USERS_NAME}")
    models = [str(row.get(USERS_NAME) if isinstance(row, Mapping) else row) for row in rows]
    found = [known[name] for model in models if (name := aliases.get(model, model)) in known]
    if not found:
        raise InputError(f"{source}: none of {len(models)} users has a phone with a score; are aliases missing?")
    return found


def parse_aliases(data: bytes, source: str) -> dict[str, str]:
    """What the benchmark calls a phone, by what users call it. Raises InputError where it is no such JSON."""
    tree = _json(data, source)
    if not isinstance(tree, Mapping) or not all(isinstance(name, str) for name in tree.values()):
        raise InputError(f"{source}: is no object of names and names")
    return dict(tree)


def pace(anchors: Mapping[str, float], known: Mapping[str, Profile]) -> Pace:
    """Seconds a sample by score, from the times of a few devices by name.

    One time: inversely proportional. Several: the power law nearest to them in logarithms (least squares). Raises
    InputError for a device without a score, and where more score would take longer.
    """
    for name in anchors:
        if name not in known:
            raise InputError(f"--seconds: {unknown(f'device {name!r}', name, list(known)[:20])}")
    score = np.log([known[name].score for name in anchors])
    seconds = np.log(list(anchors.values()))
    spread = score - score.mean()
    exponent = float(spread @ seconds / (spread @ spread)) if np.any(spread != 0.0) else -1.0
    if exponent >= 0.0:
        raise InputError("--seconds: devices with higher scores must be faster")
    return Pace(float(np.exp(seconds.mean() - exponent * score.mean())), exponent)


def drawn(profiles: Sequence[Profile], count: int, seed: int) -> list[Profile]:
    """``count`` of ``profiles``, each drawn on its own: device k's draw depends on ``seed`` and k alone."""
    return [profiles[int(stream(seed, "profile", device).integers(len(profiles)))] for device in range(count)]


def tables(profiles: Sequence[Profile], of: Pace, frequency_hz: float) -> Iterator[str]:
    """The lines of a ``[[device]]`` table each: at ``frequency_hz`` a sample takes what its score says."""
    cycles = of.seconds(np.array([each.score for each in profiles])) * frequency_hz
    for each, cycles_per_sample in zip(profiles, cycles.tolist(), strict=True):
        yield f"[[device]]  # {json.dumps(each.name)[1:-1]}, score {each.score:g}"
        yield f"cycles_per_sample = {float(f'{cycles_per_sample:.6g}')!r}"
        yield f"max_frequency_hz = {float(frequency_hz)!r}"


def _score(value: object, name: str, source: str) -> float:
    words = str(value).split() or [""]
    try:
        score = float(words[0])
    except ValueError:
        score = float("nan")
    if isinstance(value, bool) or not 0.0 < score <= MOST_SCORE:
        raise InputError(f"{source}: {quoted(name)} has the score {quoted(str(value))}, must be a number above 0")
    return score


def _json(data: bytes, source: str) -> object:
    try:
        tree: object = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{source}: is no JSON ({error}); pickles are never loaded") from error
    return tree
