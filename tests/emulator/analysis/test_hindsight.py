"""Hindsight and regret against their definition, written out anew; and on real runs against the same from the files."""

import io
import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

import prefine
from prefine.emulator.analysis import hindsight
from prefine.emulator.analysis.comparison import comparison
from prefine.emulator.analysis.output import read_tables
from prefine.emulator.analysis.reading import read_comparison
from prefine.emulator.errors import InputError
from prefine.emulator.terminal.tables import show_comparison
from tests.emulator.analysis.tables import table
from tests.emulator.scenario.small import SMALL


def by_definition(runs: pd.DataFrame, family: pd.DataFrame) -> tuple[float, dict[str, float]]:
    """The accuracy of hindsight and each policy's regret: choose on even seeds, score on odd ones, and round again."""
    scores: dict[str, dict[int, float]] = {}
    for row in family[family["status"] == "done"].to_dict("records"):
        scores.setdefault(str(row["policy"]), {})[int(row["seed"])] = float(row["test_accuracy"])
    seeds = sorted({seed for mine in scores.values() for seed in mine})
    whole = {name: mine for name, mine in sorted(scores.items()) if len(mine) == len(seeds)}
    halves = [[seed for seed in seeds if seed % 2 == parity] for parity in (0, 1)]
    found = []
    for chosen_on, scored_on in itertools.permutations(halves):
        best = max(whole, key=lambda name: sum(whole[name][seed] for seed in chosen_on))  # used at once
        found.append(sum(whole[best][seed] for seed in scored_on) / len(scored_on))
    accuracy = sum(found) / 2
    done = runs[runs["status"] == "done"]
    return accuracy, {p: accuracy - done.loc[done["policy"] == p, "test_accuracy"].mean() for p in runs["policy"]}


@pytest.mark.parametrize("seeds", [2, 5, 8])
def test_regret_is_that_of_the_definition_for_even_and_odd_numbers_of_seeds(seeds: int) -> None:
    generator = np.random.default_rng(seeds)
    family = table({f"given-{n}x16": generator.uniform(0.5, 0.9, seeds) for n in (0, 4, 11, 23)})
    runs = table({"a": generator.uniform(0.5, 0.9, seeds), "b": generator.uniform(0.5, 0.9, seeds)})
    accuracy, regret = by_definition(runs, family)
    rows = comparison(runs, "a", family).set_index("policy")
    assert list(rows.index) == ["a", "b", "hindsight"]
    assert rows.loc["hindsight", "test_accuracy_mean"] == pytest.approx(accuracy, abs=1e-12)
    assert rows.loc[["a", "b"], "regret"].to_dict() == pytest.approx(regret, abs=1e-12)
    assert np.isnan(rows["regret"]["hindsight"])
    means = family.groupby("policy")["test_accuracy"].mean()
    assert rows.loc["hindsight", "member"] == means.idxmax()


def test_the_interval_is_that_of_the_differences_seed_by_seed() -> None:
    """A member that is a constant above the policy under every seed: no spread is left."""
    noise = np.array([0.1, -0.2, 0.05, 0.0])
    family, runs = table({"given-4x16": 0.8 + noise}), table({"a": 0.7 + noise})
    row = comparison(runs, "a", family).set_index("policy").loc["a"]
    assert row["regret"] == pytest.approx(0.1)
    assert row["regret_ci95"] == pytest.approx(0.0, abs=1e-12)


def test_a_member_with_a_failed_run_is_left_out_and_without_members_nothing_is_said() -> None:
    family = table({"given-0x16": [0.5, 0.6], "given-4x16": [0.9, 0.9]})
    family.loc[3, "status"] = "failed"
    assert hindsight.best_member(family) == "given-0x16"
    assert set(hindsight.cross_fitted(family)["policy"]) == {"hindsight"}
    runs = table({"a": [0.7, 0.7]})
    rows = comparison(runs, "a", family.assign(status="failed"))
    assert list(rows["policy"]) == ["a"]
    assert rows["regret"].isna().all()
    assert comparison(runs, "a")["regret"].isna().all()


