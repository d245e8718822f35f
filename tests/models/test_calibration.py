from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from prefine.models import calibration
from prefine.models.federation import Federation
from prefine.models.networks import NETWORKS
from prefine.models.objective import Objective, weighted_loss
from prefine.models.probes import gradient_variance, top_curvature

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
    assert gradient_variance(model, few) == pytest.approx(expected, rel=1e-8)

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


@given(st.floats(0.005, 0.2), st.floats(0.0, 1.5), st.floats(0.5, 3.0))
def test_contraction_is_recovered_from_its_own_curve(contraction: float, floor: float, drop: float) -> None:
    rounds = np.arange(calibration.ROUNDS + 1)
    lowest = 0.1
    curve = lowest + drop * np.exp(-contraction * rounds) + floor
    fitted = calibration.fit_contraction(curve, lowest)
    assert fitted == pytest.approx((contraction, floor), rel=1e-2, abs=1e-3)


def test_the_search_sees_the_curvature_that_the_measurement_sees(
    objective: Make, federation: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration, "ROUNDS", 50)
    seen = calibration.measure(federation, objective("mlp", 2), 0.05, 7)
    assert len(seen.smoothness) == len(seen.discrepancy) + len(seen.device_variance) == 6
    assert len(seen.task_loss) == 51
    assert calibration.largest_curvature(federation, objective("mlp", 2), 0.05, 7) == seen.smoothness.max()


def test_a_calibration_run_that_diverges_says_so(objective: Make, federation: Federation) -> None:
    for measure in (calibration.measure, calibration.largest_curvature):
        with pytest.raises(calibration.DivergedError):
            measure(federation, objective("logistic"), 1e30, 0)
