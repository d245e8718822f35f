from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from prefine.emulator import types
from prefine.emulator.randomness import stream
from prefine.emulator.scenario.training import TrainingSettings
from prefine.models import networks
from prefine.models.learner import Learner
from prefine.models.workload import Workload

Make = Callable[..., Workload]

workload_type: type[types.Workload] = Workload
learner_type: type[types.Learner] = Learner
"""mypy holds that the models fit the emulator's protocols, by these two lines."""


def test_cost_follows_model_and_uploads(workload: Make) -> None:
    assert tuple(workload().cost) == (4 * 4096 + 6 * 640, 1, 32 * 4810, 32 * 4810, 4 * 4096 + 6 * 640, 0.0)
    assert workload(finetune="last", parameter_bits=8).cost.base_bits == 8 * (64 * 64 + 64)
    assert workload(model="logistic", parameter_bits=16).cost.uplink_bits == 16 * 650
    sparse = workload(training={"upload": "top-k", "upload_share": 0.1, "local_steps": 3}).cost
    assert (sparse.local_steps, sparse.uplink_bits, sparse.model_bits) == (3, 481 * (32 + 13), 32 * 4810)


def test_validation_samples_are_held_out_of_training(workload: Make) -> None:
    plain, split, again = workload(), workload(validation=0.25), workload(validation=10)
    assert [plain._content() == split._content(), split._content() == again._content()] == [False, True]
    assert (split.provenance()["task"], split.provenance()["validation"]) == ("30", "10")
    assert "validation" not in plain.provenance()
    data, held, whole = split._federation, split._federation.validation, plain._federation
    assert held is not None
    assert torch.equal(data.test.x, whole.test.x)
    rows = [batch.x.reshape(len(batch), -1).numpy() for batch in (data.task, held, whole.task)]
    assert np.array_equal(np.unique(np.concatenate(rows[:2]), axis=0), np.unique(rows[2], axis=0))
    assert sum(split.weights) == pytest.approx(1.0)
    learner = split.learner(0, 0.2)
    learner.pretrain(16)
    found = learner.evaluate()
    assert found.validation_loss == learner.objective.loss(held)
    assert found.validation_accuracy == learner.objective.score(held)
    assert found.train_loss == pytest.approx(learner.objective.loss(data.task))
    assert np.isnan(plain.learner(0, 0.2).evaluate().validation_loss)


@pytest.mark.parametrize("average_last", [0.0, 0.5])
def test_the_best_of_the_evaluated_models_is_kept(workload: Make, average_last: float) -> None:
    """Steps so long that the score goes up and down; the latest model of the twin is evaluated beside it."""
    recipe = {"learning_rate": 1.0, "average_last": average_last}
    best, latest = (
        workload(validation=0.5, samples=60, training=recipe | {"keep": keep}).learner(1, 0.2)
        for keep in ("best", "latest")
    )
    earlier, seen = 0, [best.evaluate()]
    assert seen == [latest.evaluate()]
    for number in range(24):
        if number == 12:  # the hand-over begins a new choice
            seen = []
        for learner in (best, latest):
            learner.pretrain(8) if number < 12 else learner.finetune(np.full(4, 2), np.full(4, 0.25))
        kept, now = best.evaluate(), latest.evaluate()
        seen.append(now)
        wanted = max(seen, key=lambda found: (found.validation_accuracy, -found.validation_loss))
        assert kept == wanted._replace(grad_norm_sq=now.grad_norm_sq)
        earlier += kept != now
    assert 0 < earlier < 24
    shares = np.array(best._data.weights)
    assert best.client_results().train_loss @ shares == pytest.approx(kept.train_loss, rel=1e-5)


def test_scenario_seed_chooses_data_and_run_seed_does_not(workload: Make) -> None:
    first, again, other = workload(seed=1), workload(seed=1), workload(seed=2)
    assert first.provenance() == again.provenance()
    assert first.provenance()["sha256"] != other.provenance()["sha256"]
    assert sum(workload(partition="dirichlet").weights) == pytest.approx(1.0)


