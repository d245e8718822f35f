"""What the terminal shows."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from prefine.emulator.analysis.output import read_tables
from prefine.emulator.terminal.lists import show_scenarios
from prefine.emulator.terminal.progress import Progress
from prefine.emulator.terminal.tables import show_comparison
from prefine.emulator.watch import advance, stage, watching
from tests.emulator.experiment.conftest import make_folder
from tests.emulator.experiment.synthetic import SyntheticJob, execute


def console(width: int, terminal: bool = False) -> Console:
    return Console(file=io.StringIO(), width=width, force_terminal=terminal, legacy_windows=False)


def text(screen: Console) -> str:
    assert isinstance(screen.file, io.StringIO)
    return screen.file.getvalue()


@pytest.mark.parametrize("width", [40, 80, 120])
def test_columns_give_way_whole_and_are_named(tmp_path: Path, width: int) -> None:
    varied = (("budget.delay_s", 5.0), ("task.stretch_columns", 20), ("channel.model", "rayleigh-and-more"))
    tables = read_tables(make_folder(tmp_path, [varied]))
    screen = console(width)
    show_comparison(tables, screen)
    shown = text(screen)
    assert "…" not in shown
    assert all(len(line) <= width for line in shown.splitlines())
    table, _, caption = shown.partition("Means over seeds")
    left_out = " ".join(caption.split()).partition("for want of room: ")[2].rstrip(".").split(", ")
    for heading in ("gain", "rounds", "delay s", "energy J", "grad²", "stopped"):
        assert (heading in table) is not any(name.startswith(heading) for name in left_out)
    if width > 40:
        assert {"rayleigh-and-more", "pretrain-only", "accuracy"} <= set(table.split())
        assert "budget." not in table


@pytest.mark.parametrize("width", [80, 160])
def test_the_table_shows_predicted_beside_realised_and_who_failed(compared: Path, width: int) -> None:
    screen = console(width)
    show_comparison(read_tables(compared), screen)
    shown = text(screen)
    assert "…" not in shown
    for expected in ("joint", "uniform", "9.8", "(10)", "±", "stopped", "failed no-such__s0: budget.delay_s = 0.1"):
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
    failed = replace(execute(job), run=execute(job).run._replace(status="failed"))
    for screen, quiet, silent in (
        (console(80), False, True),
        (console(80, True), True, True),
        (console(80, True), False, False),
    ):
        progress = Progress(screen, quiet)
        with progress(2) as listener:
            listener.done(job, execute(job))
            listener.done(job, failed)
        assert (text(screen) == "") is silent
        assert (progress.kept, progress.total) == (1, 2)
        listener.found(1)
        assert ("1 of 2 runs are there already" in text(screen)) is not quiet


def test_long_work_has_a_bar_of_its_own_inside_the_runs_or_alone() -> None:
    for screen, silent in ((console(80, True), False), (console(80), True)):
        progress = Progress(screen)
        advance(5.0)  # nobody waits
        with watching(progress.stage), stage("measuring [x]", 10.0):
            advance(4.0)
            progress._bar.refresh()
        assert ("measuring [x]" in text(screen)) is not silent
        assert ("40 %" in text(screen)) is not silent
        with progress(1), watching(progress.stage), stage("joint rehearses"):
            advance(3)
            advance(4)
        assert ("joint rehearses" in text(screen)) is not silent
