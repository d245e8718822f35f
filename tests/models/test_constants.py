from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prefine.emulator.scenario.training import TrainingSettings
from prefine.emulator.types import CalibrationWork, FloatArray
from prefine.models import calibration, constants
from prefine.models.calibration import DivergedError, Trajectory
from prefine.models.constants import estimate
from prefine.models.estimates import Estimate, load, summarise
from prefine.models.federation import Federation
from prefine.models.objective import Objective
from prefine.models.pilot import Pilot
from prefine.models.task_gap import batches
from prefine.models.tuning import Everything
from prefine.models.workload import Workload

Make = Callable[..., Workload]


QUICK = Pilot(runs=2, searches=1, rounds=60)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cache of this test's own."""
    monkeypatch.setenv("PREFINE_CACHE", str(tmp_path))
    return tmp_path


@pytest.fixture
def measure(federation: Federation, objective: Callable[..., Objective]) -> Callable[[bytes], Estimate]:
    return lambda content: estimate(
        federation, lambda seed: objective("logistic", seed), Everything(), TrainingSettings(), QUICK, content
    )


def test_estimate_is_deterministic_and_kept(quick: Path, measure: Callable[[bytes], Estimate]) -> None:
    first = measure(b"content")
    (kept,) = quick.glob("constants-*")
    stamp = kept.stat().st_mtime_ns
    assert measure(b"content") == first  # read
    assert kept.stat().st_mtime_ns == stamp
    kept.unlink()
    assert measure(b"content") == first  # measured again, to the last bit
    measure(b"other content")
    assert len(list(quick.glob("constants-*"))) == 2