def test_choosing_does_not_flatter_a_family_of_equals() -> None:
    """Forty members that only noise tells apart: chosen and scored on the same seeds, the best seems .05 ahead."""
    generator = np.random.default_rng(0)
    apart = []
    for _ in range(200):
        family = table({f"given-{n}x16": generator.normal(0.8, 0.05, 4) for n in range(40)})
        apart.append(hindsight.accuracy(hindsight.cross_fitted(family)) - 0.8)
    assert abs(np.mean(apart)) < 4 * np.std(apart) / np.sqrt(200)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real comparison of two policies with hindsight, four seeds."""
    folder = tmp_path_factory.mktemp("hindsight")
    prefine.compare(SMALL, ["joint", "uniform"], seeds=4, hindsight=True, out=folder)
    return folder


def test_on_real_runs_the_regret_follows_from_the_files(out: Path) -> None:
    runs, family = pd.read_csv(out / "runs.csv"), pd.read_csv(out / "hindsight.csv")
    rows = read_comparison(out).set_index("policy")
    accuracy, regret = by_definition(runs, family)
    assert rows.loc["hindsight", "test_accuracy_mean"] == pytest.approx(accuracy, abs=1e-12)
    assert rows["regret"].dropna().to_dict() == pytest.approx(regret, abs=1e-12)
    assert list(family.columns) == list(runs.columns)
    done = family[family["status"] == "done"]
    size = done["policy"].str.extract(r"given-(\d+)x(\d+)").astype(int)
    assert (size[0] == done["planned_pretrain_rounds"]).all()
    assert "do not fit the budgets" in family.loc[family["status"] == "failed", "stop_reason"].iloc[0]
    assert len(family) == 17 * 4  # nine numbers of rounds, two batches; without server rounds the batch is nothing


def test_hindsight_is_in_no_ranking_and_no_plot(out: Path) -> None:
    assert pd.read_csv(out / "ranking.csv")["policies"].iloc[0] == 2
    for path in (out / "figures").glob("*.csv"):
        figure = pd.read_csv(path)
        assert "policy" not in figure or set(figure["policy"]) <= {"joint", "uniform"}, path.name
    assert (out / "figures" / "regret.csv").exists()
    assert set(pd.read_csv(out / "rounds.csv")["run_id"]) == set(pd.read_csv(out / "runs.csv")["run_id"])
    page = (out / "report.html").read_text()
    assert page.index("<h2>Verdict</h2>") < page.index("Test accuracy over") < page.index("<h2>What was run</h2>")


def test_without_the_option_the_same_folder_has_no_hindsight_and_the_same_runs(out: Path, tmp_path: Path) -> None:
    with_it = (out / "runs.csv").read_bytes()
    prefine.compare(SMALL, ["joint", "uniform"], seeds=4, hindsight=True, out=tmp_path, jobs=1)
    assert (tmp_path / "hindsight.csv").read_bytes() == (out / "hindsight.csv").read_bytes()
    tables = prefine.compare(SMALL, ["joint", "uniform"], seeds=4, out=tmp_path)
    assert not (tmp_path / "hindsight.csv").exists()
    assert (tmp_path / "runs.csv").read_bytes() == with_it
    assert tables.hindsight.empty
    assert "hindsight" not in tables.verdict


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"policies": ["joint"], "seeds": [0, 2]}, "--hindsight: needs even and odd seeds, not only 0, 2"),
        ({"policies": {"hindsight": "joint"}}, "policy 'hindsight': the label belongs to"),
    ],
)
def test_what_cannot_be_done_with_hindsight_is_said(options: dict[str, object], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        prefine.compare(SMALL, hindsight=True, **options)  # type: ignore[arg-type]  # options of the list above


def test_the_terminal_begins_with_the_verdict_and_shows_the_regret(out: Path) -> None:
    tables = read_tables(out)
    screen = Console(width=300, file=io.StringIO())
    show_comparison(tables, screen)
    assert isinstance(screen.file, io.StringIO)
    lines = screen.file.getvalue().splitlines()
    text = " ".join(lines[: next(i for i, line in enumerate(lines) if "rounds  " in line)])
    assert tables.verdict.startswith(lines[0].strip()[:80])
    assert "Test accuracy lost against the best share in hindsight" in text
    (row,) = [line for line in lines if line.strip().startswith("hindsight")]
    assert "failed" not in row
    assert any(line.split()[:1] == ["policy"] and "regret" in line for line in lines)
    narrow = Console(width=80, file=io.StringIO())
    show_comparison(tables, narrow)
    assert isinstance(narrow.file, io.StringIO)
    assert "…" not in narrow.file.getvalue()
