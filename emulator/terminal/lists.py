"""Lists of policies and scenarios, for a person at a terminal."""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table


def show_parts(noun: str, place: str, rows: Sequence[tuple[str, type, Mapping[str, Any]]], console: Console) -> None:
    """Names, parameters with defaults, which stand at ``place`` of a scenario, and the first line of each docstring."""
    table = Table()
    for heading in (noun, "what it is", f"parameters {place}"):
        table.add_column(escape(heading), overflow="fold", no_wrap=heading == noun)
    for name, made, parameters in rows:
        listed = ", ".join(key if value is MISSING else f"{key} = {value}" for key, value in parameters.items())
        table.add_row(escape(name), escape((made.__doc__ or "").strip().split("\n")[0]), escape(listed))
    console.print(table)


def show_scenarios(rows: Sequence[tuple[str, str]], console: Console) -> None:
    """Names and descriptions."""
    table = Table()
    table.add_column("scenario", no_wrap=True, overflow="fold")
    table.add_column("what it shows")
    for name, description in rows:
        table.add_row(escape(name), escape(description))
    console.print(table)
