from collections.abc import Callable

import numpy as np
import pytest
import torch

from prefine.emulator.scenario.training import TrainingSettings
from prefine.models import calibration
from prefine.models.federation import Federation
from prefine.models.networks import NETWORKS
from prefine.models.objective import Objective, weighted_loss
from prefine.models.pilot import Pilot
from prefine.models.probes import Hessian, Probes, gradient_noise, top_curvature
from prefine.models.task_gap import task_losses
from prefine.models.tuning import Everything

Make = Callable[..., Objective]


@pytest.mark.parametrize("name", ["logistic", "mlp"])
def test_top_curvature_is_the_top_eigenvalue(name: str, objective: Make, federation: Federation) -> None:
    model, task = objective(name), federation.task
    few = task.part(0, 20)
    loss = weighted_loss(model)
    hessian = torch.func.hessian(lambda w: loss(w, few.x, few.y, few.share))(model.weights)
    start = np.random.default_rng(0).standard_normal(len(model.weights))
    value, vector = top_curvature(model, few, start)
    assert value == pytest.approx(float(torch.linalg.eigvalsh(hessian)[-1]), rel=0.01)
    residual = hessian @ torch.from_numpy(vector) - value * torch.from_numpy(vector)
    assert float(residual.norm()) < 0.1 * value


@pytest.mark.parametrize("name", NETWORKS)
def test_curvature_and_variance_of_every_model_against_loops(
    name: str, objective: Make, federation: Federation
) -> None:
    model = objective(name)
    few = federation.task.take(torch.arange(6), torch.full((6,), 1 / 6, dtype=torch.float64))
    gradients = []
    for row in range(6):
        model.full_gradient(few.take(torch.tensor([row]), torch.ones(1, dtype=torch.float64)))
        gradients.append(model.gradient.clone())
    stack = torch.stack(gradients)
    expected = float((stack - stack.mean(dim=0)).square().sum(dim=1).mean())
    probes = Probes.of(Hessian(model, few), 3, model.weights, np.random.default_rng(4))
    noise = gradient_noise(model, few, probes)
    assert noise.variance == pytest.approx(expected, rel=1e-8)
    around = stack - stack.mean(dim=0)
    products = (around @ probes.directions.T) * (around @ probes.images.T)
    assert noise.curved == pytest.approx(float(products.mean()), rel=1e-8)

    value, vector = top_curvature(model, few, np.random.default_rng(0).standard_normal(len(model.weights)))
    direction, step = torch.from_numpy(vector), 1e-5
    sides = []
    for sign in (1, -1):
        with model.at(model.weights + sign * step * direction):
            model.full_gradient(few)
            sides.append(model.gradient.clone())
    assert float(direction @ (sides[0] - sides[1])) / (2 * step) == pytest.approx(value, rel=0.02)


def test_lowest_loss_of_a_convex_model_is_the_same_from_anywhere(objective: Make, federation: Federation) -> None:
    first, second = objective("logistic", 3, 0.05), objective("logistic", 8, 0.05)
    before = first.weights.clone()
    found = calibration.lowest_loss(first, federation.task)
    assert found == pytest.approx(calibration.lowest_loss(second, federation.task), rel=1e-4)
    assert found < first.loss(federation.task)
    assert torch.equal(first.weights, before)


def test_curvature_of_the_noise_is_the_trace_of_hessian_times_covariance(
    objective: Make, federation: Federation
) -> None:
    """By many probes, against both matrices written out."""
    model, few = objective("logistic"), federation.task.part(0, 20)
    few.share = torch.full((20,), 1 / 20, dtype=torch.float64)
    loss = weighted_loss(model)
    single = torch.ones(1, dtype=torch.float64)
    gradients = torch.stack(
        [torch.func.grad(loss)(model.weights, few.x[i : i + 1], few.y[i : i + 1], single) for i in range(20)]
    )
    around = gradients - gradients.mean(dim=0)
    hessian = torch.func.hessian(lambda w: loss(w, few.x, few.y, few.share))(model.weights)
    expected = float((around @ hessian @ around.T).trace()) / 20
    single_probes = [
        gradient_noise(model, few, Probes.of(Hessian(model, few), 1, model.weights, np.random.default_rng(seed))).curved
        for seed in range(400)
    ]
    assert abs(np.mean(single_probes) - expected) < 3.5 * np.std(single_probes) / 20
    assert np.std(single_probes) / 20 < 0.1 * expected


def test_the_search_sees_the_curvature_that_the_measurement_sees(objective: Make, federation: Federation) -> None:
    short = Pilot(rounds=50)
    seen = calibration.measure(federation, objective("mlp", 2), Everything(), short, 0.05, 7)
    assert len(seen.smoothness) == len(seen.server_variance) + len(seen.device_variance) == 6
    assert seen.shift_rounds.tolist() == [0, 3, 7, 13, 20, 30, 40]
    assert (
        calibration.largest_curvature(federation, objective("mlp", 2), Everything(), short, 0.05, 7)
        == seen.smoothness.max()
    )


def test_a_calibration_run_that_diverges_says_so(objective: Make, federation: Federation) -> None:
    for measure in (calibration.measure, calibration.largest_curvature):
        with pytest.raises(calibration.DivergedError):
            measure(federation, objective("logistic"), Everything(), Pilot(), 1e30, 0)


def test_losses_of_a_recipe_that_flies_apart_are_capped(objective: Make, federation: Federation) -> None:
    model = objective("logistic", 2)
    before = model.weights.clone()
    losses = task_losses(federation, model, TrainingSettings(learning_rate=1e30), Pilot(rounds=20), 1.0, 0)
    assert losses.shape == (3, 5)
    assert np.all(losses[:, 1:] == 4.0 * losses[:, :1])
    assert np.array_equal(model.weights, before)
