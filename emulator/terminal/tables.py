"""The comparison of policies, and lists of policies and scenarios, for a person at a terminal."""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from prefine.emulator.analysis import hindsight
from prefine.emulator.analysis.output import Tables
from prefine.emulator.analysis.tables import REALISED, SCORE
from prefine.emulator.analysis.wording import difference, number, plus_minus, regret, shown


def show_comparison(tables: Tables, console: Console) -> None:
    """Print the verdict, the comparison, predicted beside realised, then failed runs with their reasons."""
    console.print(tables.verdict, highlight=False, markup=False)
    reference = tables.reference
    caption = (
        "Means over seeds, ± half-width of the 95 % interval. Gain: test accuracy against "
        f"{escape(reference)}, same seeds. Rounds: pre-training+fine-tuning; in brackets what the plan promised."
    )
    if len(tables.hindsight):
        caption += " Regret: test accuracy lost against hindsight, the best share of pre-training known afterwards."
    table = Table(box=box.SIMPLE_HEAD, caption=caption, caption_justify="left", pad_edge=False, padding=(0, 1, 0, 0))
    for key in tables.keys:
        table.add_column(escape(key).replace(".", ".\n"), justify="right")
    table.add_column("policy", no_wrap=True)
    asked = len(tables.hindsight) > 0
    for heading in ("rounds", "accuracy", "gain", _REGRET if asked else _BOUND, "delay s\n(plan)", "energy J\n(plan)"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("stopped by", justify="right")
    reasons = _reasons(tables)
    for row in tables.comparison.to_dict("records"):
        case = tuple(row[key] for key in tables.keys)
        table.add_row(
            *(escape(shown(value)) for value in case),
            escape(row["policy"]),
            *_cells(row, asked),
            "-" if row["policy"] == hindsight.NAME else escape(reasons.get((*case, row["policy"]), "failed")),
        )
    console.print(table)
    for run in tables.runs[tables.runs["status"] == "failed"].to_dict("records"):
        console.print(f"[red]failed[/red] {escape(str(run['run_id']))}: {escape(str(run['stop_reason']))}")


_BOUND = "grad²\n(bound)"
_REGRET = "regret"
"""In place of the bound where hindsight was asked for: both do not fit a terminal of 80 columns."""


def _cells(row: dict[Any, Any], hindsight_asked: bool) -> list[str]:
    def beside(realised: str, predicted: str) -> str:
        return f"{number(row[f'{realised}_mean'])}\n({number(row[f'{predicted}_mean'])})"

    return [
        f"{number(row['pretrain_rounds_mean'])}+{number(row['finetune_rounds_mean'])}",
        plus_minus(row[f"{SCORE}_mean"], row[f"{SCORE}_ci95"], 3).replace(" ± ", "\n±"),
        difference(row).replace(" ± ", "\n±"),
        regret(row).replace(" ± ", "\n±") if hindsight_asked else beside(REALISED, "bound"),
        beside("delay_s", "predicted_delay_s"),
        beside("energy_j", "predicted_energy_j"),
    ]


def _reasons(tables: Tables) -> dict[tuple[object, ...], str]:
    """Why each policy's finished runs stopped: the commonest reason first, with counts where there are several."""
    reasons: dict[tuple[object, ...], str] = {}
    for case, group in tables.done.groupby([*tables.keys, "policy"], sort=False, dropna=False):
        counts = group["stop_reason"].value_counts().to_dict()
        reasons[tuple(case)] = (
            str(next(iter(counts))) if len(counts) == 1 else ", ".join(f"{name} ({n})" for name, n in counts.items())
        )
    return reasons


def show_policies(rows: Sequence[tuple[str, type, Mapping[str, Any]]], console: Console) -> None:
    """Names, parameters with defaults, and the first line of each docstring."""
    table = Table()
    for heading in ("policy", "what it is", "parameters [policies.NAME]"):
        table.add_column(heading)
    for name, made, parameters in rows:
        listed = ", ".join(key if value is MISSING else f"{key} = {value}" for key, value in parameters.items())
        table.add_row(escape(name), escape((made.__doc__ or "").strip().split("\n")[0]), escape(listed))
    console.print(table)


def show_scenarios(rows: Sequence[tuple[str, str]], console: Console) -> None:
    """Names and descriptions."""
    table = Table()
    table.add_column("scenario", no_wrap=True)
    table.add_column("what it shows")
    for name, description in rows:
        table.add_row(escape(name), escape(description))
    console.print(table)
