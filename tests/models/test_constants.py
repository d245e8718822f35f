from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from prefine.models import calibration, constants
from prefine.models.constants import Estimate, estimate
from prefine.models.federation import Federation
from prefine.models.objective import Objective
from prefine.models.workload import Workload

Make = Callable[..., Workload]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Fewer calibration runs, and a cache of this test's own."""
    monkeypatch.setattr(constants, "RUNS", 2)
    monkeypatch.setattr(constants, "STEP_SEARCHES", 1)
    monkeypatch.setattr(calibration, "ROUNDS", 60)
    monkeypatch.setenv("PREFINE_CACHE", str(tmp_path))
    return tmp_path


@pytest.fixture
def measure(federation: Federation, objective: Callable[..., Objective]) -> Callable[[bytes], Estimate]:
    return lambda content: estimate(federation, lambda seed: objective("logistic", seed), content)


def test_estimate_is_deterministic_and_kept(quick: Path, measure: Callable[[bytes], Estimate]) -> None:
    first = measure(b"content")
    (kept,) = quick.iterdir()
    stamp = kept.stat().st_mtime_ns
    assert measure(b"content") == first  # read
    assert kept.stat().st_mtime_ns == stamp
    kept.unlink()
    assert measure(b"content") == first  # measured again, to the last bit
    measure(b"other content")
    assert len(list(quick.iterdir())) == 2


def test_damaged_cache_is_measured_again(quick: Path, measure: Callable[[bytes], Estimate]) -> None:
    first = measure(b"content")
    (kept,) = quick.iterdir()
    kept.write_bytes(kept.read_bytes()[:-20])
    assert measure(b"content") == first
    assert measure(b"content") == first


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"{}", b'{"runs": 1, "rounds": 2}', b"\xff\xfe"])
def test_damage_is_noticed(damage: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # which one does not matter
        constants._load(damage)


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
    for one in (found.discrepancy, found.server_variance, *found.device_variance):
        assert one.least <= one.value <= one.most
        assert 0 < one.standard_error < one.value


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
    """Mild shift, 100 samples, MLP: an independent prototype found L 3.9, Delta^2 .67, gap 2.37, a .029, floor .89."""
    made = workload(devices=10, samples=100)
    found = made.constants()
    assert found.smoothness == pytest.approx(3.9, rel=0.35)
    assert found.learning_rate == 1.0 / found.smoothness
    assert found.initial_gap == pytest.approx(2.37, rel=0.1)
    assert found.discrepancy == pytest.approx(0.67, rel=0.5)
    assert found.server_variance == pytest.approx(11, rel=0.3)
    assert np.mean(found.device_variance) == pytest.approx(4, rel=0.4)
    assert found.pretrain_contraction == pytest.approx(0.029, rel=0.5)
    assert found.pretrain_floor == pytest.approx(0.89, rel=0.4)
    assert made.estimate.smoothness.standard_error < 0.15 * found.smoothness
