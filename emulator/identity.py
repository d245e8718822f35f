"""What tells results of one version of this program from those of another."""

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

_ADDRESS_DIGITS = 32


def address(content: Mapping[str, object]) -> str:
    """The content address: SHA-256 of ``content`` as canonical JSON (sorted keys, every digit of a float)."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:_ADDRESS_DIGITS]


def program() -> dict[str, object]:
    """The versions a result depends on, and a digest of this project's own source: fit for JSON."""
    versions = {name: version(name) for name in ("prefine", "torch", "numpy", "scipy")}
    return {"versions": versions, "code": _code()}


@cache
def _code() -> str:
    """Digest of this project's own source: results of other code are never taken for its own."""
    digest = hashlib.sha256()
    for package in ("prefine.emulator", "prefine.models", "prefine.policies"):
        spec = find_spec(package)
        for folder in spec.submodule_search_locations if spec and spec.submodule_search_locations else ():
            for path in sorted(Path(folder).rglob("*.py")):
                digest.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()
