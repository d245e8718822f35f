"""report.html: one file that needs no other, made from the tables of an output folder."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from prefine.emulator.analysis import wording
from prefine.emulator.analysis.entries import short
from prefine.emulator.analysis.output import Tables
from prefine.emulator.analysis.tables import REALISED, SCORE, VALIDATION, write_csv
from prefine.emulator.files import write_bytes
from prefine.emulator.options import FigureFormat, FigureWidth
from prefine.emulator.report import predicted, tradeoff, words
from prefine.emulator.report.few import MOST_POLICIES, MOST_ROWS
from prefine.emulator.report.figure import SCREEN_DPI, Figure
from prefine.emulator.report.made import mark, source_of
from prefine.emulator.report.plots import figures

_FIRST = (tradeoff.NAME, "test-accuracy-over-time-s")
"""The plots right below the verdict."""

MOST_SVG_BYTES = 1_500_000
"""Beyond that a page of many panels would take long to load; tables have `MOST_ROWS` at most."""

MOST_MARKS = 2_000
"""Rows of a figure's data; a mark takes 200 bytes of SVG, and a row may be three of them."""


def write_report(
    folder: Path, tables: Tables, formats: Sequence[FigureFormat] = (), width: FigureWidth = "page"
) -> Path:
    """Draw ``tables`` as report.html and figures/ in ``folder``; the report's path.

    Every plot's data go to figures/NAME.csv, its drawings in ``formats``, as wide as a paper's ``width``, beside that.
    The page's own are as wide as a page. Raises PrefineError where the folder cannot be written.
    """
    drawn = sorted(figures(tables), key=lambda figure: figure.name not in _FIRST)
    pictures = _drawings(drawn)
    for figure in drawn:
        write_csv(folder / "figures" / f"{figure.name}.csv", figure.data)
        for kind in formats:
            found = pictures[figure.name]
            is_drawn = kind == "svg" and width == "page" and not _is_png(found)
            data = found if is_drawn else figure.render(kind, width=width)
            write_bytes(folder / "figures" / f"{figure.name}.{kind}", data)
    path = folder / "report.html"
    write_bytes(path, page(tables, drawn, pictures, source_of(folder, formats, width)).encode())
    return path


def page(tables: Tables, drawn: Sequence[Figure], pictures: Mapping[str, bytes], source: str = "") -> str:
    """The report as HTML; ``pictures`` are the figures ``drawn``, SVG or PNG, by name.

    ``source`` says what the tables were read from (`prefine.emulator.report.made`).
    """
    shown = [(figure, _embedded(pictures[figure.name])) for figure in drawn]
    leading = [pair for pair in shown if pair[0].name in _FIRST]
    overall, *by_case = tables.verdict.split("\n")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("prefine.emulator", "report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html").render(
        made_from=mark(source, [figure.name for figure in drawn]),
        command=tables.manifest.get("command", ""),
        scenario=_mapping(tables.manifest, "scenario"),
        versions=_mapping(tables.manifest, "versions"),
        calibration=words.calibration(_mapping(tables.manifest, "calibration")),
        policies=tables.policies,
        seeds=sorted(set(tables.runs["seed"])),
        keys=tables.keys,
        heads=short(tables.keys),
        runs=len(tables.runs),
        failures=tables.runs[tables.runs["status"] == "failed"].to_dict("records")[:MOST_ROWS],
        stops=stop_reasons(tables),
        reference=tables.reference,
        hindsight=len(tables.hindsight) > 0,
        validated=f"{VALIDATION}_mean" in tables.comparison.columns,
        findings=words.findings(tables),
        gains=words.gains(tables)[:MOST_ROWS],
        others=words.others(tables),
        comparison=comparison_rows(tables.comparison[:MOST_ROWS], tables.keys),
        ranking=tables.ranking.to_dict("records")[:MOST_ROWS],
        bounds=bound_rows(tables)[:MOST_ROWS],
        most_rows=MOST_ROWS if len(tables.runs) > MOST_ROWS else 0,
        most_policies=MOST_POLICIES if len(tables.policies) > MOST_POLICIES else 0,
        training=_mapping(tables.manifest, "scenario", "training"),
        overall=overall,
        by_case=by_case[:MOST_ROWS],
        warnings=warnings(tables),
        leading=leading,
        figures=shown[len(leading) :],
        number=wording.number,
        shown=wording.shown,
    )


