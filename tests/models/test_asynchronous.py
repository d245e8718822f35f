"""What is learned without a barrier is what FedBuff and FedAsync say, written out by hand."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import prefine
from prefine.emulator.errors import InputError
from prefine.emulator.randomness import stream
from prefine.emulator.records import DeviceRecord, RunResult
from prefine.emulator.simulation.aggregation import Asynchronous
from prefine.emulator.simulation.run import run
from prefine.models.algorithms.base import Algorithm
from prefine.models.algorithms.build import round_of
from prefine.models.algorithms.fedavg import FedAvg
from prefine.models.algorithms.fedavgm import FedAvgM
from prefine.models.algorithms.fedprox import FedProx
from prefine.models.algorithms.round import Round
from prefine.models.asynchronous import AsynchronousLearner
from prefine.models.federation import Federation
from prefine.models.objective import Objective
from prefine.models.recipe import LastIterate, Step
from prefine.models.sampling import Draws
from prefine.models.tuning import Everything
from prefine.models.uploads import Exact, TopK, Upload
from prefine.models.workload import Workload
from tests.emulator.scenario.small import SMALL
from tests.emulator.simulation.worlds import plan, problem, run_spec
from tests.models.test_algorithms import gradient_of_device

RATE, MU, UPDATES = 0.2, 0.5, 25


def learner(
    federation: Federation,
    model: Objective,
    algorithm: Algorithm,
    steps: int = 1,
    decay: float = 0.0,
    upload: Upload | None = None,
) -> AsynchronousLearner:
    def rounds(tuned: Objective) -> Round:
        return round_of(algorithm, tuned, federation.task, federation.weights, steps, upload or Exact(0, 32))

    step = Step(model.weights, RATE, 0.0, decay)
    return AsynchronousLearner(federation, model, Everything(), rounds, step, LastIterate(), 3)


def emulated(trained: AsynchronousLearner, federation: Federation, mode: Asynchronous) -> RunResult:
    """Three unequal devices without pre-training, on the engine's clock."""
    world = problem(3)
    world = replace(world, devices=replace(world.devices, weight=np.array(federation.weights)))
    result = run(run_spec(world, plan(world, 0, UPDATES, batch=5), aggregation=mode, learner=trained), "p", 0)
    assert max(record.staleness for record in result.devices) >= 1
    return result


class ByHand:
    """Local SGD by plain autograd, from the model that each device downloaded."""

    def __init__(self, federation: Federation, model: Objective, steps: int, decay: float, mu: float) -> None:
        self.federation, self.model, self.steps, self.decay, self.mu = federation, model, steps, decay, mu
        self.draws = [Draws(part, stream(3, "task samples", k)) for k, part in enumerate(federation.parts)]
        self.versions = [model.weights.clone()]

    def rate(self, version: int) -> float:
        return RATE / (1.0 + self.decay * version)

    def trained(self, record: DeviceRecord) -> tuple[torch.Tensor, torch.Tensor]:
        version = record.round - 1 - record.staleness
        start = self.versions[version]
        with self.model.at(start):
            for batch in np.split(self.draws[record.device].take(self.steps * record.batch), self.steps):
                gradient = gradient_of_device(self.model, self.federation.task, batch)
                gradient = gradient + self.mu * (self.model.weights - start)
                self.model.weights.sub_(self.rate(version) * gradient)
            return start, self.model.weights.clone()


@pytest.mark.parametrize(
    ("algorithm", "steps", "decay", "mu"),
    [(FedAvg(), 1, 0.0, 0.0), (FedAvg(), 3, 0.0, 0.0), (FedAvg(), 2, 0.1, 0.0), (FedProx(MU), 3, 0.0, MU)],
)
@pytest.mark.parametrize("buffer", [1, 3])
def test_it_is_fedbuff(
    buffer: int,
    algorithm: Algorithm,
    steps: int,
    decay: float,
    mu: float,
    objective: Callable[..., Objective],
    federation: Federation,
) -> None:
    """w <- w + sum_i p_i / sqrt(1 + s_i) (w_i - start_i), p the shares of the buffer's devices, to 1e-6."""
    model, share = objective("mlp"), np.array(federation.weights)
    hand = ByHand(federation, objective("mlp"), steps, decay, mu)
    result = emulated(learner(federation, model, algorithm, steps, decay), federation, Asynchronous(buffer=buffer))
    for update in range(1, UPDATES + 1):
        rows = [record for record in result.devices if record.round == update]
        whole, now = sum(share[record.device] for record in rows), hand.versions[-1].clone()
        for record in rows:
            start, end = hand.trained(record)
            now += share[record.device] / whole / np.sqrt(1.0 + record.staleness) * (end - start)
        hand.versions.append(now)
    assert float((model.weights - hand.versions[-1]).abs().max()) < 1e-6
    assert float((model.weights - hand.versions[0]).abs().max()) > 1e-2


@pytest.mark.parametrize(
    ("keys", "discount"),
    [
        ({"staleness": "constant"}, lambda s: 1.0),
        ({"exponent": 0.9}, lambda s: (1.0 + s) ** -0.9),
        ({"staleness": "hinge", "grace": 1, "slope": 2.0}, lambda s: 1.0 if s <= 1 else 1.0 / (2.0 * (s - 1) + 1.0)),
    ],
)
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_with_a_buffer_of_one_and_mixing_it_is_fedasync(
    decay: float,
    keys: dict[str, Any],
    discount: Callable[[int], float],
    objective: Callable[..., Objective],
    federation: Federation,
) -> None:
    """w <- (1 - a_t) w + a_t w_k with a_t = a s(staleness), w_k trained with the proximal term, to 1e-6."""
    model, hand = objective("mlp"), ByHand(federation, objective("mlp"), 2, decay, MU)
    mode = Asynchronous(buffer=1, mixing=0.7, **keys)
    result = emulated(learner(federation, model, FedProx(MU), 2, decay), federation, mode)
    for record in (record for record in result.devices if record.round <= UPDATES):
        mixing = 0.7 * discount(record.staleness)
        hand.versions.append((1.0 - mixing) * hand.versions[-1] + mixing * hand.trained(record)[1])
    assert float((model.weights - hand.versions[-1]).abs().max()) < 1e-6
    assert float((model.weights - hand.versions[0]).abs().max()) > 1e-2


