"""report.html: one file that needs no other, made from the tables of an output folder."""

import base64
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from emulator.compare import REALISED, SCORE
from emulator.files import write_bytes
from emulator.report import curves, words
from emulator.report.data import Tables, read_tables
from emulator.report.figure import Figure, Format
from emulator.tables import write_csv

_FAMILIES = (curves,)


def write_report(folder: Path, formats: Sequence[Format] = (), reference: str | None = None) -> Path:
    """Make report.html, comparison.csv, ranking.csv and figures/ from runs, rounds, devices and manifest of ``folder``.

    Every plot's data go to figures/NAME.csv, its drawings in ``formats`` beside that. Raises InputError, one line,
    where a table is missing or broken. Returns the report's path.
    """
    tables = read_tables(folder, reference)
    write_csv(folder / "comparison.csv", tables.comparison)
    write_csv(folder / "ranking.csv", tables.ranking)
    figures = [figure for family in _FAMILIES for figure in family.figures(tables)]
    for figure in figures:
        write_csv(folder / "figures" / f"{figure.name}.csv", figure.data)
        for kind in formats:
            write_bytes(folder / "figures" / f"{figure.name}.{kind}", figure.render(kind))
    path = folder / "report.html"
    write_bytes(path, page(tables, figures).encode())
    return path


def page(tables: Tables, figures: Iterable[Figure]) -> str:
    """The report as HTML."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("emulator", "report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html").render(
        manifest=tables.manifest,
        policies=tables.policies,
        seeds=sorted(set(tables.runs["seed"])),
        keys=tables.keys,
        runs=len(tables.runs),
        failures=tables.runs[tables.runs["status"] == "failed"].to_dict("records"),
        stops=stop_reasons(tables),
        reference=tables.comparison["reference"].iloc[0],
        findings=list(words.findings(tables)),
        comparison=comparison_rows(tables.comparison, tables.keys),
        ranking=tables.ranking.to_dict("records"),
        figures=[(figure, _picture(figure)) for figure in figures],
        number=words.number,
    )


def comparison_rows(comparison: pd.DataFrame, keys: Sequence[str]) -> list[dict[str, Any]]:
    """The main figures of comparison.csv, each as a reader wants it."""
    return [
        {
            "varied": [row[key] for key in keys],
            "policy": row["policy"],
            "runs": f"{row['runs']}" + (f" (+{row['failed']} failed)" if row["failed"] else ""),
            "rounds": f"{words.number(row['pretrain_rounds_mean'])} + {words.number(row['finetune_rounds_mean'])}",
            "accuracy": _estimate(row, SCORE),
            "difference": words.difference(row),
            "win_rate": words.number(row[f"{SCORE}_win_rate"], 2),
            "gradient": _estimate(row, REALISED),
            "delay": _estimate(row, "delay_s"),
            "predicted_delay": words.number(row["predicted_delay_s_mean"]),
            "energy": _estimate(row, "energy_j"),
            "predicted_energy": words.number(row["predicted_energy_j_mean"]),
        }
        for row in comparison.to_dict("records")
    ]


def _estimate(row: dict[Any, Any], figure: str) -> str:
    return words.plus_minus(row[f"{figure}_mean"], row[f"{figure}_ci95"])


def stop_reasons(tables: Tables) -> list[tuple[str, str, int]]:
    """How often each policy's finished runs ended for which reason."""
    counts = tables.done.groupby(["policy", "stop_reason"], sort=False).size().reset_index(name="count")
    return [(row["policy"], row["stop_reason"], row["count"]) for row in counts.to_dict("records")]


def _picture(figure: Figure) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(figure.render("svg")).decode()
