"""Copy what docs/results.md shows out of the sweeps' output folders: trimmed tables and the plots of each question.

``python docs/results/collect.py FROM TO``: FROM holds one output folder of ``prefine sweep`` per question.
"""

import shutil
import sys
from pathlib import Path

import pandas as pd

from prefine.emulator.analysis.statistics import estimate, kendall_tau

PLOTS = {
    "delay": (
        "test-accuracy-over-budget-delay-s",
        "bound-over-budget-delay-s",
        "pretrain-rounds-over-budget-delay-s",
        "finetune-rounds-over-budget-delay-s",
    ),
    "energy": (
        "test-accuracy-over-budget-energy-j",
        "bound-over-budget-energy-j",
        "pretrain-rounds-over-budget-energy-j",
        "finetune-rounds-over-budget-energy-j",
    ),
    "shift": ("test-accuracy-over-task-stretch-columns", "bound-over-task-stretch-columns"),
    "devices": ("test-accuracy-over-devices-count", "bound-over-devices-count"),
    "batch": ("test-accuracy-over-devices-max-batch", "bound-over-devices-max-batch"),
    "tradeoff": ("test-accuracy-over-budget-delay-s-and-budget-energy-j",),
    "study": ("bound-and-realised",),
}
FIGURES = ("test_accuracy", "mean_grad_norm_sq", "bound", "bound_ft", "pretrain_rounds", "finetune_rounds")
DIGITS = "%.6g"


def table(comparison: pd.DataFrame) -> pd.DataFrame:
    """The columns of comparison.csv that the page speaks of."""
    varied = list(comparison.columns[: comparison.columns.get_loc("policy")])
    figures = [f"{figure}_{part}" for figure in FIGURES for part in ("mean", "ci95")]
    paired = ["test_accuracy_diff", "test_accuracy_diff_ci95", "test_accuracy_win_rate"]
    return comparison[[*varied, "policy", "reference", "runs", "failed", *figures, *paired]]


def agreement(folder: Path) -> pd.DataFrame:
    """How well the bounds foretell what was realised, over all cells and over those of each varied value.

    A cell is one combination of varied values. ``holds``: share of runs whose mean squared gradient norm is at most the
    bound; ``looseness``: median of bound over realised; for each Kendall's tau of ranking.csv (over the policies of a
    cell) its mean over cells, its half-width ``*_ci95`` (t), and ``*_pooled``, over policies and cells together.
    """
    runs = pd.read_csv(folder / "runs.csv")
    ranking = pd.read_csv(folder / "ranking.csv")
    varied = list(ranking.columns[: ranking.columns.get_loc("policies")])
    parts = [("all", runs, ranking)]
    parts += [
        (f"{key} = {value}", runs[runs[key] == value], part)
        for key in varied
        for value, part in ranking.groupby(key, sort=False)
    ]
    return pd.DataFrame([{"part": name, **_agreement(mine, cells, varied)} for name, mine, cells in parts])


def _agreement(runs: pd.DataFrame, cells: pd.DataFrame, varied: list[str]) -> dict[str, float]:
    row = {
        "cells": len(cells),
        "runs": len(runs),
        "holds": float((runs["mean_grad_norm_sq"] <= runs["bound"]).mean()),
        "looseness": float((runs["bound"] / runs["mean_grad_norm_sq"]).median()),
    }
    means = runs.groupby([*varied, "policy"], sort=False)[["bound", "bound_ft", "mean_grad_norm_sq", "test_accuracy"]]
    designs = means.mean()
    for bound in ("bound", "bound_ft"):
        for name, realised in (("grad_norm", designs["mean_grad_norm_sq"]), ("accuracy", -designs["test_accuracy"])):
            tau = f"{bound}_tau_{name}"
            row[tau], row[f"{tau}_ci95"] = estimate(cells[tau])
            row[f"{tau}_pooled"] = kendall_tau(designs[bound], realised)
    return row


def collect(source: Path, target: Path) -> None:
    """For every question that ``source`` answers, a folder in ``target`` made anew."""
    for question, plots in PLOTS.items():
        folder = source / question
        if not (folder / "comparison.csv").is_file():
            print(f"{folder}: not run, left as it is")
            continue
        (target / question).mkdir(parents=True, exist_ok=True)
        table(pd.read_csv(folder / "comparison.csv")).to_csv(
            target / question / "comparison.csv", index=False, float_format=DIGITS
        )
        pd.read_csv(folder / "ranking.csv").to_csv(target / question / "ranking.csv", index=False, float_format=DIGITS)
        if question == "study":
            agreement(folder).to_csv(target / question / "agreement.csv", index=False, float_format=DIGITS)
        for plot in plots:
            shutil.copyfile(folder / "figures" / f"{plot}.svg", target / question / f"{plot}.svg")


if __name__ == "__main__":
    collect(Path(sys.argv[1]), Path(sys.argv[2]))