def test_recipe_scales_the_steps_of_training(workload: Make) -> None:
    rates = [
        workload(training=training).learner(0, 0.2)._step.rate
        for training in ({}, {"preset": "practice"}, {"learning_rate": 0.07}, {"learning_rate": "0.5/L"})
    ]
    assert rates == pytest.approx([0.2, 0.6, 0.07, 0.2])


@pytest.mark.parametrize("model", ["logistic", "mlp", "cnn", "resnet"])
def test_every_model_trains_on_the_default_pair(workload: Make, model: str) -> None:
    learner = workload(model=model, samples=200).learner(0, 0.1)
    start = learner.evaluate()
    for _ in range(40):
        learner.finetune(np.full(4, 16), np.full(4, 0.25))
    assert learner.evaluate().train_loss < start.train_loss


def test_regression_trains(workload: Make) -> None:
    learner = workload(data="cars", samples=None, partition="source").learner(0, 0.05)
    for _ in range(100):
        learner.pretrain(16)
    before = learner.evaluate()
    for _ in range(100):
        learner.finetune(np.full(4, 8), np.full(4, 0.25))
    after = learner.evaluate()
    assert after.train_loss < before.train_loss
    assert after.test_accuracy > 0.4


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ({"data": "imagenet"}, "neither one of digits"),
        ({"samples": 1401}, "the task has 1400"),
        ({"model": "vgg"}, "unknown"),
        ({"data": "cars", "samples": None, "model": "cnn"}, "images"),
        ({"samples": 3}, "4 devices"),
    ],
)
def test_what_does_not_fit_is_one_clear_line(workload: Make, task: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        workload(**task)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "wrong",
    [{"learning_rate": "L/3"}, {"learning_rate": "0/L"}, {"learning_rate": -1.0}, {"momentum": 1.0}, {"preset": "x"}],
)
def test_wrong_recipes_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TrainingSettings.model_validate(wrong)


def test_what_is_written_wins_over_the_preset() -> None:
    recipe = TrainingSettings.model_validate({"preset": "practice", "momentum": 0.2})
    assert (recipe.learning_rate, recipe.momentum, recipe.average_last) == ("3/L", 0.2, 0.3)


def test_changed_source_of_an_own_model_is_another_model(workload: Make, tmp_path: Path) -> None:
    """The parameters are alike, the operations are not: nothing cached for the first may serve the second."""
    source = """
import torch
def make(shape, outputs):
    conv = torch.nn.Conv2d(1, 2, 3, stride=STRIDE)
    return torch.nn.Sequential(conv, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(2, outputs))
"""
    own, contents = tmp_path / "own.py", []
    for stride in ("1", "2"):
        own.write_text(source.replace("STRIDE", stride))
        made = workload(model=f"{own}:make")
        contents.append((made.cost.flops_per_sample, made._content()))
    assert contents[0][0] > contents[1][0]
    assert contents[0][1] != contents[1][1]


def test_an_own_network_is_checked_once(workload: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen from inside the user's module: after the first network, its forward is not called to build another."""
    own = tmp_path / "own.py"
    own.write_text("""
import torch
class Net(torch.nn.Linear):
    calls = 0
    def forward(self, x):
        Net.calls += 1
        return super().forward(x.flatten(1))
def make(shape, outputs):
    return Net(64, outputs)
""")
    made = workload(model=f"{own}:make")
    first = made.objective(3)
    network: Any = type(first.network)
    assert (before := network.calls) > 0
    made.objective(4)
    assert network.calls == before
    checked = networks.build(f"{own}:make", (1, 8, 8), 10, int(stream(3, "initial weights").integers(2**63)))
    assert torch.equal(first.weights, torch.cat([p.detach().reshape(-1) for p in checked.parameters()]))
