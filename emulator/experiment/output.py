"""An output folder: where finished runs are kept, and from them all its tables and its report."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from prefine.emulator.analysis.tables import require_parquet, write_parquet, write_tables
from prefine.emulator.experiment.manifest import write_manifest
from prefine.emulator.experiment.runs import J, Results
from prefine.emulator.experiment.store import Store
from prefine.emulator.report.data import Tables, read_tables
from prefine.emulator.report.figure import Format
from prefine.emulator.report.page import write_report

STORE = "runs"


def result_store(folder: Path) -> Store:
    """The store of finished runs inside an output folder."""
    return Store(folder / STORE)


def check_tables(tables: str) -> None:
    """Raises InputError where ``tables`` ("csv" or "parquet") cannot be written; call it before the first run."""
    if tables == "parquet":
        require_parquet()


def write_output(
    folder: Path,
    results: Results[J],
    manifest: Mapping[str, object],
    tables: str = "csv",
    figures: Sequence[Format] = (),
) -> Tables:
    """Write CSV files, manifest, figures and report.html into ``folder``; return its tables.

    ``tables="parquet"`` writes Parquet beside CSV; ``figures`` names formats for plots as files. Raises PrefineError
    where the folder cannot be written.
    """
    write_tables(folder, results)
    write_manifest(folder, manifest)
    if tables == "parquet":
        write_parquet(folder)
    write_report(folder, figures)
    return read_tables(folder)