def test_damaged_cache_is_measured_again(quick: Path, measure: Callable[[bytes], Estimate]) -> None:
    first = measure(b"content")
    (kept,) = quick.glob("constants-*")
    kept.write_bytes(kept.read_bytes()[:-20])
    assert measure(b"content") == first
    assert measure(b"content") == first


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"{}", b'{"work": [1, 2, [], []]}', b'{"work": 3}', b"\xff\xfe"])
def test_damage_is_noticed(damage: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # which one does not matter
        load(damage)


def test_unwritable_cache_is_no_trouble(
    quick: Path, measure: Callable[[bytes], Estimate], monkeypatch: pytest.MonkeyPatch
) -> None:
    (quick / "file").write_text("not a folder")
    monkeypatch.setenv("PREFINE_CACHE", str(quick / "file" / "below"))
    assert measure(b"content").smoothness.value > 0


def test_constants_of_logistic_regression(
    quick: Path, measure: Callable[[bytes], Estimate], federation: Federation
) -> None:
    """What can be known without training brackets what was measured."""
    found = measure(b"content")
    both = []
    for x in (federation.general.x, federation.task.x):
        flat = np.c_[x.reshape(len(x), -1).numpy(), np.ones(len(x))]
        both.append(np.linalg.eigvalsh(flat.T @ flat / len(flat))[-1])
    assert found.smoothness.value < 0.5 * max(both) + 0.01
    assert found.learning_rate == 1.0 / found.smoothness.value
    assert found.discrepancy.value > 0
    assert found.initial_gap.value == pytest.approx(np.log(4), rel=0.7)
    assert found.pretrain_floor.value < found.initial_gap.value
    assert found.discrepancy_relief.value * found.discrepancy_rate.value <= found.discrepancy.value
    assert found.smoothness.value == found.smoothness.most
    for one in (found.server_curvature, *found.device_curvature):
        assert 0 < one.least <= one.value <= one.most <= found.smoothness.value
    assert found.work.runs == found.work.searches + 2
    assert found.work.pretrain == ((32, 60 * (found.work.runs + 2)), (8, 120), (128, 120))
    assert found.work.finetune == ((53, 60 * found.work.runs),)
    for one in (found.discrepancy, found.server_variance, *found.device_variance):
        assert one.least <= one.value <= one.most
        assert one.standard_error > 0


def test_work_counts_what_was_run_again(
    quick: Path, measure: Callable[[bytes], Estimate], monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = measure(b"usual").work
    once = iter([True])

    def failing(*arguments: Any) -> Trajectory:
        if next(once, False):
            raise DivergedError
        return calibration.measure(*arguments)

    monkeypatch.setattr(constants, "measure", failing)
    again = measure(b"diverges once").work
    assert (again.runs, again.searches) == (usual.runs + 2, usual.searches)


def trajectories(seed: int, runs: int = 4) -> tuple[list[Trajectory], FloatArray, FloatArray]:
    """Runs that differ by noise, around constants that are known, and their task losses."""
    generator = np.random.default_rng(seed)
    rounds, points = np.array([0.0, 3, 7, 13, *range(20, 200, 20)]), 10
    left = np.exp(-0.03 * Pilot().losses_at)
    gap = (1.5 * left + 0.8)[None] + 1.2 / batches()[:, None] * (1.0 - left)
    made, losses = [], []
    for _ in range(runs):
        scale, drift = generator.normal(1.0, 0.05), generator.normal(1.0, 0.05)
        losses.append(0.1 + drift * gap + generator.normal(0.0, 0.01, gap.shape))
        made.append(
            Trajectory(
                smoothness=generator.uniform(2.0, 4.0, 2 * points),
                shift_rounds=rounds,
                shift=drift * (0.9 - 0.6 * np.exp(-0.02 * rounds)),
                server_variance=scale * np.linspace(8.0, 12.0, points),
                server_curved=generator.normal(1.0, 0.1) * np.linspace(8.0, 12.0, points),
                device_variance=scale * np.outer(np.linspace(3.0, 5.0, points), [1.0, 2.0, 0.0]),
                device_curved=generator.normal(1.0, 0.1, (points, 3)) * [6.0, 8.0, 0.0],
                lowest_loss=0.1,
            )
        )
    return made, Pilot().losses_at, np.array(losses)


def test_uncertainty_covers_the_truth() -> None:
    """Two standard errors of four runs hold the truth in about 86 % of all cases (Student's t, 3 degrees)."""
    truth = {
        "server_curvature": 1.0,
        "initial_gap": 2.3,
        "discrepancy": 0.9,
        "discrepancy_relief": 30.0,
        "server_variance": 10.0,
        "pretrain_contraction": 0.03,
        "pretrain_floor": 0.8,
        "pretrain_noise": 1.2,
    }
    held: dict[str, list[bool]] = {name: [] for name in truth}
    for seed in range(40):
        found = summarise(*trajectories(seed), CalibrationWork())
        for name, value in truth.items():
            one = getattr(found, name)
            held[name].append(abs(one.value - value) <= 2.0 * one.standard_error)
    assert {name: np.mean(inside) for name, inside in held.items() if np.mean(inside) < 0.6} == {}


def test_summaries_of_known_runs() -> None:
    runs, at, losses = trajectories(3)
    found = summarise(runs, at, losses, CalibrationWork())
    assert found.smoothness.value == max(run.smoothness.max() for run in runs)
    assert [one.value for one in found.device_curvature[:2]] == pytest.approx([1.5, 1.0], rel=0.1)
    assert found.device_curvature[2].value == found.smoothness.value  # no noise, nothing known of what it meets
    assert found.device_variance[2].value == 0.0
    means = [run.server_variance.mean() for run in runs]
    assert found.server_variance.standard_error == pytest.approx(np.std(means, ddof=1) / 2.0)
    lone = summarise(runs[:1], at, losses[:1], CalibrationWork())
    assert lone.pretrain_noise.standard_error == 0.0


def test_a_calibration_run_that_diverges_is_run_again_with_shorter_steps(
    quick: Path, measure: Callable[[bytes], Estimate], monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = measure(b"usual")
    monkeypatch.setattr(constants, "initial_curvature", lambda *_: 1e-30)  # a first rate at which floats overflow
    monkeypatch.setattr(constants, "SHORTER", 1e-6)
    assert measure(b"far too long").smoothness.value == pytest.approx(usual.smoothness.value, rel=0.25)
    monkeypatch.setattr(constants, "SHORTER", 1.0)
    with pytest.raises(ValueError, match="diverges even at step size"):
        measure(b"never short enough")


def test_constants_of_the_default_task_are_those_of_the_study(workload: Make) -> None:
    """Mild shift, 100 samples, MLP: an independent prototype found L 3.9, Delta^2 .67, gap 2.37, a .029, floor .89;

    a later one noise curvatures of .16 to .27 L and .33 to .41 L, and v about 1.
    """
    made = workload(devices=10, samples=100)
    found = made.constants()
    assert found.smoothness == pytest.approx(3.9, rel=0.35)
    assert found.learning_rate == 1.0 / found.smoothness
    assert found.initial_gap == pytest.approx(2.37, rel=0.1)
    rounds = Pilot.rounds
    summed = found.discrepancy * rounds - found.discrepancy_relief * (1 - np.exp(-found.discrepancy_rate * rounds))
    assert summed / rounds == pytest.approx(0.67, rel=0.5)
    assert found.server_variance == pytest.approx(11, rel=0.3)
    assert np.mean(found.device_variance) == pytest.approx(4, rel=0.4)
    assert found.pretrain_contraction == pytest.approx(0.029, rel=0.5)
    assert found.pretrain_floor == pytest.approx(0.89, rel=0.4)
    assert found.pretrain_noise == pytest.approx(1.0, rel=0.5)
    assert found.server_curvature == pytest.approx(0.2 * found.smoothness, rel=0.5)
    assert np.mean(found.device_curvature) == pytest.approx(0.37 * found.smoothness, rel=0.4)
    assert made.estimate.smoothness.standard_error < 0.15 * found.smoothness
