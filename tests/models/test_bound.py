"""The bound of docs/theory.md on real runs of the learner, where every constant in it is known.

Phi = [2 (F(w0) - F*) / eta + N (Delta^2 + L eta sigma0^2 / b0) + M L eta sum_k rho_k^2 sigma_k^2 / b_k] / (N + M)
must be at least the mean over rounds of E |grad F(w)|^2.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from prefine.emulator.scenario.training import TrainingSettings
from prefine.models.calibration import lowest_loss
from prefine.models.constants import estimate
from prefine.models.data.samples import DataPair, Samples
from prefine.models.federation import Federation
from prefine.models.fits import fit_gap
from prefine.models.learner import plain_sgd
from prefine.models.networks import build
from prefine.models.objective import Objective
from prefine.models.pilot import Pilot
from prefine.models.recipe import Step
from prefine.models.task_gap import batches, task_losses
from prefine.models.tuning import Everything

SEEDS = 200
SERVER_BATCH, BATCHES = 4, np.array([2, 1, 5])


@dataclass(frozen=True)
class Known:
    smoothness: float
    rate: float
    initial_gap: float
    discrepancy: float
    server_variance: float
    device_variance: np.ndarray

    def phi(self, pretrain: int, finetune: int, weights: np.ndarray) -> float:
        noise = self.smoothness * self.rate
        server = self.discrepancy + noise * self.server_variance / SERVER_BATCH
        devices = noise * (weights**2 * self.device_variance / BATCHES).sum()
        whole = 2 * self.initial_gap / self.rate + pretrain * server + finetune * devices
        return float(whole / (pretrain + finetune))


def trained(
    federation: Federation, objective: Objective, rate: float, seed: int, rounds: tuple[int, int]
) -> np.ndarray:
    """|grad F|^2 before each round."""
    learner = plain_sgd(federation, objective, Everything(), Step(objective.weights, rate, 0.0, 0.0), seed)
    norms = []
    for done in range(sum(rounds)):
        norms.append(learner.evaluate().grad_norm_sq)
        if done < rounds[0]:
            learner.pretrain(SERVER_BATCH)
        else:
            learner.finetune(BATCHES, np.array(federation.weights))
    return np.array(norms)


def quadratic() -> tuple[DataPair, Federation]:
    """Loss (w - y)^2 / 2 of a lone bias w: L = 1, sigma^2 = Var y, Delta^2 = (mean y0 - mean y)^2 everywhere."""
    generator = np.random.default_rng(2)

    def samples(count: int, mean: float) -> Samples:
        y = generator.normal(mean, 1.5, count).astype(np.float32)
        return Samples(np.zeros((count, 1), np.float32), y)

    pair = DataPair("quadratic", "regression", 1, samples(400, 0.4), samples(30, 1.0), samples(5, 1.0))
    parts = (np.arange(5), np.arange(5, 15), np.arange(15, 30))
    return pair, Federation.of(pair, parts, torch.float64)


@pytest.mark.parametrize(("rounds", "rate"), [((10, 15), 1.0), ((0, 30), 0.5), ((20, 0), 0.8), ((5, 20), 0.1)])
def test_quadratic_follows_its_closed_form_and_stays_below_the_bound(rounds: tuple[int, int], rate: float) -> None:
    pair, federation = quadratic()
    general, task = pair.general.y.astype(float), pair.task.y.astype(float)
    weights = np.array(federation.weights)
    device_variance = np.array([task[part].var() for part in federation.parts])
    norms = []
    for seed in range(SEEDS):
        objective = Objective(build("logistic", (1,), 1, 0), "regression", 0.0, torch.float64)
        norms.append(trained(federation, objective, rate, seed, rounds).mean())

    mean, variance, expected = 0.0, 0.0, []  # of w, from w0 = 0
    for done in range(sum(rounds)):
        expected.append((mean - task.mean()) ** 2 + variance)
        target, noise = (
            (general.mean(), general.var() / SERVER_BATCH)
            if done < rounds[0]
            else (task.mean(), float((weights**2 * device_variance / BATCHES).sum()))
        )
        mean, variance = mean + rate * (target - mean), (1 - rate) ** 2 * variance + rate**2 * noise
    interval = 3.5 * np.std(norms) / np.sqrt(SEEDS)  # misses once in two thousand
    assert abs(np.mean(norms) - np.mean(expected)) < interval

    gap = 0.5 * task.mean() ** 2
    discrepancy = (general.mean() - task.mean()) ** 2
    known = Known(1.0, rate, gap, discrepancy, general.var(), device_variance)
    assert np.mean(expected) <= known.phi(*rounds, weights) * (1 + 1e-12)


def test_measured_constants_of_the_quadratic_are_the_known_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The step is 1/L = 1: a round forgets all before it, w is its batch's mean, E gap = (Delta^2 + sigma0^2/b) / 2."""
    monkeypatch.setenv("PREFINE_CACHE", str(tmp_path))
    pair, federation = quadratic()
    general, task = pair.general.y.astype(float), pair.task.y.astype(float)
    shift = (general.mean() - task.mean()) ** 2
    found = estimate(
        federation,
        lambda _: Objective(build("logistic", (1,), 1, 0), "regression", 0.0, torch.float64),
        Everything(),
        TrainingSettings(weight_decay=0.0),
        Pilot(),
        b"",
    )
    values = found.constants()
    assert values.smoothness == pytest.approx(1.0)
    assert values.server_curvature == pytest.approx(1.0)
    assert values.device_curvature == pytest.approx([1.0] * 3)
    assert values.server_variance == pytest.approx(general.var())
    assert values.device_variance == pytest.approx([task[part].var() for part in federation.parts])
    assert (values.discrepancy, values.discrepancy_relief) == pytest.approx((shift, 0.0))
    assert values.initial_gap == pytest.approx(0.5 * task.mean() ** 2)
    assert values.pretrain_contraction > 0.1  # over before the second measured point
    for one, truth in ((found.pretrain_floor, 0.5 * shift), (found.pretrain_noise, 0.5 * general.var())):
        assert abs(one.value - truth) < 4.0 * one.standard_error < truth


