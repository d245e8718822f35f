"""What is held out, and that training many schedules at once is training each alone."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from prefine.emulator.errors import InputError
from prefine.emulator.randomness import stream
from prefine.emulator.types import FloatArray, Fold, Schedule, Told, Validation
from prefine.models.federation import Federation
from prefine.models.objective import Batch
from prefine.models.rehearsal import held_out, imagined
from prefine.models.workload import Workload

Make = Callable[..., Workload]

FOLDS = 5


class Untouchable:
    """Samples that nobody may look at."""

    def __getattr__(self, name: str) -> object:
        raise AssertionError(f"the test samples were asked for {name}")


def _marked(federation: Federation) -> Federation:
    """Task and general samples whose first feature is their number, task samples counted from 1000."""

    def numbered(batch: Batch, first: int) -> Batch:
        x = torch.zeros(len(batch), 2)
        x[:, 0] = torch.arange(first, first + len(batch))
        return Batch(x, batch.y, batch.share)

    untouchable: Batch = Untouchable()  # type: ignore[assignment]  # it stands in for the test samples
    return replace(
        federation, general=numbered(federation.general, 0), task=numbered(federation.task, 1000), test=untouchable
    )


def _numbers(batch: Batch) -> list[int]:
    return batch.x[:, 0].long().tolist()


def test_a_rotation_holds_out_every_sample_once(federation: Federation) -> None:
    whole = _marked(federation)
    seen: list[int] = []
    for number in range(FOLDS):
        part = held_out(whole, Fold(number, FOLDS, "task"), np.random.default_rng(3))
        held = _numbers(part.test)
        assert sorted(held + _numbers(part.task)) == _numbers(whole.task)
        assert abs(len(held) - len(whole.task) / FOLDS) < 1.0
        for own, kept in zip(whole.parts, part.parts, strict=True):
            assert 0 < len(kept) < len(own)
            assert set(np.array(_numbers(part.task))[kept]) <= {1000 + row for row in own.tolist()}
        seen += held
    assert sorted(seen) == _numbers(whole.task)


def test_a_device_with_one_sample_keeps_it(federation: Federation) -> None:
    parts = (np.array([0]), np.array([1, 2]), np.arange(3, 90))
    whole = _marked(replace(federation, parts=parts))
    for number in range(FOLDS):
        part = held_out(whole, Fold(number, FOLDS, "task"), np.random.default_rng(0))
        assert len(part.parts[0]) == 1
        assert len(part.parts[1]) >= 1
        assert 1000 not in _numbers(part.test)


def test_too_little_to_hold_out_is_one_line(federation: Federation) -> None:
    few = replace(federation, parts=(np.arange(8), np.array([8]), np.array([9])))
    with pytest.raises(InputError, match=r"task.samples: 8 .* 5 folds needs 10"):
        held_out(few, Fold(0, FOLDS, "task"), np.random.default_rng(0))
    tiny = replace(federation, general=federation.general.part(0, 6))
    with pytest.raises(InputError, match=r"task.data: 6 general samples"):
        imagined(tiny, Fold(0, FOLDS, "general"), np.random.default_rng(0))


def test_an_imagined_task_is_made_of_general_samples_alone(federation: Federation) -> None:
    whole = _marked(federation)
    whole = replace(whole, task=Batch(torch.full_like(whole.task.x, torch.nan), whole.task.y, whole.task.share))
    part = imagined(whole, Fold(0, FOLDS, "general"), np.random.default_rng(1))
    assert [len(own) for own in part.parts] == [len(own) for own in whole.parts]
    assert len(part.general) + len(part.task) + len(part.test) == len(whole.general)
    assert bool(torch.isfinite(part.task.x).all())
    scale = part.task.x[:, 0].sum() + part.test.x[:, 0].sum()
    plain = sum(range(len(whole.general))) - sum(_numbers(part.general))
    assert float(scale) != pytest.approx(plain)  # shifted on purpose


def _schedules(weights: FloatArray, rounds: tuple[tuple[int, int, int], ...]) -> list[Schedule]:
    batches = np.full(len(weights), 3)
    return [Schedule(n, b, [Told("finetune", (batches, weights))] * m) for n, b, m in rounds]


RECIPES = [
    {},
    {"preset": "practice"},
    {"local_steps": 2},
    {"upload": "top-k"},
    {"upload": "quantised", "upload_bits": 4, "preset": "practice"},
]


@pytest.mark.parametrize("training", RECIPES, ids=str)
def test_together_or_alone_makes_no_difference(workload: Make, training: dict[str, object]) -> None:
    made = workload(samples=60, partition="dirichlet", model="logistic", training=training)
    rounds = ((6, 8, 3), (0, 8, 4), (2, 8, 3), (2, 4, 3), (6, 8, 0), (2, 8, 3))
    schedules = _schedules(np.array(made.weights), rounds)
    fold = Fold(7, FOLDS, "task")
    together, trained = made.rehearse(schedules, fold, 11, 0.1)
    alone = [made.rehearse([schedule], fold, 11, 0.1)[0][0] for schedule in schedules]
    assert together == alone
    assert together[2] == together[5] != together[3]
    assert trained == 6 + 2 + 3 + 4 + 3 + 3 + 0 + 3


@pytest.mark.parametrize("on", ["task", "general"])
@pytest.mark.parametrize(
    "task", [{"model": "cnn"}, {"data": "cars", "samples": None, "partition": "source"}], ids=["images", "regression"]
)
def test_every_kind_of_data_can_be_rehearsed(workload: Make, on: str, task: dict[str, object]) -> None:
    made = workload(**task)
    schedules = _schedules(np.array(made.weights), ((0, 8, 0), (5, 8, 20)))
    fold = Fold(0, FOLDS, on)  # type: ignore[arg-type]  # a parameter of the test
    (start, trained), _ = made.rehearse(schedules, fold, 3, 0.05)
    assert trained.loss < start.loss
    assert np.isfinite(trained.score)


def test_a_rehearsal_is_the_run_that_has_the_same_samples(workload: Make) -> None:
    """The learner of a run, told the same on the split data, ends with the same model."""
    made = workload(samples=60, training={"preset": "practice"})
    weights = np.array(made.weights)
    (seen,), _ = made.rehearse(_schedules(weights, ((5, 8, 4),)), Fold(2, FOLDS, "task"), 9, 0.1)
    split = held_out(made._federation, Fold(2, FOLDS, "task"), stream(0, "rehearsal task", 0))
    learner = made._learner(split, made.objective(9), 9, 0.1)
    for _ in range(5):
        learner.pretrain(8)
    for _ in range(4):
        learner.finetune(np.full(len(weights), 3), weights)
    assert seen == Validation(*learner.validate())
    assert seen.score == learner.evaluate().test_accuracy


def test_validation_samples_take_the_place_of_folds(workload: Make) -> None:
    """What is rehearsed is then the run itself, judged by the validation samples; general samples stay alone."""
    made = workload(samples=60, validation=0.3)
    weights = np.array(made.weights)
    schedules = _schedules(weights, ((5, 8, 4),))
    first, second = (made.rehearse(schedules, Fold(number, FOLDS, "task"), 9, 0.1)[0] for number in (0, 7))
    assert first == second
    learner = made.learner(9, 0.1)
    for _ in range(5):
        learner.pretrain(8)
    for _ in range(4):
        learner.finetune(np.full(len(weights), 3), weights)
    found = learner.evaluate()
    assert first == [Validation(found.validation_loss, found.validation_accuracy)]
    alone, _ = made.rehearse(schedules, Fold(0, FOLDS, "general"), 9, 0.1)
    assert alone != first


def test_a_rehearsal_without_a_barrier_is_the_run_that_has_the_same_samples(workload: Make) -> None:
    """Two devices are sent out, one comes back twice; each update counts as a round."""
    made = workload(samples=60, training={"preset": "practice"})
    told = [Told("hand_out", (np.array([0, 1]),)), Told("receive", (0, 3)), Told("merge", (np.ones(1), "differences"))]
    told += [Told("hand_out", (np.array([0]),)), Told("receive", (0, 2)), Told("receive", (1, 4))]
    told += [Told("merge", (np.array([0.3, 0.6]), "differences"))]
    (seen,), trained = made.rehearse([Schedule(5, 8, told)], Fold(2, FOLDS, "task"), 9, 0.1)
    assert trained == 5 + 2
    split = held_out(made._federation, Fold(2, FOLDS, "task"), stream(0, "rehearsal task", 0))
    learner = made._learner(split, made.objective(9), 9, 0.1)
    for _ in range(5):
        learner.pretrain(8)
    learner.hand_out(np.array([0, 1]))
    learner.receive(0, 3)
    learner.merge(np.ones(1), "differences")
    learner.hand_out(np.array([0]))
    learner.receive(0, 2)
    learner.receive(1, 4)
    learner.merge(np.array([0.3, 0.6]), "differences")
    assert seen == Validation(*learner.validate())
