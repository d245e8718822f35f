"""What the terminal shows."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from prefine.emulator.analysis.output import read_tables
from prefine.emulator.terminal.progress import progress
from prefine.emulator.terminal.tables import show_comparison, show_scenarios
from tests.emulator.experiment.synthetic import SyntheticJob, execute


def console(width: int, terminal: bool = False) -> Console:
    return Console(file=io.StringIO(), width=width, force_terminal=terminal, legacy_windows=False)


def text(screen: Console) -> str:
    assert isinstance(screen.file, io.StringIO)
    return screen.file.getvalue()


@pytest.mark.parametrize("width", [80, 160])
def test_the_table_shows_predicted_beside_realised_and_who_failed(compared: Path, width: int) -> None:
    screen = console(width)
    show_comparison(read_tables(compared), screen)
    shown = text(screen)
    assert "…" not in shown
    for expected in ("joint", "uniform", "9.8", "(10)", "±", "stopped", "failed no-such-s0: budget.delay_s = 0.1"):
        assert expected in shown
    assert all(len(line) <= width for line in shown.splitlines())


def test_what_a_user_named_is_shown_as_it_is_written(compared: Path) -> None:
    screen = console(160)
    tables = read_tables(compared)
    odd = {"joint": "[red]joint[/red]"}
    runs, table = (frame.replace({"policy": odd, "reference": odd}) for frame in (tables.runs, tables.comparison))
    show_comparison(replace(tables, runs=runs, comparison=table), screen)
    assert "[red]joint[/red]" in text(screen)
    show_scenarios([("[bold]mine", "a [/] b")], screen)
    assert "[bold]mine" in text(screen)
    assert "a [/] b" in text(screen)


def test_a_sweep_names_its_varied_values(swept: Path) -> None:
    screen = console(160)
    show_comparison(read_tables(swept), screen)
    assert "delay_s" in text(screen)
    assert "energy_j" in text(screen)


def test_progress_is_for_terminals_only_and_not_for_the_quiet() -> None:
    job = SyntheticJob("joint", 0)
    for screen, quiet, silent in (
        (console(80), False, True),
        (console(80, True), True, True),
        (console(80, True), False, False),
    ):
        with progress(2, screen, quiet) as tick:
            tick(job, execute(job))
        assert (text(screen) == "") is silent
