"""Why Phi_FT ranks shares as it does: prints a table of docs/theory.md, ``python docs/results/ranking.py`` (minutes).

The families of docs/results.md, whose accuracy and Phi_FT are in their family.csv, ranked again with the task gap that
pre-training really leaves in the place of the fitted curve, and by what fine-tuning leaves of that.
"""

import math
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import kendalltau

from prefine.emulator.analysis.hindsight import NAME
from prefine.emulator.bound import BoundTerms
from prefine.emulator.experiment.hindsight import BATCHES, ROUNDS, family
from prefine.emulator.scenario.source import read_source
from prefine.emulator.types import Problem, Workload

SOURCE = ("task.partition=source", "learning.effort=2_000_000")
WORLDS: Mapping[str, tuple[str, tuple[str, ...], tuple[int, ...]]] = {
    "study": ("digits, perceptron", ("task.samples=100",), (4, 8, 16, 32)),
    "transformer": ("digits, transformer", ("task.model=transformer", "learning.effort=200_000"), (16, 32)),
    "letters": ("text, perceptron", ("task.data=letters", "task.samples=1000", *SOURCE), (12, 24)),
    "sensors": ("watch, perceptron", ("task.data=watch", "task.samples=400", *SOURCE), (8, 16)),
    "many": ("digits, 1,400 samples", ("task.samples=1400",), (4, 16)),
    "shift": ("digits, strong shift", ("task.stretch_columns=32",), (8,)),
    "fleet": ("digits, 20 devices", ("devices.count=20",), (8,)),
    "rayleigh": ("digits, Rayleigh fading", ("channel.model=rayleigh",), (8,)),
    "logistic": ("digits, logistic", ("task.model=logistic",), (8,)),
    "dirichlet": ("digits, Dirichlet(.3)", ("task.partition=dirichlet", "task.dirichlet_alpha=0.3"), (8,)),
}
"""Folder of the results, what the table calls it, how it differs from the study (the Makefile), and its delays."""

SEEDS = (1000, 1001, 1002)
"""Of models that no run of the results has."""

LOOKED, SAMPLES = 6, 16
"""Fine-tuning rounds whose pace is measured, and each device's samples in them."""


class Seen(NamedTuple):
    """The task gap after N server rounds of b0 samples, by (N, b0), and its contraction in a fine-tuning round."""

    gap: dict[tuple[int, int], float]
    contraction: float


def seen(workload: Workload, learning_rate: float) -> Seen:
    """Measured by the recipe's own training; means over `SEEDS`."""
    loss: dict[tuple[int, int], list[float]] = {}
    paces = []
    weights = np.array(workload.weights)
    for seed in SEEDS:
        for batch in BATCHES:
            learner = workload.learner(seed, learning_rate)
            for done in range(ROUNDS[-1] + 1):
                if done in ROUNDS:
                    loss.setdefault((done, batch), []).append(learner.evaluate().train_loss)
                learner.pretrain(batch)
    means = {key: float(np.mean(values)) for key, values in loss.items()}
    lowest = means[0, BATCHES[0]] - workload.constants().initial_gap
    for seed in SEEDS:
        for rounds in ROUNDS[3::3]:
            learner = workload.learner(seed, learning_rate)
            for _ in range(rounds):
                learner.pretrain(BATCHES[0])
            before = learner.evaluate().train_loss
            for _ in range(LOOKED):
                learner.finetune(np.full(len(weights), SAMPLES), weights)
            paces.append(math.log((before - lowest) / (learner.evaluate().train_loss - lowest)) / LOOKED)
    return Seen({key: mean - lowest for key, mean in means.items()}, float(np.mean(paces)))


def predictors(problem: Problem, found: Seen, labels: Collection[str]) -> dict[str, tuple[float, float]]:
    """For each of ``labels``: Phi_FT with the gap that was measured, and what M rounds of fine-tuning leave of that."""
    trained = problem.as_trained
    terms, rate = BoundTerms.of(trained), trained.learning.learning_rate
    made = {}
    for member in family():
        if member.label not in labels:  # it does not fit this budget
            continue
        plan = member.found.plan(problem)
        batch = int(plan.server.batch) if plan.pretrain_rounds else BATCHES[0]
        gap, rounds = found.gap[plan.pretrain_rounds, batch], plan.finetune_rounds
        paid = 2.0 * gap / rate / rounds if rounds else math.inf
        noise = float(terms.round_noise(plan.devices.batch))
        made[member.label] = paid + noise, gap * math.exp(-found.contraction * rounds)
    return made


def ranked(accuracy: pd.Series, predictor: Callable[[str], float]) -> tuple[float, float]:
    """Kendall's tau, 1 where the least is the best, and the accuracy that the least member loses to the best."""
    values = np.array([predictor(label) for label in accuracy.index])
    finite = np.where(np.isfinite(values), values, 1e300)
    return -float(kendalltau(finite, accuracy).statistic), float(accuracy.max() - accuracy.iloc[int(np.argmin(finite))])


def row(folder: str, recipe: str) -> str:
    """One line of the table: means over the delays of a world."""
    name, changes, delays = WORLDS[folder]
    table = pd.read_csv(Path(__file__).parent / f"{folder}-{recipe}" / "family.csv")
    cells, found = [], None
    for delay_s in delays:
        world = read_source(
            "figure-study", (*changes, f"training.preset={recipe}", f"budget.delay_s={delay_s}")
        ).world()
        found = found or seen(world.workload, world.learning_rate)
        cell = table[table["budget.delay_s"] == delay_s] if "budget.delay_s" in table else table
        members = cell[cell["policy"] != NAME].set_index("policy")
        again = predictors(world.problem, found, set(members.index))
        fitted, accuracy = members["bound_ft"], members["test_accuracy"]
        cells.append(
            (
                ranked(accuracy, lambda label, fitted=fitted: float(fitted[label])),
                ranked(accuracy, lambda label, again=again: again[label][0]),
                ranked(accuracy, lambda label, again=again: again[label][1]),
            )
        )
    assert found is not None  # noqa: S101 - every world has a delay
    means = np.mean(cells, axis=0)
    shown = " | ".join(f"{tau:.2f}, {regret:.3f}" for tau, regret in means)
    return f"| {name} | {recipe} | {found.contraction:.3f} | {shown} |"


def main() -> None:
    """Print the table."""
    print("| data, model | recipe | a' | Phi_FT, fitted curve | Phi_FT, measured gap | measured gap times exp(-a' M) |")
    print("|---|---|---|---|---|---|")
    for recipe in ("theory", "practice"):
        for folder in WORLDS:
            print(row(folder, recipe), flush=True)


if __name__ == "__main__":
    main()
