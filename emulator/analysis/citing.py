"""What to cite for the runs in an output folder: BibTeX of the program and of the sources of what they used."""

from collections.abc import Iterator, Mapping
from importlib import resources
from importlib.metadata import version
from pathlib import Path

from prefine.emulator.analysis.manifest import read_manifest
from prefine.emulator.errors import InputError

POLICIES: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("joint", "joint-ft", "joint-sca", "joint-simple", "joint-online"), ("lyu2025",)),
    "joint-rehearsed": ("lyu2025", "jamieson2016"),
    "min-delay": ("yang2021",),
    "min-energy": ("yang2021",),
    "fedl": ("tran2019",),
}
"""The entries of references.bib for each policy that has a source."""

SETTINGS: Mapping[str, Mapping[object, tuple[str, ...]]] = {
    "training.algorithm": {
        "fedsgd": ("mcmahan2017",),
        "fedavg": ("mcmahan2017",),
        "fedprox": ("li2020",),
        "fedavgm": ("hsu2019",),
        "fedadam": ("reddi2021",),
        "fedyogi": ("reddi2021",),
        "scaffold": ("karimireddy2020",),
    },
    "aggregation.mode": {"asynchronous": ("nguyen2022",)},
    "task.model": {"transformer": ("dosovitskiy2021",)},
    "task.finetune": {"lora": ("hu2022",), "bias": ("benzaken2022",)},
    "channel.model": {"rayleigh": ("xiao2006",), "rician": ("xiao2006",)},
    "channel.mobility": {"random-waypoint": ("johnson1996",)},
    "task.data": {
        "digits": ("alpaydin1998", "lecun1998"),
        "digits-halved": ("alpaydin1998",),
        "cars": ("quinlan1993",),
    },
}
"""The same for values of scenario keys."""

PATH_LOSS: Mapping[object, tuple[str, ...]] = {"macro": ("tr36814",), "uma": ("tr38901",), "umi": ("tr38901",)}
_PROGRAM = """@software{{prefine,
  author = {{{{The prefine authors}}}},
  title = {{prefine: a discrete-event network emulator for two-stage edge learning}},
  version = {{{version}}}
}}
"""


def bibtex(folder: Path) -> str:
    """BibTeX of what the runs in an output folder used: the program, policies, algorithm, channel models, data.

    It follows from manifest.json alone. A user's own parts have no entry. Raises InputError where there is no manifest.
    """
    manifest = read_manifest(folder / "manifest.json")
    if not manifest:
        raise InputError(
            f"{folder / 'manifest.json'}: no such file; is {folder} an output folder of compare, run or sweep?"
        )
    entries = _entries()
    used = dict.fromkeys(_used(manifest))
    return "\n".join([_PROGRAM.format(version=version("prefine")), *(entries[key] for key in used)])


def _used(manifest: Mapping[str, object]) -> Iterator[str]:
    policies = manifest.get("policies")
    for policy in policies if isinstance(policies, list) else ():
        yield from POLICIES.get(policy, ())
    for key, sources in SETTINGS.items():
        for value in _values(manifest, key):
            yield from sources.get(value, ()) if isinstance(value, str) else ()
    if any(isinstance(value, float) for value in _values(manifest, "aggregation.mixing")):
        yield "xie2019"
    if _values(manifest, "channel.model") == ["trace"] or _values(manifest, "channel.gain_db"):
        return  # neither path loss nor shadowing
    for value in _values(manifest, "channel.path_loss"):
        yield from PATH_LOSS.get(value, ()) if isinstance(value, str) else ()
    if any(value != 0.0 for value in _values(manifest, "channel.shadowing_db")):
        yield "gudmundson1991"


def _values(manifest: Mapping[str, object], key: str) -> list[object]:
    """The values that the runs had of the scenario's ``key``: the varied ones, or the only one."""
    varied = manifest.get("varied")
    if isinstance(varied, Mapping) and isinstance(found := varied.get(key), list):
        return [value for value in found if value.__hash__]
    tree: object = manifest.get("scenario")
    for part in key.split("."):
        tree = tree.get(part) if isinstance(tree, Mapping) else None
    return [] if tree is None else [tree if isinstance(tree, str | int | float) else str(tree)]


def _entries() -> dict[str, str]:
    """The entries of references.bib by their keys."""
    text = resources.files("prefine.emulator.analysis").joinpath("references.bib").read_text(encoding="utf-8")
    parts = [f"@{part.strip()}\n" for part in text.split("\n@")]
    return {part.partition("{")[2].partition(",")[0]: part.replace("@@", "@") for part in parts}
