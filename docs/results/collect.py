"""Makes the tables of docs/results.md, online.md, async.md and selection.md, and the pictures of the last two.

``python docs/results/collect.py FROM DOCS``: FROM holds what `make figures`, `online`, `async` and `selection` wrote,
one output folder per question and recipe. What the pages need of each goes to the folder of that name in
``DOCS/results``; then the tables of the pages are made anew from these files alone. Where DOCS has no results, it
begins as a copy of docs/.
"""

import itertools
import re
import shutil
import sys
from pathlib import Path

import asynchrony
import pandas as pd
import rules
from result_tables import ONLINE, QUESTIONS, RECIPES, TABLES

from prefine.emulator.analysis.reading import read_comparison

DRAWN = {"async": asynchrony, "selection": rules}
"""The pages with a picture, and what draws it."""

PAGES = ("results.md", "online.md", "async.md", "selection.md")
FIGURES = (
    *("test_accuracy", "train_loss", "mean_grad_norm_sq", "bound", "bound_ft", "pretrain_rounds", "finetune_rounds"),
    *("delay_s", "energy_j", "wasted_energy_j", "overrun_delay_s", "overrun_energy_j"),
)
PARTS = ("mean", "ci95", "diff", "diff_ci95")
DIGITS = "%.6g"
MARKED = re.compile(r"(?<=<!-- table: )(\S+)( -->\n).*?(?=<!-- end -->)", flags=re.DOTALL)
"""A table that is made: its name stands in the comment before it."""


def trimmed(folder: Path) -> pd.DataFrame:
    """The columns of comparison.csv that the pages speak of, and the samples of a server round."""
    comparison = read_comparison(folder)
    varied = list(comparison.columns[: comparison.columns.get_loc("policy")])
    wanted = [f"{figure}_{part}" for figure in FIGURES for part in PARTS]
    rest = ["policy", "reference", "runs", "failed", "member", "regret", "regret_ci95", *wanted]
    table = comparison[[*varied, *rest]].dropna(axis="columns", how="all")
    return table.merge(server_batch(folder, [*varied, "policy"]), how="left")


def server_batch(folder: Path, keys: list[str]) -> pd.DataFrame:
    """Mean samples of a server round for each combination of ``keys`` in runs.csv."""
    runs = pd.read_csv(folder / "runs.csv", usecols=[*keys, "run_id"])
    rounds = pd.read_csv(folder / "rounds.csv", usecols=["run_id", "stage", "server_batch"])
    batch = rounds[rounds["stage"] == "pretrain"].groupby("run_id")["server_batch"].mean()
    runs["server_batch"] = runs["run_id"].map(batch)
    return runs.groupby(keys, sort=False)["server_batch"].mean().reset_index()


def family(runs: pd.DataFrame) -> pd.DataFrame:
    """Mean accuracy, Φ and Φ_FT of each member of the family of hindsight.csv that ran under every seed."""
    varied = list(runs.columns[runs.columns.get_loc("seed") + 1 : runs.columns.get_loc("status")])
    groups = runs[runs["status"] == "done"].groupby([*varied, "policy"], sort=False)
    means = groups[["bound", "bound_ft", "test_accuracy"]].mean()
    return means[groups.size() == runs["seed"].nunique()].reset_index()


def held(runs: pd.DataFrame) -> pd.DataFrame:
    """For each policy, how many runs and means of cells over seeds the bound held for, and how loose it was."""
    done = runs[runs["status"] == "done"]
    varied = list(runs.columns[runs.columns.get_loc("seed") + 1 : runs.columns.get_loc("status")])
    cells = done.groupby([*varied, "policy"], sort=False)[["bound", "mean_grad_norm_sq"]].mean().reset_index()
    tables = {}
    for name, table in (("runs", done), ("cells", cells)):
        looseness = (table["bound"] / table["mean_grad_norm_sq"]).groupby(table["policy"], sort=False)
        tables |= {name: looseness.size(), f"{name}_held": looseness.agg(lambda part: int((part >= 1.0).sum()))}
        tables["looseness"] = looseness.median()
    return pd.DataFrame(tables).reset_index()


def collect(source: Path, results: Path) -> None:
    """For every question and recipe that ``source`` has, its folder in ``results``; others are left as they are."""
    questions = (*QUESTIONS, *(f"online-{world}" for world in ONLINE))
    for question, recipe in itertools.product(questions, RECIPES):
        folder = source / f"{question}-{recipe}"
        if not (folder / "comparison.csv").is_file():
            continue
        parts = {"comparison": trimmed(folder)}
        if (folder / "hindsight.csv").is_file():
            parts["family"] = family(pd.read_csv(folder / "hindsight.csv"))
        if question == "tradeoff":
            parts["held"] = held(pd.read_csv(folder / "runs.csv"))
        (results / folder.name).mkdir(parents=True, exist_ok=True)
        for name, part in parts.items():
            part.to_csv(results / folder.name / f"{name}.csv", index=False, float_format=DIGITS)


def rendered(page: str, results: Path) -> str:
    """``page`` with every marked table made anew from ``results``."""

    def made(mark: re.Match[str]) -> str:
        return f"{mark[1]}{mark[2]}{TABLES[mark[1]](results)}\n"

    return MARKED.sub(made, page)


def main(source: Path, docs: Path) -> None:
    """Collect, then make the tables of the pages, and the picture."""
    here = Path(__file__).parent
    if not (docs / "results").is_dir():
        shutil.copytree(here, docs / "results", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
        for name in PAGES:
            shutil.copyfile(here.parent / name, docs / name)
    collect(source, docs / "results")
    for page in DRAWN.values():
        page.collect(source, docs / "results")
    (docs / "pictures").mkdir(exist_ok=True)
    for name, page in DRAWN.items():
        (docs / "pictures" / f"{name}.svg").write_bytes(page.picture(docs / "results"))
    for name in PAGES:
        file = docs / name
        file.write_text(rendered(file.read_text(encoding="utf-8"), docs / "results"), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
