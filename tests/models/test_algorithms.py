from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from prefine.emulator.errors import InputError
from prefine.emulator.experiment.job import Job, execute
from prefine.emulator.plugins import POLICY, part
from prefine.emulator.randomness import stream
from prefine.emulator.scenario.source import read_source
from prefine.models.algorithms import apart
from prefine.models.algorithms.apart import DeviceRound
from prefine.models.algorithms.fedavg import FedAvg
from prefine.models.algorithms.fedsgd import FedSGD
from prefine.models.algorithms.round import FusedRound, Round
from prefine.models.federation import Federation
from prefine.models.networks import NETWORKS
from prefine.models.objective import Batch, Objective
from prefine.models.sampling import Draws
from prefine.models.uploads import Exact
from prefine.models.workload import Workload
from tests.emulator.scenario.small import SMALL

Make = Callable[..., Objective]

PROX = """
from dataclasses import dataclass
from torch import Tensor
from prefine.models.algorithms.base import Algorithm, Clients
from prefine.models.algorithms.fedavg import FedAvg

@dataclass(frozen=True)
class Prox(Algorithm):
    mu: float = 0.1

    def client_step(self, clients: Clients) -> Tensor:
        update = clients.gradients(0, clients.start)
        for step in range(1, clients.local_steps):
            moved = -clients.rate * update
            update = update + clients.gradients(step, clients.start + moved) + self.mu * moved
        return update

class Clipped(FedAvg):
    def client_step(self, clients):
        update = super().client_step(clients)
        return update * (0.01 / update.norm(dim=1, keepdim=True)).clamp(max=1.0)

class Remembers(FedAvg):
    def __init__(self, share=0.5):
        self.share, self.velocity = share, 0.0
    def server_step(self, update):
        self.velocity = self.share * self.velocity + update
        return self.velocity

class Fails(FedAvg):
    def client_step(self, clients):
        return 1 / 0

class Short(FedAvg):
    def server_step(self, update):
        return update[:3]

class Nothing(FedAvg):
    def client_step(self, clients):
        return None

class Unmade(FedAvg):
    def __init__(self, mu=0.0):
        raise RuntimeError("no mu")

class NoAlgorithm: ...
"""
"""What a user might write: CONTRIBUTING.md, "An algorithm"."""


@pytest.fixture
def own(tmp_path: Path, workload: Callable[..., Workload]) -> Callable[..., Workload]:
    """A workload whose algorithm is a class of `PROX`."""
    path = tmp_path / "own.py"
    path.write_text(PROX)

    def make(name: str, parameters: dict[str, float] | None = None, **training: object) -> Workload:
        recipe = {"algorithm": f"{path}:{name}", "algorithm_parameters": parameters or {}} | training
        return workload(training=recipe, samples=200)

    return make


def trained(made: Workload, rounds: int = 4) -> torch.Tensor:
    learner = made.learner(0, 0.2)
    for _ in range(rounds):
        learner.finetune(np.array([4, 5, 6, 7]), np.full(4, 0.25))
    return learner.objective.weights.clone()


WEIGHTS = np.array([0.5, 0.2, 0.3])
HERE = np.arange(3)


@pytest.fixture
def rows(federation: Federation) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.choice(part, size) for part, size in zip(federation.parts, (4, 1, 7), strict=True)]


def gradient_of_device(objective: Objective, task: Batch, rows: np.ndarray) -> torch.Tensor:
    """Plain autograd on one device's mini-batch, by torch's own mean cross-entropy."""
    parameters = list(objective.network.parameters())
    picked = torch.from_numpy(rows)
    loss = torch.nn.functional.cross_entropy(objective.network(task.x[picked]), task.y[picked])
    loss = loss + 0.5 * objective.weight_decay * sum(p.square().sum() for p in parameters)
    return torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, parameters)])


def total(round_: Round, rows: list[np.ndarray], rate: float) -> torch.Tensor:
    """Of the devices here, each with its ``rows`` for all local steps."""
    batches = np.array([len(own) for own in rows]) // round_.local_steps
    return round_.mean(HERE, batches, WEIGHTS).of(np.concatenate(rows), rate)


