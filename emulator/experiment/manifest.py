"""manifest.json: what was run and with what, enough to run it again. It holds neither host names nor wall times."""

import json
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path

from prefine.emulator.experiment.runs import Job
from prefine.emulator.files import write_bytes

PACKAGES = ("prefine", "numpy", "scipy", "simpy", "torch", "pandas")


def versions() -> dict[str, str]:
    """Of Python and of every package that can change a result; what is not installed is left out."""
    installed = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            installed[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return installed


def manifest(
    jobs: Sequence[Job],
    scenario: Mapping[str, object],
    reference: str,
    command: str,
    checksums: Mapping[str, str],
    trace_origin: Sequence[str] = (),
) -> dict[str, object]:
    """The manifest of ``jobs``: ``scenario`` as it was before anything was varied, ``checksums`` of traces and data.

    ``trace_origin`` is what the channel trace says of itself.
    """
    varied: dict[str, list[object]] = {}
    for job in jobs:
        for key, value in job.varied:
            values = varied.setdefault(key, [])
            if value not in values:
                values.append(value)
    return {
        "command": command,
        "policies": list(dict.fromkeys(job.policy for job in jobs)),
        "reference": reference,
        "seeds": sorted({job.seed for job in jobs}),
        "varied": varied,
        "versions": versions(),
        "checksums": dict(checksums),
        "trace_origin": list(trace_origin),
        "scenario": dict(scenario),
    }


def write_manifest(folder: Path, content: Mapping[str, object]) -> None:
    """Write manifest.json into ``folder``, atomically."""
    write_bytes(folder / "manifest.json", (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())