def test_a_full_buffer_of_fresh_work_is_a_synchronous_round(
    objective: Callable[..., Objective], federation: Federation
) -> None:
    """All devices handed the same model and merged together; so too with momentum on the server."""
    made, weights = [], np.array(federation.weights)
    for rounds in (True, False):
        model = objective("mlp")
        trained = learner(federation, model, FedAvgM(0.5), 2)
        for _ in range(4):
            if rounds:
                trained.finetune(np.array([4, 5, 6]), weights)
                continue
            trained.hand_out(np.arange(3))
            for device in (2, 0, 1):
                trained.receive(device, 4 + device)
            trained.merge(weights[[2, 0, 1]], "differences")
        made.append(model.weights.clone())
    assert torch.allclose(made[0], made[1], rtol=1e-9, atol=1e-12)


def test_what_uploads_left_out_comes_with_the_devices_next_one(
    objective: Callable[..., Objective], federation: Federation
) -> None:
    """A device that is twice in a buffer: two merges of one arrival each, with the model held still, say the same."""
    made = []
    for together in (True, False):
        model = objective("mlp")
        start = model.weights.clone()
        upload = TopK(len(start), 3, 0.05, 32)
        upload._missing = upload._missing.double()
        trained, moved = learner(federation, model, FedAvg(), 1, upload=upload), torch.zeros_like(start)
        for i, device in enumerate((0, 0, 1)):
            trained.hand_out(np.array([device]))
            trained.receive(device, 4)
            if not together:
                trained.merge(np.array([1.0 + i]), "differences")
                moved += model.weights - start
                model.weights.copy_(start)
        if together:
            trained.merge(np.array([1.0, 2.0, 3.0]), "differences")
            moved = model.weights - start
        made.append(moved)
    assert torch.allclose(made[0], made[1], rtol=1e-9, atol=1e-12)


def test_an_update_of_work_that_does_not_count_moves_nothing(
    objective: Callable[..., Objective], federation: Federation
) -> None:
    """Though the server has momentum to go on with."""
    model = objective("mlp")
    trained = learner(federation, model, FedAvgM(0.5))
    for weight in (1.0, 0.0):
        before = model.weights.clone()
        trained.hand_out(np.array([1]))
        trained.receive(1, 4)
        trained.merge(np.full(1, weight), "differences")
        assert torch.equal(model.weights, before) == (weight == 0.0)


def test_who_is_sent_out_after_more_pretraining_has_what_it_made(
    objective: Callable[..., Objective], federation: Federation
) -> None:
    model = objective("mlp")
    trained = learner(federation, model, FedAvg())
    trained.hand_out(np.array([0]))
    trained.pretrain(8)
    trained.hand_out(np.array([1]))
    start, rows = model.weights.clone(), Draws(federation.parts[1], stream(3, "task samples", 1)).take(4)
    trained.receive(1, 4)
    trained.merge(np.ones(1), "differences")
    with model.at(start):
        gradient = gradient_of_device(model, federation.task, rows)
    assert torch.allclose(model.weights, start - RATE * gradient, rtol=1e-9, atol=1e-12)


def test_reported_losses_are_those_at_the_model_that_was_handed_out(
    objective: Callable[..., Objective], federation: Federation
) -> None:
    model = objective("mlp")
    trained = learner(federation, model, FedAvg())
    trained.hand_out(np.array([1]))
    rows = torch.from_numpy(Draws(federation.parts[1], stream(3, "task samples", 1)).take(6))
    with torch.no_grad():
        scores = model.network(federation.task.x[rows])
        expected = float(torch.nn.functional.cross_entropy(scores, federation.task.y[rows]))
    trained.pretrain(8)
    trained.receive(1, 6)
    trained.merge(np.ones(1), "differences")
    assert trained.reports().loss[1] == pytest.approx(expected, rel=1e-9)
    assert np.isnan(trained.reports().loss[[0, 2]]).all()


def test_scaffold_is_refused_in_one_line(workload: Callable[..., Workload]) -> None:
    made = workload(training={"algorithm": "scaffold"})
    with pytest.raises(InputError, match=r'^training\.algorithm = "scaffold": not with aggregation\.mode = "asynchr'):
        made.asynchronous_learner(0, RATE)
    keys = {"training.algorithm": "scaffold", "aggregation": {"mode": "asynchronous", "buffer": 2}}
    with pytest.raises(InputError, match=r'^training\.algorithm = "scaffold"'):
        prefine.validate(SMALL, overrides=keys)


@pytest.mark.parametrize("algorithm", ["fedavg", "fedsgd", "fedprox", "fedavgm", "fedadam", "fedyogi"])
def test_the_other_algorithms_run_without_a_barrier(algorithm: str) -> None:
    keys = {"training.algorithm": algorithm, "budget.delay_s": 1.5, "compare.evaluate_every": 1000}
    keys |= {"aggregation": {"mode": "asynchronous", "buffer": 2, "until": "budget"}}
    runs = prefine.run(SMALL, "uniform", overrides=keys).runs
    assert list(runs["status"]) == ["done"]
    assert runs["train_loss"].iloc[0] < 2.3
    assert "models of different ages" in runs["outside_proof"].iloc[0]
