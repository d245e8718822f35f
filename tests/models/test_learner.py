import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch

from prefine.models.learner import MOST_UNSEEN, Learner
from prefine.models.workload import Workload

Make = Callable[..., Workload]
WEIGHTS = np.full(4, 0.25)
RECIPES = [
    {},
    {"preset": "practice", "decay": 0.01},
    {"local_steps": 2},
    {"upload": "top-k", "upload_share": 0.05},
    {"upload": "quantised", "upload_bits": 4, "local_steps": 2},
]


def train(learner: Learner, rounds: int = 6) -> Learner:
    for _ in range(rounds):
        learner.pretrain(8)
    for _ in range(rounds):
        learner.finetune(np.array([1, 2, 3, 8]), WEIGHTS)
    return learner


def model(learner: Learner) -> torch.Tensor:
    return learner.objective.weights


@pytest.mark.parametrize("recipe", RECIPES)
def test_same_seed_same_bytes_on_one_and_two_threads(recipe: dict[str, object], workload: Make) -> None:
    """Batches so large that torch would share them out among its threads."""
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 2):
            torch.set_num_threads(threads)
            learner = workload(training=recipe, samples=400).learner(3, 0.2)
            for _ in range(3):
                learner.pretrain(1000)
                learner.finetune(np.array([50, 100, 200, 400]), WEIGHTS)
            results.append((model(learner).numpy().tobytes(), learner.evaluate()))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert results[0] == results[1] == results[2]


def test_same_bytes_in_another_process() -> None:
    code = """if True:
        import numpy as np
        from prefine.emulator.scenario.task import TaskSettings
        from prefine.emulator.scenario.training import TrainingSettings
        from prefine.models.workload import Workload
        made = Workload(TaskSettings(samples=40), TrainingSettings(), 4, 0)
        learner = made.learner(1, 0.2)
        learner.pretrain(16)
        learner.finetune(np.full(4, 5), np.full(4, 0.25))
        print(learner.evaluate())
    """
    said = {subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout for _ in range(2)}
    assert len(said) == 1
    assert b"train_loss" in said.pop()


def test_global_state_is_left_alone(workload: Make) -> None:
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002  # the point is that nobody else touches it
    before = torch.get_rng_state(), np.random.get_state()[1].tobytes()  # type: ignore[index]  # a tuple here  # noqa: NPY002
    train(workload().learner(0, 0.1)).evaluate()
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tobytes() == before[1]  # type: ignore[index]  # as above  # noqa: NPY002


def test_a_device_that_did_not_arrive_draws_nothing(workload: Make) -> None:
    learner = workload().learner(0, 0.1)
    learner.finetune(np.full(4, 3), np.array([0.5, 0.0, 0.5, 0.0]))
    learner.finetune(np.full(4, 3), np.array([0.0, 1.0, 0.0, 0.0]))
    fresh = workload().learner(0, 0.1)
    third, first = (device.take(6) for device in (fresh._devices[2], fresh._devices[1]))
    assert np.array_equal(learner._devices[2].take(3), third[3:])
    assert np.array_equal(learner._devices[1].take(3), first[3:])


def test_a_round_in_which_nobody_arrives_changes_nothing(workload: Make) -> None:
    learner = workload(training={"momentum": 0.5}).learner(0, 0.1)
    learner.pretrain(4)
    before = model(learner).clone()
    learner.finetune(np.full(4, 3), np.zeros(4))
    assert torch.equal(model(learner), before)


def test_adding_a_device_leaves_the_draws_of_the_others_alone(workload: Make) -> None:
    small, large = workload(devices=4, samples=40), workload(devices=5, samples=50)
    ours, theirs = (made.learner(7, 0.1)._devices[2].take(20) for made in (small, large))
    place = np.searchsorted(small._federation.parts[2], ours)
    assert np.array_equal(place, np.searchsorted(large._federation.parts[2], theirs))  # ten samples each: same places


def test_evaluation_is_exact(workload: Make) -> None:
    made = workload(samples=400, partition="dirichlet")
    learner = train(made.learner(0, 0.2))
    network, pair = learner.objective.network, made._pair
    parameters = list(network.parameters())
    loss = 0.5e-3 * torch.stack([p.square().sum() for p in parameters]).sum()
    for rho, part in zip(made.weights, made._federation.parts, strict=True):
        x, y = torch.from_numpy(pair.task.x[part]), torch.from_numpy(pair.task.y[part])
        loss = loss + rho * torch.nn.functional.cross_entropy(network(x), y)
    norm = sum(float(g.square().sum()) for g in torch.autograd.grad(loss, parameters))
    right = float((network(torch.from_numpy(pair.test.x)).argmax(1).numpy() == pair.test.y).mean())
    got = learner.evaluate()
    assert got.train_loss == pytest.approx(float(loss.detach()), rel=1e-5)
    assert got.grad_norm_sq == pytest.approx(norm, rel=1e-4)
    assert got.test_accuracy == pytest.approx(right)


