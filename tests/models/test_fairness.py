"""One model on each device's data, against looking at each device alone."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from prefine.emulator.types import ClientLearner
from prefine.models.data.partition import split_alike
from prefine.models.data.samples import Samples
from prefine.models.fairness import losses_of, scores_of
from prefine.models.federation import Federation
from prefine.models.learner import Learner
from prefine.models.objective import Batch, Objective, evenly
from prefine.models.workload import Workload

Make = Callable[..., Workload]

learner_type: type[ClientLearner] = Learner
"""mypy holds that a learner fits the emulator's protocol, by this line."""


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_all_devices_at_once_are_each_device_alone(
    kind: str, federation: Federation, objective: Callable[..., Objective]
) -> None:
    model, batch = objective("mlp"), federation.task
    if kind == "regression":
        model.kind, batch = "regression", Batch(batch.x, batch.y.double() + batch.x[:, 0, 0, 0], batch.share)
    parts = (*federation.parts, np.zeros(0, dtype=np.int64))
    losses, scores = losses_of(model, batch, parts), scores_of(model, batch, parts)
    for k, part in enumerate(federation.parts):
        assert losses[k] == pytest.approx(model.loss(evenly(batch, part)), rel=1e-9)
        assert scores[k] == pytest.approx(model.score(evenly(batch, part)), rel=1e-9)
    assert np.isnan(losses[-1])
    assert np.isnan(scores[-1])
    assert np.array(federation.weights) @ losses[:-1] == pytest.approx(model.loss(batch), rel=1e-9)


def test_held_out_samples_follow_the_devices_classes() -> None:
    generator = np.random.default_rng(3)
    task = Samples(np.zeros((200, 1), np.float32), np.repeat(np.arange(4), 50))
    held = Samples(np.zeros((90, 1), np.float32), np.r_[np.repeat(np.arange(4), 20), np.full(10, 7)])
    shares = np.array([[40, 10, 0, 25], [10, 40, 50, 25]])  # samples of each class, device by device
    first = np.concatenate([50 * c + np.arange(count) for c, count in enumerate(shares[0])])
    parts = (first, np.setdiff1d(np.arange(200), first))
    dealt = split_alike(held, task, parts, generator)
    for row, part in zip(shares, dealt, strict=True):
        assert np.bincount(held.y[part].astype(int), minlength=8)[:4].tolist() == (row * 20 // 50).tolist()
    assert sorted(np.concatenate(dealt)) == list(range(80))  # nobody has class 7


def test_a_regression_is_dealt_by_tenths_of_the_tasks_target() -> None:
    generator = np.random.default_rng(1)
    task = Samples(np.zeros((300, 1), np.float32), np.sort(generator.normal(size=300)).astype(np.float32))
    held = Samples(np.zeros((100, 1), np.float32), generator.normal(size=100).astype(np.float32))
    low, high = split_alike(held, task, (np.arange(150), np.arange(150, 300)), generator)
    assert held.y[low].max() <= np.quantile(task.y, 0.51)
    assert held.y[high].min() >= np.quantile(task.y, 0.49)


def test_what_a_learner_says_of_its_devices(workload: Make) -> None:
    made = workload(partition="dirichlet", dirichlet_alpha=0.3, training={"average_last": 0.5, "personalise": 2})
    learner = made.learner(2, 0.1)
    for _ in range(6):
        learner.finetune(np.full(4, 5), np.array(made.weights))
    before = learner.objective.weights.clone()
    told = learner.client_results()
    assert torch.equal(learner.objective.weights, before)
    assert told.samples.sum() == 40
    assert told.test_samples.sum() == 397
    assert np.array(made.weights) @ told.train_loss == pytest.approx(learner.evaluate().train_loss, rel=1e-6)
    assert told.test_samples @ told.test_accuracy / 397 == pytest.approx(learner.evaluate().test_accuracy, rel=1e-9)
    assert np.mean(told.personal_accuracy - told.test_accuracy) > 0.05  # each has few classes, and learns them
    plain = workload(partition="dirichlet", dirichlet_alpha=0.3).learner(2, 0.1)
    assert np.isnan(plain.client_results().personal_accuracy).all()
