"""The comparison as a table for a reader: rows of texts, and those as Markdown, LaTeX or HTML."""

import html
import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Literal

import pandas as pd

from prefine.emulator.analysis.entries import short
from prefine.emulator.analysis.tables import SCORE, VALIDATION
from prefine.emulator.analysis.wording import difference, number, plus_minus, regret, shown

Markup = Literal["latex", "markdown"]
SUFFIXES: Mapping[Markup, str] = {"latex": "tex", "markdown": "md"}
"""The ends of the files' names."""

_SPECIAL = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$"}
_SPECIAL |= {sign: f"\\{sign}" for sign in "&%$#_{}"}


def cells(comparison: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """A row of texts for each row of the wide ``comparison``; columns are headings.

    Varied keys by their last word, policy, rounds of both stages, then means over seeds ± half-width of the 95 %
    interval: accuracy, its gain over the reference at the same seeds, regret where hindsight was asked for, delay and
    energy.
    """
    columns: dict[str, Callable[[Mapping[Hashable, Any]], str]] = {
        "policy": lambda row: str(row["policy"]),
        "rounds": lambda row: f"{number(row['pretrain_rounds_mean'])} + {number(row['finetune_rounds_mean'])}",
        "test accuracy": lambda row: plus_minus(row[f"{SCORE}_mean"], row[f"{SCORE}_ci95"], 3),
    }
    if f"{VALIDATION}_mean" in comparison.columns:
        columns["validation accuracy"] = lambda row: plus_minus(row[f"{VALIDATION}_mean"], row[f"{VALIDATION}_ci95"], 3)
    columns["gain"] = difference
    if comparison["regret"].notna().any():
        columns["regret"] = regret
    columns["delay in s"] = lambda row: plus_minus(row["delay_s_mean"], row["delay_s_ci95"])
    columns["energy in J"] = lambda row: plus_minus(row["energy_j_mean"], row["energy_j_ci95"])
    words = short(keys)
    return pd.DataFrame(
        [
            {
                **{word: shown(row[key]) for key, word in words.items()},
                **{name: of(row) for name, of in columns.items()},
            }
            for row in comparison.to_dict("records")
        ]
    )


def markdown(table: pd.DataFrame) -> str:
    """``table`` of texts as a Markdown table."""
    rows = [list(table.columns), ["---"] * len(table.columns), *table.to_numpy().tolist()]
    return "".join("| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " |\n" for row in rows)


def latex(table: pd.DataFrame) -> str:
    """``table`` of texts as a LaTeX tabular, with the rules of the package booktabs."""
    lines = [" & ".join(map(_escaped, row)) + r" \\" for row in (list(table.columns), *table.to_numpy().tolist())]
    alignment = "".join("l" if name == "policy" else "r" for name in table.columns)
    top = f"\\begin{{tabular}}{{{alignment}}}"
    parts = [top, r"\toprule", lines[0], r"\midrule", *lines[1:], r"\bottomrule", r"\end{tabular}"]
    return "\n".join(parts) + "\n"


def as_html(table: pd.DataFrame, caption: str) -> str:
    """``table`` of texts as an HTML table."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in table.columns)
    rows = ["".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in table.to_numpy().tolist()]
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return (
        f"<table><caption>{html.escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def _escaped(text: str) -> str:
    """``text`` for LaTeX, numbers with a sign as mathematics."""
    plain = "".join(_SPECIAL.get(sign, sign) for sign in text)
    return re.sub(r"(?<![\w-])[+-]\d[\d.]*", lambda found: f"${found[0]}$", plain)
