"""An output folder: where finished runs are kept, the tables made from them, and the manifest of what was run.

manifest.json says what was run and with what, enough to run it again. It holds neither host names nor wall times.
"""

import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import get_args

from prefine.emulator.analysis.entries import Entry
from prefine.emulator.analysis.targets import Targets
from prefine.emulator.errors import InputError
from prefine.emulator.experiment.results import J, Job, Results
from prefine.emulator.experiment.store import Store
from prefine.emulator.files import remove_abandoned, write_bytes
from prefine.emulator.options import TableFormat

STORE = "runs"
PACKAGES = ("prefine", "numpy", "scipy", "simpy", "torch", "pandas")


def result_store(folder: Path) -> Store:
    """The store of finished runs inside an output folder; what a killed command left half written is removed."""
    remove_abandoned(folder)
    return Store(folder / STORE)


def check_tables(tables: str) -> None:
    """Raises InputError where ``tables`` cannot be written; call it before the first run."""
    if tables not in get_args(TableFormat):
        raise InputError(f"tables = {tables!r}: allowed: {', '.join(get_args(TableFormat))}")
    if tables == "parquet":
        from prefine.emulator.analysis.reading import require_parquet

        require_parquet()


def write_folder(
    folder: Path,
    results: Results[J],
    manifest: Mapping[str, object],
    targets: Targets = Targets(),  # noqa: B008  # frozen
    hindsight: Iterable[Entry] = (),
) -> None:
    """Write the CSV files of ``results`` and the manifest into ``folder``.

    ``targets`` are the accuracies that runs.csv says the time and energy of, ``hindsight`` the results that go to
    hindsight.csv. Raises PrefineError where the folder cannot be written.
    """
    from prefine.emulator.analysis.writing import write_tables  # pandas, a quarter of a second

    write_tables(folder, results, targets, hindsight)
    content = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
    write_bytes(folder / "manifest.json", content.encode("utf-8", "backslashreplace"))


def manifest(
    jobs: Sequence[Job],
    scenario: Mapping[str, object],
    reference: str,
    command: str,
    checksums: Mapping[str, str],
    trace_origin: Sequence[str] = (),
    hindsight: Sequence[str] = (),
) -> dict[str, object]:
    """The manifest of ``jobs``: ``scenario`` as it was before anything was varied, ``checksums`` of traces and data.

    ``trace_origin`` is what the channel trace says of itself, ``hindsight`` the members of the family in hindsight.csv.
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
        "hindsight": list(hindsight),
        "seeds": sorted({job.seed for job in jobs}),
        "varied": varied,
        "versions": versions(),
        "checksums": dict(checksums),
        "trace_origin": list(trace_origin),
        "scenario": dict(scenario),
    }


def versions() -> dict[str, str]:
    """Of Python and of every package that can change a result; what is not installed is left out."""
    installed = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            installed[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return installed
