"""The test for a wrong curve of the task gap: its value by hand, its level, its power, and what users see of it."""

from dataclasses import replace

import numpy as np
import pytest

from prefine.emulator.types import CalibrationWork, FloatArray
from prefine.models.estimates import summarise
from prefine.models.fits import GapFit, fit_gap
from prefine.models.lack_of_fit import gap_misfit
from prefine.models.pilot import Pilot
from prefine.models.task_gap import batches
from tests.models.test_constants import trajectories

ROUNDS = Pilot().losses_at


def runs_around(left: FloatArray, seed: int, count: int) -> FloatArray:
    """Task gaps (count, 3, m) that close as ``left`` (m,) says; each run strays along two curves of its own."""
    generator = np.random.default_rng(seed)
    true = 0.8 + 1.5 * left + 1.2 / batches()[:, np.newaxis] * (1.0 - left)
    late, scale = 1.0 - np.exp(-ROUNDS / 60.0), generator.normal(1.0, 0.03, (count, 1, 1))
    strays = generator.normal(0.0, 0.05, (count, len(true), 1)) * late + generator.normal(0.0, 0.01, true.shape) * late
    gaps: FloatArray = scale * true + strays
    return gaps


def significant(left: FloatArray, count: int) -> float:
    """In what part of 60 calibrations the fitted curve is found wrong."""
    found = []
    for seed in range(60):
        gaps = runs_around(left, seed, count)
        found.append(gap_misfit(fit_gap(ROUNDS, batches(), gaps.mean(axis=0)), ROUNDS, batches(), gaps).is_significant)
    return float(np.mean(found))


def test_by_hand() -> None:
    gaps = np.array([[[1.0, 3.0, 5.0]], [[1.0, 5.0, 7.0]]])  # means 4 and 6, variances of the mean 1 and 1
    flat = GapFit(contraction=0.1, floor=1.0, noise=0.0)
    ratio, most = gap_misfit(flat, np.array([0.0, 1.0, 2.0]), np.array([8.0]), gaps)
    assert ratio == pytest.approx((3.0**2 + 5.0**2) / 2.0)
    assert most == pytest.approx(161.4, rel=1e-3)  # Fisher's F with 1 and 1 degrees of freedom, from tables
    assert not gap_misfit(flat, np.array([0.0, 1.0, 2.0]), np.array([8.0]), gaps[:1]).is_significant


@pytest.mark.parametrize("count", [3, 4])
def test_level_and_power(count: int) -> None:
    """Of 60 right curves about 5 % are taken for wrong, within three standard deviations; of wrong ones most are."""
    assert significant(np.exp(-0.03 * ROUNDS), count) <= 0.05 + 3.0 * np.sqrt(0.05 * 0.95 / 60)
    assert significant(0.5 * np.exp(-0.15 * ROUNDS) + 0.5 * np.exp(-0.01 * ROUNDS), count) >= 0.8


def test_users_are_warned_of_a_wrong_curve_and_of_an_unknown_rate() -> None:
    runs, at, losses = trajectories(3)
    right = summarise(runs, at, losses, CalibrationWork())
    assert [name for name, entry in right.calibration().items() if "warning" in entry] == []
    twice = runs_around(0.5 * np.exp(-0.15 * ROUNDS) + 0.5 * np.exp(-0.01 * ROUNDS), 0, len(runs))
    wrong = summarise(runs, at, 0.1 + twice, CalibrationWork()).calibration()
    assert "misses the runs" in wrong["pretrain_misfit"]["warning"]
    unsure = replace(right, pretrain_contraction=replace(right.pretrain_contraction, standard_error=0.01))
    assert "is not known" in unsure.calibration()["pretrain_contraction"]["warning"]
