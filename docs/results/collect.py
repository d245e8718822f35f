"""Copy what docs/results.md shows out of the sweeps' output folders: trimmed tables and the plots of each question.

``python docs/results/collect.py FROM TO``: FROM holds one output folder of ``prefine sweep`` per question.
"""

import shutil
import sys
from pathlib import Path

import pandas as pd

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
        for plot in plots:
            shutil.copyfile(folder / "figures" / f"{plot}.svg", target / question / f"{plot}.svg")


if __name__ == "__main__":
    collect(Path(sys.argv[1]), Path(sys.argv[2]))
