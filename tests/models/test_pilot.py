"""How closely calibration looks: bounded work, counted as it is done, and constants that a cheaper look finds too."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefine.emulator.scenario.task import TaskSettings
from prefine.emulator.scenario.training import TrainingSettings
from prefine.models.calibration import measure
from prefine.models.federation import Federation
from prefine.models.objective import Batch, Objective
from prefine.models.pilot import HALVINGS, Pilot, looked_at, pilot_within, shares_of
from prefine.models.task_gap import task_losses
from prefine.models.tuning import Everything
from prefine.models.workload import Workload

Make = Callable[..., Workload]


@given(st.integers(2, 60_000), st.integers(2, 60_000), st.floats(1e3, 1e12))
def test_the_closest_look_that_fits(general: int, task: int, effort: float) -> None:
    costs = [Pilot().halved(times).passes(general, task) for times in range(HALVINGS)]
    assert all(after <= before for before, after in pairwise(costs))
    chosen = pilot_within(effort, general, task)
    assert chosen.passes(general, task) <= max(effort, costs[-1])
    assert Pilot().halved(0) == Pilot()
    for times in range(HALVINGS):
        look = Pilot().halved(times)
        assert len(look.losses_at) >= 5
        assert look.runs >= 2  # fewer have no spread
        assert look.rounds >= 2 * look.probe_every


def test_passes_are_those_that_are_made(
    federation: Federation, objective: Callable[..., Objective], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Samples that go through the model in one run, where products with the Hessian are of one sample."""
    seen = 0.0

    def count(method: str, passes: float) -> None:
        kept: Callable[[Objective, Batch], object] = getattr(Objective, method)

        def counting(self: Objective, batch: Batch) -> object:
            nonlocal seen
            seen += passes * len(batch)
            return kept(self, batch)

        monkeypatch.setattr(Objective, method, counting)

    for method, passes in (("differentiate", 1.0), ("full_gradient", 1.0), ("loss", 0.4)):
        count(method, passes)
    look = Pilot(runs=1, searches=0, rounds=60, general=1, task=1, curved=1, descents=0)
    measure(federation, objective("logistic"), Everything(), look, 0.05, 1)
    task_losses(federation, objective("logistic"), TrainingSettings(), look, 1.0, 1)
    assert seen == pytest.approx(look.passes(len(federation.general), len(federation.task)), rel=0.1)


def test_a_part_of_the_data_keeps_each_devices_share(federation: Federation) -> None:
    part = looked_at(federation, 45, 3)
    assert len(part.general) == 45
    assert abs(len(part.task) - 45) <= 2
    assert np.array(part.weights) == pytest.approx(np.array(federation.weights), abs=0.03)
    assert sorted(np.concatenate(part.parts)) == list(range(len(part.task)))
    for own, whole in zip(part.parts, federation.parts, strict=True):
        rows = {tuple(x) for x in federation.task.x[whole].reshape(len(whole), -1).tolist()}
        assert {tuple(x) for x in part.task.x[own].reshape(len(own), -1).tolist()} <= rows
    assert looked_at(federation, 10_000, 3) is federation
    assert not np.array_equal(looked_at(federation, 45, 4).general.x, part.general.x)


@given(st.integers(1, 500), st.lists(st.integers(1, 200), min_size=1, max_size=20))
def test_shares_never_ask_for_more_than_there_is(wanted: int, sizes: list[int]) -> None:
    counts = shares_of(wanted, sizes)
    assert all(min(2, size) <= count <= size for count, size in zip(counts, sizes, strict=True))
    assert shares_of(sum(sizes), sizes) == sizes


def test_a_cheaper_look_finds_the_same_constants_within_its_intervals(
    workload: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two standard errors of both, and for the least loss and the largest curvature what fewer looks miss."""
    monkeypatch.setenv("PREFINE_CACHE", str(tmp_path))
    made = workload(model="logistic", samples=300, devices=5)
    full = made.estimate
    cheap = made.within(0.1 * Pilot().passes(5000, 300))
    assert cheap._pilot().passes(5000, 300) < 0.1 * Pilot().passes(5000, 300)
    found = cheap.estimate
    for name in ("server_variance", "discrepancy", "initial_gap", "server_curvature", "pretrain_floor"):
        one, other = getattr(full, name), getattr(found, name)
        tolerance = 2.0 * (one.standard_error + other.standard_error) + 0.1 * one.value
        assert other.value == pytest.approx(one.value, abs=tolerance), name
    assert found.smoothness.value == pytest.approx(full.smoothness.value, rel=0.2)
    ratio = np.mean([one.value for one in found.device_variance]) / np.mean([one.value for one in full.device_variance])
    assert ratio == pytest.approx(1.0, abs=0.25)


def test_effort_bounds_a_model_that_costs_much() -> None:
    """About two minutes: 3,000 colour images of 32 x 32 on a convolutional network."""
    operations = 2.7e6
    look = pilot_within(1.8e12 / operations, 3000, 3000)
    assert look.passes(3000, 3000) * operations <= 1.8e12
    assert look.runs >= 2


def test_settings_make_the_same_workload_but_for_the_effort() -> None:
    made = Workload(TaskSettings(samples=40), TrainingSettings(), devices=4, seed=0)
    bounded = made.within(1e5)
    assert bounded._pilot() != made._pilot() == Pilot()
    assert bounded.cost == made.cost