@pytest.mark.parametrize("name", NETWORKS)
def test_fused_gradient_is_the_mean_of_the_devices_gradients(
    name: str, objective: Make, federation: Federation, rows: list[np.ndarray]
) -> None:
    model = objective(name)
    expected = sum(
        weight * gradient_of_device(model, federation.task, own) for weight, own in zip(WEIGHTS, rows, strict=True)
    )
    fused = total(FusedRound(FedSGD(), model, federation.task), rows, 0.1).clone()
    assert torch.allclose(fused, torch.as_tensor(expected), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", NETWORKS)
def test_fused_gradient_in_single_precision(
    name: str, objective: Make, federation: Federation, rows: list[np.ndarray]
) -> None:
    model = objective(name)
    exact = total(FusedRound(FedSGD(), model, federation.task), rows, 0.1).clone()
    single = Objective(objective(name).network, "classification", model.weight_decay, torch.float32)
    task = Batch(federation.task.x.float(), federation.task.y, federation.task.share.float())
    fused = total(FusedRound(FedSGD(), single, task), rows, 0.1)
    assert float((fused.double() - exact).norm() / exact.norm()) < 1e-6


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("held", [1, 2**24])
def test_one_local_step_is_the_fused_round(
    name: str,
    held: int,
    objective: Make,
    federation: Federation,
    rows: list[np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(apart, "HELD", held)
    model = objective(name)
    fused = total(FusedRound(FedSGD(), model, federation.task), rows, 0.1).clone()
    each = total(DeviceRound(FedAvg(), model, federation.task, federation.weights, 1, Exact(0, 32)), rows, 0.1)
    assert torch.allclose(each, fused, rtol=1e-9, atol=1e-11)


def test_local_steps_are_sgd_on_each_device(objective: Make, federation: Federation) -> None:
    model, steps, rate = objective("mlp"), 3, 0.2
    generator = np.random.default_rng(0)
    rows = [generator.choice(part, steps * size) for part, size in zip(federation.parts, (2, 1, 5), strict=True)]
    start = model.weights.clone()
    moved = torch.zeros_like(start)
    for weight, own in zip(WEIGHTS, rows, strict=True):
        model.weights.copy_(start)
        for batch in np.split(own, steps):
            model.weights.sub_(rate * gradient_of_device(model, federation.task, batch))
        moved += weight * (model.weights - start)
    model.weights.copy_(start)
    apart_ = DeviceRound(FedAvg(), model, federation.task, federation.weights, steps, Exact(0, 32))
    update = total(apart_, rows, rate)
    assert torch.allclose(-rate * update, moved, rtol=1e-9, atol=1e-11)


def test_an_own_fedprox_is_its_hand_written_reference(own: Callable[..., Workload]) -> None:
    """Each device: w_k <- w_k - rate (grad F_k(w_k) + mu (w_k - w)), three times; then the mean of the w_k."""
    made, mu, rate, steps, sizes = own("Prox", {"mu": 0.5}, local_steps=3), 0.5, 0.2, 3, (4, 5, 6, 7)
    model, task = made.objective(0), made._federation.task
    draws = [Draws(part, stream(0, "task samples", device)) for device, part in enumerate(made._federation.parts)]
    for _ in range(4):
        start, mean = model.weights.clone(), torch.zeros_like(model.weights)
        for device, size in zip(draws, sizes, strict=True):
            model.weights.copy_(start)
            for batch in np.split(device.take(steps * size), steps):
                pull = mu * (model.weights - start)
                model.weights.sub_(rate * (gradient_of_device(model, task, batch) + pull))
            mean += model.weights / len(draws)
        model.weights.copy_(mean)
    assert torch.allclose(trained(made), model.weights, atol=1e-6)


def local_models(
    model: Objective,
    task: Batch,
    batches: list[list[np.ndarray]],
    rate: float,
    pull: float,
    correction: torch.Tensor,
) -> list[torch.Tensor]:
    """Where each device ends: SGD on its ``batches`` with FedProx's ``pull`` and SCAFFOLD's ``correction`` (K, P)."""
    start, ends = model.weights.clone(), []
    for device, own in enumerate(batches):
        model.weights.copy_(start)
        for batch in own:
            added = pull * (model.weights - start) + correction[device]
            model.weights.sub_(rate * (gradient_of_device(model, task, batch) + added))
        ends.append(model.weights.clone())
    model.weights.copy_(start)
    return ends


STEPS, RATE = 3, 0.2
SIZES = np.array([4, 5, 6, 7])
PRESENT = ((0, 1, 2, 3), (0, 2, 3), (1, 2), (0, 1, 2, 3), (3,))
"""Who takes part, round by round."""


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("fedprox", {"mu": 0.5}),
        ("fedavgm", {"beta": 0.7}),
        ("fedadam", {"server_rate": 0.05, "beta1": 0.8, "beta2": 0.95, "tau": 0.01}),
        ("fedyogi", {"server_rate": 0.05, "beta1": 0.8, "beta2": 0.95, "tau": 0.01}),
        ("scaffold", {}),
    ],
)
def test_algorithms_are_their_hand_written_references(
    name: str, parameters: dict[str, float], workload: Callable[..., Workload]
) -> None:
    """Models, not updates: each device's own model, their mean, and the server's state, as the papers have them."""
    made = workload(training={"algorithm": name, "algorithm_parameters": parameters, "local_steps": STEPS}, samples=200)
    model, task = made.objective(0), made._federation.task
    learner = made.learner(0, RATE)
    draws = [Draws(part, stream(0, "task samples", device)) for device, part in enumerate(made._federation.parts)]
    velocity, mean = torch.zeros_like(model.weights), torch.zeros_like(model.weights)
    square = torch.full_like(model.weights, (RATE * parameters.get("tau", 0.0)) ** 2)
    control, common = torch.zeros((4, len(mean))), torch.zeros_like(mean)
    for present in PRESENT:
        weights = np.zeros(4)
        weights[list(present)] = 1.0 / len(present)
        learner.finetune(SIZES, weights)
        start = model.weights.clone()
        batches = [np.split(draws[k].take(STEPS * SIZES[k]), STEPS) if k in present else [] for k in range(4)]

        pull, correction = parameters.get("mu", 0.0), common - control
        ends = local_models(model, task, batches, RATE, pull, correction)
        moved = sum((ends[k] - start for k in present), torch.zeros_like(start)) / len(present)  # the paper's Delta
        if name == "fedavgm":
            velocity = parameters["beta"] * velocity + moved
            model.weights.add_(velocity)
        elif name in ("fedadam", "fedyogi"):
            mean = parameters["beta1"] * mean + (1 - parameters["beta1"]) * moved
            step = moved**2 if name == "fedadam" else moved**2 * torch.sign(square - moved**2)
            kept = parameters["beta2"] if name == "fedadam" else 1.0
            square = kept * square + (1 - parameters["beta2"]) * step * (1.0 if name == "fedadam" else -1.0)
            model.weights.add_(RATE * parameters["server_rate"] * mean / (square.sqrt() + RATE * parameters["tau"]))
        else:
            model.weights.add_(moved)
        if name == "scaffold":
            after = {k: control[k] - common + (start - ends[k]) / (STEPS * RATE) for k in present}
            common = common + sum((after[k] - control[k] for k in present), torch.zeros_like(start)) / 4
            for k in present:
                control[k] = after[k]
    assert torch.allclose(learner.objective.weights, model.weights, atol=2e-6)
    assert float((model.weights - made.objective(0).weights).norm()) > 0.05


def test_what_travels_beside_the_model_is_on_the_clock(workload: Callable[..., Workload]) -> None:
    plain, two = (workload(training={"algorithm": name, "upload": "quantised"}).cost for name in ("fedavg", "scaffold"))
    assert two.uplink_bits == plain.uplink_bits + plain.model_bits
    assert two.model_bits == 2 * plain.model_bits


def test_where_the_proximal_term_plays_no_part_fedprox_is_fedavg(
    own: Callable[..., Workload], workload: Callable[..., Workload]
) -> None:
    fedavg = workload(training={"local_steps": 3}, samples=200)
    assert torch.equal(trained(own("Prox", {"mu": 0.0}, local_steps=3)), trained(fedavg))
    one_step = trained(workload(training={"algorithm": "fedsgd"}, samples=200))
    assert torch.allclose(trained(own("Prox", {"mu": 5.0})), one_step, atol=1e-6)


def test_an_own_client_step_is_taken_with_one_local_step_too(own: Callable[..., Workload]) -> None:
    """It derives from FedAvg, whose rounds are fused; what it adds must not be lost."""
    start = own("Clipped").objective(0).weights
    moved = trained(own("Clipped"), rounds=1) - start
    assert 0.0 < float(moved.norm()) <= 0.2 * 0.01 * (1 + 1e-3)


def test_an_own_server_step_keeps_what_it_wants_and_starts_anew_with_each_run(
    own: Callable[..., Workload], workload: Callable[..., Workload]
) -> None:
    """Its velocity is the recipe's own momentum, which starts at zero as well."""
    made, momentum = own("Remembers"), workload(training={"momentum": 0.5}, samples=200)
    for _ in range(2):
        assert torch.allclose(trained(made), trained(momentum), atol=1e-6)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("Fails", r"^algorithm Fails: raised ZeroDivisionError: division by zero in client_step\(\)$"),
        ("Short", r"^algorithm Short: server_step\(\) returned shape \(3,\), must be \(4810,\)$"),
        ("Nothing", r"client_step\(\) returned NoneType, must be a tensor of shape \(4, 4810\)$"),
        ("Unmade", r"Unmade: raised RuntimeError: no mu when it was made$"),
        ("NoAlgorithm", r"NoAlgorithm: must be a class derived from prefine\.models\.algorithms\.base\.Algorithm$"),
    ],
)
def test_what_is_wrong_with_an_own_algorithm_is_one_line(name: str, line: str, own: Callable[..., Workload]) -> None:
    with pytest.raises(InputError, match=line):
        trained(own(name))


