"""Where paths start: those in a scenario from its folder, those given beside it from the working directory.

Files that a scenario names are looked for from its folder, policies from the working directory. So an override's path
to a file is made absolute, and a scenario's path to a policy gets the folder's in front.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefine.emulator.loading import own_file

FILES = ("channel.trace", "faults.availability", "radio.interference_dbm")
FILES_OR_NAMES = ("task.data",)
PARTS = ("task.data", "task.model", "task.workload", "channel.model", "training.algorithm")


def from_here(key: str, value: Any, folder: Path) -> Any:
    """``value``, given beside a scenario in ``folder`` for the dotted ``key``, so that its paths start from here."""
    here = Path.cwd()
    if folder.resolve() == here:
        return value
    if isinstance(value, Mapping):
        return {name: from_here(f"{key}.{name}", inner, folder) for name, inner in value.items()}
    if not isinstance(value, str):
        return value
    names_file = key in FILES or (key in FILES_OR_NAMES and (here / value).exists())
    return str(here / value) if names_file or (key in PARTS and own_file(value)) else value


def policies_from(tree: Mapping[str, Any], folder: Path) -> Mapping[str, Any]:
    """``tree``, written in ``folder``, with the policies that it names by a file found from the working directory."""
    if folder.resolve() == Path.cwd():
        return tree
    changed = dict(tree)
    if isinstance(parameters := tree.get("policies"), Mapping):
        changed["policies"] = {_policy(name, folder): _rule(value, folder) for name, value in parameters.items()}
    if isinstance(compare := tree.get("compare"), Mapping):
        changed["compare"] = {name: _policy(value, folder) for name, value in compare.items()}
    return changed


def _rule(parameters: Any, folder: Path) -> Any:
    """A policy's ``parameters``, with its selection rule found from the working directory."""
    if not isinstance(parameters, Mapping) or "selection" not in parameters:
        return parameters
    return {**parameters, "selection": _policy(parameters["selection"], folder)}


def _policy(value: Any, folder: Path) -> Any:
    if isinstance(value, list):
        return [_policy(each, folder) for each in value]
    return str(folder / value) if isinstance(value, str) and own_file(value) else value
