"""The comparison of policies, for a person at a terminal."""

from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from prefine.emulator.analysis import hindsight
from prefine.emulator.analysis.entries import short
from prefine.emulator.analysis.output import Tables
from prefine.emulator.analysis.tables import REALISED, SCORE, VALIDATION
from prefine.emulator.analysis.wording import difference, number, plus_minus, regret, shown


def show_comparison(tables: Tables, console: Console) -> None:
    """Print the verdict, the comparison, predicted beside realised, then failed runs with their reasons.

    Where the terminal is too narrow for all columns, those that say least are left out and named.
    """
    console.print(tables.verdict, highlight=False, markup=False)
    columns = _columns(tables)
    left_out = []
    for heading in _FIRST_TO_GO:
        if (
            heading in columns
            and console.measure(_table(columns), options=console.options.update(width=_ANY_WIDTH)).maximum
            > console.width
        ):
            left_out.append(heading.split("\n")[0])
            del columns[heading]
    table = _table(columns)
    table.caption = escape(_caption(tables, left_out))
    console.print(table)
    for run in tables.runs[tables.runs["status"] == "failed"].to_dict("records"):
        console.print(f"[red]failed[/red] {escape(str(run['run_id']))}: {escape(str(run['stop_reason']))}")


_ROUNDS, _ACCURACY, _GAIN, _REGRET, _STOPPED = "rounds", "accuracy", "gain", "regret", "stopped by"
_VALIDATION = "validation\naccuracy"
_BOUND, _DELAY, _ENERGY = "grad²\n(bound)", "delay s\n(plan)", "energy J\n(plan)"
_FIRST_TO_GO = (_VALIDATION, _BOUND, _STOPPED, _ROUNDS, _ENERGY, _DELAY, _REGRET, _GAIN)
"""Columns that give way to narrow terminals, in this order; varied keys, policy and accuracy stay."""

_LONG_WORD = 9
_ANY_WIDTH = 10_000


def _columns(tables: Tables) -> dict[str, list[str]]:
    """The cells of each column by its heading; lines within a cell are apart already."""
    rows, reasons = tables.comparison.to_dict("records"), _reasons(tables)

    def beside(realised: str, predicted: str) -> list[str]:
        return [f"{number(row[f'{realised}_mean'])}\n({number(row[f'{predicted}_mean'])})" for row in rows]

    columns = {_heading(word): [shown(row[key]) for row in rows] for key, word in short(tables.keys).items()}
    columns["policy"] = [row["policy"] for row in rows]
    columns[_ROUNDS] = [f"{number(row['pretrain_rounds_mean'])}+{number(row['finetune_rounds_mean'])}" for row in rows]
    columns[_ACCURACY] = [_over(plus_minus(row[f"{SCORE}_mean"], row[f"{SCORE}_ci95"], 3)) for row in rows]
    if f"{VALIDATION}_mean" in tables.comparison.columns:
        columns[_VALIDATION] = [
            _over(plus_minus(row[f"{VALIDATION}_mean"], row[f"{VALIDATION}_ci95"], 3)) for row in rows
        ]
    columns[_GAIN] = [_over(difference(row)) for row in rows]
    if len(tables.hindsight):
        columns[_REGRET] = [_over(regret(row)) for row in rows]
    columns[_BOUND] = beside(REALISED, "bound")
    columns[_DELAY] = beside("delay_s", "predicted_delay_s")
    columns[_ENERGY] = beside("energy_j", "predicted_energy_j")
    columns[_STOPPED] = [
        "-"
        if row["policy"] == hindsight.NAME
        else reasons.get((*(row[key] for key in tables.keys), row["policy"]), "failed")
        for row in rows
    ]
    return columns


def _heading(word: str) -> str:
    """A varied key on several lines where it is long."""
    return word if len(word) <= _LONG_WORD else word.replace("_", "_\n").replace(".", ".\n")


def _over(interval: str) -> str:
    return interval.replace(" ± ", "\n±")


def _table(columns: Mapping[str, Sequence[str]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, caption_justify="left", pad_edge=False, padding=(0, 1, 0, 0))
    for heading in columns:
        table.add_column(escape(heading), justify="left" if heading == "policy" else "right", overflow="fold")
    for cells in zip(*columns.values(), strict=True):
        table.add_row(*map(escape, cells))
    return table


def _caption(tables: Tables, left_out: Sequence[str]) -> str:
    said = [
        "Means over seeds, ± half-width of the 95 % interval.",
        f"Gain: test accuracy against {tables.reference}, same seeds.",
        "Rounds: pre-training+fine-tuning; in brackets what the plan promised.",
    ]
    if len(tables.hindsight):
        said.append("Regret: test accuracy lost against hindsight, the best share of pre-training known afterwards.")
    if left_out:
        said.append(f"Left out here for want of room: {', '.join(left_out)}.")
    return " ".join(said)


def _reasons(tables: Tables) -> dict[tuple[object, ...], str]:
    """Why each policy's finished runs stopped: the commonest reason first, with counts where there are several."""
    reasons: dict[tuple[object, ...], str] = {}
    for case, group in tables.done.groupby([*tables.keys, "policy"], sort=False, dropna=False):
        counts = group["stop_reason"].value_counts().to_dict()
        reasons[tuple(case)] = (
            str(next(iter(counts))) if len(counts) == 1 else ",\n".join(f"{name} ({n})" for name, n in counts.items())
        )
    return reasons