@pytest.mark.parametrize(("momentum", "tolerance"), [(0.0, 0.02), (0.5, 0.06)])
def test_measured_contraction_of_the_quadratic_is_that_of_its_step(momentum: float, tolerance: float) -> None:
    """The bias of w shrinks by 1 - eta a round, eta the effective rate: with no shift the gap shrinks by its square."""
    generator = np.random.default_rng(4)
    y = generator.normal(3.0, 0.2, 200).astype(np.float32)
    same = Samples(np.zeros((200, 1), np.float32), y)
    federation = Federation.of(DataPair("same", "regression", 1, same, same, same), (np.arange(200),), torch.float64)
    objective = Objective(build("logistic", (1,), 1, 0), "regression", 0.0, torch.float64)
    recipe = TrainingSettings(learning_rate=0.02, momentum=momentum)
    losses = task_losses(federation, objective, recipe, Pilot(), 1.0, 1)
    fitted = fit_gap(Pilot().losses_at, batches(), losses - lowest_loss(objective, federation.task))
    assert fitted.contraction == pytest.approx(-2.0 * np.log(1.0 - recipe.effective_rate(1.0)), rel=tolerance)
    assert fitted.floor == pytest.approx(0.0, abs=0.02)


@pytest.mark.parametrize("rounds", [(10, 10), (0, 25), (25, 0)])
def test_bound_holds_for_logistic_regression(
    rounds: tuple[int, int], pair: DataPair, federation: Federation, objective: Callable[..., Objective]
) -> None:
    """L <= lambda_max(E x x^T) / 2 + decay (Boehning, 1992); a sample's gradient has |g|^2 <= 2 |x|^2, x with its 1."""
    decay = 1e-2

    def moments(x: torch.Tensor) -> tuple[float, float]:
        flat = torch.cat([x.reshape(len(x), -1), torch.ones(len(x), 1, dtype=x.dtype)], dim=1)
        second = torch.linalg.eigvalsh(flat.T @ flat / len(flat))[-1]
        return float(second), float(flat.square().sum(dim=1).mean())

    smoothness = 0.5 * max(moments(federation.task.x)[0], moments(federation.general.x)[0]) + decay
    weights, gaps, means, discrepancies = np.array(federation.weights), [], [], []
    lowest = lowest_loss(objective("logistic", 0, decay), federation.task)
    for seed in range(40):
        model = objective("logistic", seed, decay)
        gaps.append(model.loss(federation.task) - lowest)
        means.append(trained(federation, model, 1.0 / smoothness, seed, rounds).mean())
        model.full_gradient(federation.general)
        general = model.gradient.clone()
        model.full_gradient(federation.task)
        discrepancies.append(float((general - model.gradient).square().sum()))
    # Delta^2 is not known in closed form here: the sum of both gradients' largest norms bounds it everywhere.
    largest = [np.sqrt(2 * moments(batch.x)[1]) for batch in (federation.general, federation.task)]
    known = Known(
        smoothness,
        1.0 / smoothness,
        float(np.mean(gaps)),
        max(discrepancies) if rounds[0] == 0 else sum(largest) ** 2,
        2 * moments(federation.general.x)[1],
        np.array([2 * moments(federation.task.x[torch.from_numpy(part)])[1] for part in federation.parts]),
    )
    upper = np.mean(means) + 2.0 * np.std(means) / np.sqrt(len(means))
    assert upper < known.phi(*rounds, weights)