def test_wrong_parameters_and_steps_are_refused(own: Callable[..., Workload], workload: Make) -> None:
    with pytest.raises(
        InputError, match=r"^training\.algorithm_parameters\.nu, a parameter of .* is unknown, allowed: mu"
    ):
        own("Prox", {"nu": 1.0})
    with pytest.raises(InputError, match=r"^training\.local_steps = 2: algorithm fedsgd takes at most 1$"):
        workload(training={"algorithm": "fedsgd", "local_steps": 2})


def test_an_own_algorithm_from_the_command_line_is_part_of_a_runs_identity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "mine.py"
    path.write_text(PROX)
    settings = ["training.local_steps=2", "training.algorithm=mine.py:Prox", "training.algorithm_parameters.mu=0.2"]
    (tmp_path / "small.toml").write_text(SMALL)
    uniform = part(POLICY, "uniform")
    job = Job(read_source(tmp_path / "small.toml", settings), uniform, 0)
    assert execute(job).run.stop_reason == "plan"
    path.write_text(PROX + "# edited\n")
    edited = Job(read_source(tmp_path / "small.toml", settings), uniform, 0)
    assert dict(job.source.checksums).keys() == {"mine.py"}
    assert job.content() != edited.content()


@pytest.mark.parametrize("steps", [1, 2])
def test_reported_losses_are_those_of_the_first_mini_batches(
    steps: int, objective: Make, federation: Federation, rows: list[np.ndarray]
) -> None:
    """Against torch's own cross-entropy at the model from which the round starts, device by device."""
    model, task = objective("mlp"), federation.task
    rounds: list[FusedRound | DeviceRound] = [
        DeviceRound(FedAvg(), model, task, federation.weights, steps, Exact(0, 32))
    ]
    if steps == 1:
        rounds.append(FusedRound(FedSGD(), model, task))
    for each in rounds:
        total(each, [np.concatenate([own, own[::-1]][:steps]) for own in rows], 0.1)
        reports = each.reports()
        for device, own in enumerate(rows):
            with torch.no_grad():
                picked = torch.from_numpy(own)
                losses = torch.nn.functional.cross_entropy(
                    model.network(task.x[picked]), task.y[picked], reduction="none"
                )
            assert reports.loss[device] == pytest.approx(float(losses.mean()), rel=1e-9)
            assert reports.rms_loss[device] == pytest.approx(float(losses.square().mean().sqrt()), rel=1e-9)