def comparison_rows(comparison: pd.DataFrame, keys: Sequence[str]) -> list[dict[str, Any]]:
    """The main figures of comparison.csv, each as a reader wants it."""
    return [
        {
            "varied": [row[key] for key in keys],
            "policy": row["policy"],
            "runs": f"{row['runs']}" + (f" (+{row['failed']} failed)" if row["failed"] else ""),
            "rounds": f"{wording.number(row['pretrain_rounds_mean'])} + {wording.number(row['finetune_rounds_mean'])}",
            "accuracy": _estimate(row, SCORE),
            "validation": _estimate(row, VALIDATION) if f"{VALIDATION}_mean" in row else "",
            "difference": wording.difference(row),
            "win_rate": wording.number(row[f"{SCORE}_win_rate"], 2),
            "gradient": _estimate(row, REALISED),
            "regret": wording.regret(row),
            "delay": _estimate(row, "delay_s"),
            "predicted_delay": wording.number(row["predicted_delay_s_mean"]),
            "energy": _estimate(row, "energy_j"),
            "predicted_energy": wording.number(row["predicted_energy_j_mean"]),
        }
        for row in comparison.to_dict("records")
    ]


def _estimate(row: dict[Any, Any], figure: str) -> str:
    return wording.plus_minus(row[f"{figure}_mean"], row[f"{figure}_ci95"])


def bound_rows(tables: Tables) -> list[dict[str, Any]]:
    """The bound beside what was realised, as a reader wants it."""
    return [
        {
            "varied": [row[key] for key in tables.keys],
            "policy": row["policy"],
            "bound": wording.number(row["bound"]),
            "realised": wording.number(row[REALISED]),
            "holds": wording.percent(row["holds"]),
            "looseness": wording.number(row["looseness"], 3),
            "bound_ft": wording.number(row["bound_ft"]),
            "accuracy": wording.number(row[SCORE]),
        }
        for row in predicted.bound_table(tables).to_dict("records")
    ]


def _mapping(tree: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    """The table at ``path`` of the manifest; an empty one where there is none."""
    for key in path:
        found = tree.get(key)
        tree = found if isinstance(found, Mapping) else {}
    return tree


def stop_reasons(tables: Tables) -> list[tuple[str, str, int]]:
    """How often each policy's finished runs ended for which reason."""
    counts = tables.done.groupby(["policy", "stop_reason"], sort=False).size().reset_index(name="count")
    return [(row["policy"], row["stop_reason"], row["count"]) for row in counts.to_dict("records")]


def warnings(tables: Tables) -> list[tuple[str, str, int]]:
    """How many of each policy's finished runs have which warning."""
    each = tables.done.assign(warning=tables.done["warning"].str.split(",")).explode("warning")
    counts = each[each["warning"] != ""].groupby(["policy", "warning"], sort=False).size().reset_index(name="count")
    return [(row["policy"], row["warning"], row["count"]) for row in counts.to_dict("records")]


def _drawings(drawn: Sequence[Figure]) -> dict[str, bytes]:
    """What the page shows of each figure, by name: SVG up to `MOST_SVG_BYTES` together, from there on PNG.

    PNG too where a figure has more than `MOST_MARKS`.
    """
    pictures: dict[str, bytes] = {}
    for figure in drawn:
        has_room = sum(map(len, pictures.values())) < MOST_SVG_BYTES and len(figure.data) <= MOST_MARKS
        pictures[figure.name] = figure.render("svg") if has_room else figure.render("png", SCREEN_DPI)
    return pictures


def _embedded(picture: bytes) -> str:
    kind = "png" if _is_png(picture) else "svg+xml"
    return f"data:image/{kind};base64," + base64.b64encode(picture).decode()


def _is_png(picture: bytes) -> bool:
    return picture.startswith(b"\x89PNG")
