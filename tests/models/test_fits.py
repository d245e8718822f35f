import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefine.models.fits import fit_gap, fit_shift
from prefine.models.pilot import Pilot
from prefine.models.task_gap import batches

ROUNDS = Pilot.rounds
ROUNDS_SEEN = np.array([0.0, 3, 7, 13, *range(20, ROUNDS, 20)])
GAP_ROUNDS = Pilot().losses_at


def gap_curves(contraction: float, floor: float, noise: float, drop: float) -> np.ndarray:
    left = np.exp(-contraction * GAP_ROUNDS)
    return (drop * left + floor)[None] + noise / batches()[:, None] * (1.0 - left)


@given(st.floats(0.005, 0.2), st.floats(0.0, 1.5), st.floats(0.0, 5.0), st.floats(0.5, 3.0))
def test_gap_is_recovered_from_its_own_curves(contraction: float, floor: float, noise: float, drop: float) -> None:
    fitted = fit_gap(GAP_ROUNDS, batches(), gap_curves(contraction, floor, noise, drop))
    assert fitted == pytest.approx((contraction, floor, noise), rel=1e-3, abs=1e-3)


@given(st.floats(0.1, 3.0), st.floats(0.05, 1.0), st.floats(2.0 / ROUNDS, 0.3))
def test_shift_is_recovered_from_its_own_curve(slope: float, part: float, rate: float) -> None:
    fitted = fit_shift(ROUNDS_SEEN, slope * (1.0 - part * np.exp(-rate * ROUNDS_SEEN)), ROUNDS)
    assert fitted == pytest.approx((slope, slope * part / rate, rate), rel=1e-3)


@given(st.lists(st.floats(0.01, 10.0), min_size=len(ROUNDS_SEEN), max_size=len(ROUNDS_SEEN)))
def test_shift_never_falls_and_is_never_negative_and_its_sum_is_that_of_the_points(points: list[float]) -> None:
    shift = np.array(points)
    slope, relief, rate = fit_shift(ROUNDS_SEEN, shift, ROUNDS)
    assert relief >= 0.0
    assert relief * rate <= slope * (1.0 + 1e-12)
    at_points = slope - relief * rate * np.exp(-rate * ROUNDS_SEEN)
    assert at_points.sum() == pytest.approx(shift.sum(), rel=1e-6) or relief * rate == pytest.approx(slope)
    assert np.sum((at_points - shift) ** 2) <= np.sum((shift - shift.mean()) ** 2) * (1.0 + 1e-9)


@pytest.mark.parametrize("shift", [np.full(len(ROUNDS_SEEN), 0.4), 0.2 + np.exp(-0.02 * ROUNDS_SEEN)])
def test_shift_that_is_flat_or_falls_is_its_mean(shift: np.ndarray) -> None:
    assert fit_shift(ROUNDS_SEEN, shift, ROUNDS) == pytest.approx((shift.mean(), 0.0, 0.0))


def test_slow_rise_ends_where_the_horizon_allows() -> None:
    """A straight line has no end in sight: the slope is less than twice the largest shift seen."""
    shift = 0.3 + 0.01 * ROUNDS_SEEN
    slope, _, rate = fit_shift(ROUNDS_SEEN, shift, ROUNDS)
    assert rate == pytest.approx(1.0 / ROUNDS, rel=1e-3)
    assert shift.max() < slope < 2.0 * shift.max()
