"""Warnings on single runs: each just inside and just outside its threshold, and on real runs that deserve them."""

import math

import pytest
from pydantic import TypeAdapter

import prefine
from prefine.emulator.scenario.proof import outside_proof
from prefine.emulator.scenario.training import TrainingSettings
from prefine.emulator.simulation.aggregation import Aggregation
from prefine.emulator.simulation.faults import Faults
from prefine.emulator.simulation.warning import warnings
from prefine.emulator.types import Budget, Evaluation
from tests.emulator.analysis.tables import run
from tests.emulator.scenario.small import SMALL

UNTRAINED = Evaluation(train_loss=2.3, test_accuracy=0.08, grad_norm_sq=1.0, chance_accuracy=0.1)
BUDGET = Budget(delay_s=10.0, energy_j=20.0)


@pytest.mark.parametrize(
    ("figures", "expected"),
    [
        ({}, ""),
        ({"train_loss": 4.59}, ""),
        ({"train_loss": 4.61}, "diverged"),
        ({"train_loss": math.nan}, "diverged"),
        ({"train_loss": math.inf, "test_accuracy": 0.1}, "diverged,at chance"),
        ({"test_accuracy": 0.119}, "at chance"),
        ({"test_accuracy": 0.121}, ""),
        ({"mean_grad_norm_sq": 1.01}, "bound broken"),
        ({"mean_grad_norm_sq": 1.01, "bound": math.nan}, ""),
        ({"delay_s": 8.9, "energy_j": 17.9}, "budget unused"),
        ({"delay_s": 8.9, "energy_j": 18.1}, ""),
        ({"delay_s": 8.9, "energy_j": 17.9, "stop_reason": "policy"}, ""),
    ],
)
def test_each_warning_at_its_threshold(figures: dict[str, object], expected: str) -> None:
    assert warnings(run("a", 0, 0.8)._replace(**figures), UNTRAINED, BUDGET) == expected  # type: ignore[arg-type]  # by name


def test_nobody_is_at_a_chance_that_nobody_knows() -> None:
    assert warnings(run("a", 0, 0.0), Evaluation(2.3, 0.1, 1.0), BUDGET) == ""


def test_a_real_run_that_diverges_and_one_that_learns_nothing() -> None:
    wild = prefine.run(SMALL, "uniform", overrides=["training.learning_rate=1e3"]).runs.iloc[0]
    assert wild["status"] == "done"
    assert wild["warning"].startswith("diverged")
    assert wild["outside_proof"] == "steps of 5e+03/L"
    still = prefine.run(SMALL, "uniform", overrides=["training.learning_rate=1e-9", "budget.delay_s=1"]).runs.iloc[0]
    assert "at chance" in still["warning"].split(",")


@pytest.mark.parametrize(
    ("written", "faults", "aggregation", "expected"),
    [
        ({}, {}, {}, ()),
        ({"learning_rate": 0.2}, {}, {}, ()),
        ({"learning_rate": 0.5}, {}, {}, ("steps of 2.5/L",)),
        ({"preset": "practice"}, {}, {}, ("steps of 3/L", "momentum")),
        ({"decay": 0.1, "local_steps": 2}, {}, {}, ("steps that shrink", "several local steps")),
        ({"upload": "top-k", "participation": 0.5}, {}, {}, ("compressed uploads", "rounds without some devices")),
        ({"algorithm": "fedprox"}, {}, {}, ("the algorithm fedprox",)),
        ({"algorithm": "mine.py:Own"}, {"round_deadline_s": 1.0}, {}, ("an algorithm of the user's", "faults")),
        ({}, {}, {"mode": "semi-synchronous", "buffer": 2}, ("rounds without some devices",)),
        ({}, {}, {"mode": "asynchronous", "buffer": 2}, ("models of different ages",)),
    ],
)
def test_what_the_proof_does_not_cover(
    written: dict[str, object], faults: dict[str, object], aggregation: dict[str, object], expected: tuple[str, ...]
) -> None:
    training = TrainingSettings.model_validate(written)
    mode: Aggregation = TypeAdapter(Aggregation).validate_python(aggregation)
    assert outside_proof(training, Faults.model_validate(faults), mode, smoothness=5.0) == expected