def test_evaluation_looks_and_does_not_touch(workload: Make) -> None:
    watched, alone = (workload(training={"preset": "practice"}).learner(0, 0.1) for _ in range(2))
    for _ in range(5):
        watched.pretrain(8)
        watched.evaluate()
        alone.pretrain(8)
    assert torch.equal(model(watched), model(alone))


@pytest.mark.parametrize(
    ("task", "recipe"),
    [
        ({}, {}),
        ({"validation": 10}, {"keep": "best", "preset": "practice"}),
        ({"validation": 10}, {"average_last": 0.5}),
        ({"finetune": "last"}, {}),
        ({"model": "cnn"}, {}),
    ],
)
def test_what_was_looked_at_is_what_would_have_been_evaluated(
    task: dict[str, object], recipe: dict[str, object], workload: Make
) -> None:
    """More looks than are put by, over the hand-over, some of them asked for in between."""
    looked, evaluated = (workload(training=recipe, **task).learner(0, 0.1) for _ in range(2))
    seen, found = [], []
    for number in range(MOST_UNSEEN + 4):
        for learner in (looked, evaluated):
            if number < 7:
                learner.pretrain(8)
            else:
                learner.finetune(np.array([1, 2, 3, 8]), WEIGHTS)
        looked.look()
        found.append(evaluated.evaluate())
        if number == 3:
            seen += looked.seen()
    seen += looked.seen()
    assert looked.seen() == []
    assert np.allclose(np.array(seen), np.array(found), rtol=1e-6, equal_nan=True)
    assert [each.test_accuracy for each in seen] == [each.test_accuracy for each in found]
    assert looked.evaluate() == pytest.approx(evaluated.evaluate(), rel=1e-6, nan_ok=True)


def test_momentum_is_carried_over_the_hand_over(workload: Make) -> None:
    carried = workload(training={"momentum": 0.5}).learner(0, 0.1)
    carried.pretrain(8)
    before = model(carried).clone()
    carried.finetune(np.full(4, 3), WEIGHTS)
    plain = workload().learner(0, 0.1)
    start = model(plain).clone()
    plain.pretrain(8)
    velocity = (start - model(plain)) / 0.1
    plain.finetune(np.full(4, 3), WEIGHTS)
    gradient = (before - model(plain)) / 0.1
    assert torch.allclose(model(carried), before - 0.1 * (0.5 * velocity + gradient), atol=1e-6)


def test_tail_averaging_scores_the_average(workload: Make) -> None:
    made = workload(training={"average_last": 0.5})
    learner = made.learner(0, 0.3)
    seen = []
    for _ in range(4):
        learner.finetune(np.full(4, 3), WEIGHTS)
        seen.append(model(learner).double())
    got = learner.evaluate()
    last = model(learner).clone()
    model(learner).copy_((seen[2] + seen[3]) / 2)
    expected = learner.objective.loss(made._federation.task)
    model(learner).copy_(last)
    assert got.train_loss == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_learns(recipe: dict[str, object], workload: Make) -> None:
    learner = workload(training=recipe, samples=400).learner(0, 0.2)
    start = learner.evaluate()
    for _ in range(60):
        learner.finetune(np.full(4, 16), WEIGHTS)
    end = learner.evaluate()
    assert end.train_loss < 0.7 * start.train_loss
    assert end.test_accuracy > 0.6


@pytest.mark.parametrize("recipe", [{}, {"local_steps": 2}])
def test_reports_stay_until_a_device_takes_part_again(recipe: dict[str, object], workload: Make) -> None:
    learner = workload(training=recipe).learner(0, 0.2)
    assert np.isnan(learner.reports().loss).all()
    learner.finetune(np.full(4, 3), np.array([0.5, 0.0, 0.5, 0.0]))
    learner.pretrain(8)  # differentiates other samples
    first = learner.reports()
    assert np.isnan(first.loss).tolist() == [False, True, False, True]
    learner.finetune(np.full(4, 3), np.array([0.0, 0.5, 0.5, 0.0]))
    second = learner.reports()
    assert second.loss[0] == first.loss[0]
    assert second.rms_loss[2] != first.rms_loss[2]
    assert np.isnan(second.loss).tolist() == [False, False, False, True]
