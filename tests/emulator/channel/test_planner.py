"""The planner's gain: exact for static channels, and the documented statistic otherwise."""

import math

import numpy as np
import pytest
from scipy import integrate

from prefine.emulator.channel import planner
from prefine.emulator.channel.mobility import Site
from prefine.emulator.channel.models import Block, Rayleigh, Static
from prefine.emulator.channel.planner import planning_channel, planning_gain
from prefine.emulator.channel.section import Statistic
from prefine.emulator.channel.trace import Trace, TraceChannel
from prefine.emulator.errors import InputError
from prefine.emulator.physics import rate, upload_time
from prefine.emulator.simulation.transfer import transfer_end
from prefine.emulator.types import FloatArray

NOISE = 10.0 ** (-174.0 / 10.0) * 1e-3
POWER_W = np.full(3, 0.2)
BANDWIDTH_HZ = np.full(3, 20e3)
DISTANCE_M = np.array([60.0, 170.0, 420.0])


def static_gain(distance_m: FloatArray) -> FloatArray:
    of = Static().build(Site(distance_m, 0), 0)
    return np.array([of.gain(k, 0.0) for k in range(len(distance_m))])


@pytest.mark.parametrize("statistic", ["upload-time", "mean", "quantile"])
def test_a_static_gain_is_returned_bit_for_bit(statistic: Statistic) -> None:
    of = Static(shadowing_db=8.0).build(Site(DISTANCE_M, 4), 0)
    found = planning_gain(of, POWER_W, 64000.0, BANDWIDTH_HZ, NOISE, horizon_s=10.0, statistic=statistic)
    assert found.tolist() == [of.gain(k, 0.0) for k in range(3)]


def test_a_square_wave_has_the_expected_upload_time_worked_out_by_hand() -> None:
    """On for 1 s at r, off for 1 s, Q = r/2 bits.

    A start in the first half second of a period takes 1/2 s; from there to 1 s, 1/2 s and the outage, 3/2 s; in the
    outage, what is left of it and 1/2 s, 1 s on average. Mean: (1/2 x 1/2 + 1/2 x 3/2 + 1 x 1)/2 = 1 s.
    """
    of = TraceChannel(Trace((np.array([0.0, 1.0]),), (np.array([-90.0, -math.inf]),), (2.0,)), np.zeros(1), "wrap")
    on_bit_s = rate(20e3, 0.2, 1e-9, NOISE)
    found = planning_gain(of, POWER_W[:1], 0.5 * on_bit_s, BANDWIDTH_HZ[:1], NOISE, horizon_s=2.0)
    assert upload_time(0.5 * on_bit_s, 20e3, 0.2, float(found[0]), NOISE) == pytest.approx(1.0, rel=1e-9)
    mean = planning_gain(of, POWER_W[:1], 1.0, BANDWIDTH_HZ[:1], NOISE, horizon_s=2.0, statistic="mean")
    assert mean[0] == pytest.approx(0.5e-9, rel=1e-12)
    top = planning_gain(
        of, POWER_W[:1], 1.0, BANDWIDTH_HZ[:1], NOISE, horizon_s=2.0, statistic="quantile", quantile=0.7
    )
    assert top[0] == pytest.approx(1e-9, rel=1e-12)


def test_a_long_upload_over_rayleigh_goes_at_the_ergodic_rate() -> None:
    """An upload of thousands of coherence times averages the rate itself: mean of W log2(1 + s x), x exponential.

    Over 4 x 4000 coherence times the rate's time average has a standard error near 0.5 %; 2 % is four of them.
    """
    spec = Rayleigh(speed_m_s=10.0)
    of = planning_channel(spec, Site(DISTANCE_M, 3))
    horizon_s = spec.horizon_s(Site(DISTANCE_M, 3), 10.0)
    ergodic = np.array(
        [
            integrate.quad(lambda x, g=g: rate(20e3, 0.2, x * g, NOISE) * math.exp(-x), 0.0, 50.0)[0]
            for g in static_gain(DISTANCE_M)
        ]
    )
    bits = 3.0 * float(horizon_s[0]) * float(ergodic.mean())
    found = planning_gain(of, POWER_W, bits, BANDWIDTH_HZ, NOISE, horizon_s=horizon_s)
    np.testing.assert_allclose(rate(BANDWIDTH_HZ, POWER_W, found, NOISE), ergodic, rtol=0.02)
    assert np.all(found < static_gain(DISTANCE_M)), "Jensen: fading costs rate"


def test_short_uploads_plan_with_less_than_long_ones() -> None:
    """The mean of a duration exceeds bits over mean rate, the more so the shorter the upload (Jensen)."""
    spec = Rayleigh()
    of = planning_channel(spec, Site(DISTANCE_M, 3))
    horizon_s = spec.horizon_s(Site(DISTANCE_M, 3), 32.0)
    short, long = (planning_gain(of, POWER_W, bits, BANDWIDTH_HZ, NOISE, horizon_s=horizon_s) for bits in (2e3, 2e6))
    assert np.all(short < long)


def test_mean_and_quantile_of_rayleigh_are_those_of_the_exponential() -> None:
    """Over 4000 coherence times, about as many independent values: standard error of the mean 1.6 %, of the median
    (1/(2 f sqrt(n)) = 1.6 % of the mean, 2.3 % of itself); the intervals are four of them."""
    spec = Rayleigh()
    of = planning_channel(spec, Site(DISTANCE_M, 3))
    horizon_s = spec.horizon_s(Site(DISTANCE_M, 3), 32.0)
    mean = planning_gain(of, POWER_W, 1.0, BANDWIDTH_HZ, NOISE, horizon_s=horizon_s, statistic="mean")
    median = planning_gain(of, POWER_W, 1.0, BANDWIDTH_HZ, NOISE, horizon_s=horizon_s, statistic="quantile")
    np.testing.assert_allclose(mean / static_gain(DISTANCE_M), 1.0, rtol=0.064)
    np.testing.assert_allclose(median / static_gain(DISTANCE_M), math.log(2.0), rtol=0.092)


def test_planning_fading_is_no_runs_fading() -> None:
    spec = Rayleigh()
    planned = planning_channel(spec, Site(DISTANCE_M, 3))
    for seed in range(20):
        assert spec.build(Site(DISTANCE_M, 3), seed).gain(0, 1.0) != planned.gain(0, 1.0)


def test_a_gain_that_ends_by_holding_for_good_carries_the_last_uploads() -> None:
    trace = Trace((np.array([0.0, 1.0]),), (np.array([-math.inf, -90.0]),), (2.0,))
    of = TraceChannel(trace, np.zeros(1), "hold")
    bits = 100.0 * rate(20e3, 0.2, 1e-9, NOISE)
    found = planning_gain(of, POWER_W[:1], bits, BANDWIDTH_HZ[:1], NOISE, horizon_s=2.0)
    assert upload_time(bits, 20e3, 0.2, float(found[0]), NOISE) == pytest.approx(100.25, rel=1e-9)


def test_no_signal_is_one_clear_error() -> None:
    dead = TraceChannel(Trace((np.array([0.0, 1.0]),), (np.full(2, -math.inf),), (2.0,)), np.zeros(1), "wrap")
    with pytest.raises(InputError, match="device 0 cannot upload"):
        planning_gain(dead, POWER_W[:1], 1e3, BANDWIDTH_HZ[:1], NOISE, horizon_s=2.0)
    held = TraceChannel(Trace((np.zeros(1),), (np.full(1, -math.inf),), (math.inf,)), np.zeros(1), "hold")
    with pytest.raises(InputError, match="device 0 has no signal"):
        planning_gain(held, POWER_W[:1], 1e3, BANDWIDTH_HZ[:1], NOISE, horizon_s=2.0)


@pytest.mark.parametrize("bits", [1e3, 64e3, 1e6])
def test_its_uploads_last_as_long_as_those_of_the_clock(monkeypatch: pytest.MonkeyPatch, bits: float) -> None:
    monkeypatch.setattr(planner, "STARTS", 64)
    spec = Block()
    of = planning_channel(spec, Site(DISTANCE_M, 3))
    found = planning_gain(of, POWER_W, bits, BANDWIDTH_HZ, NOISE, horizon_s=20.0)
    for k in range(3):
        starts = (np.arange(64) + 0.5) / 64 * 20.0
        lasts = [transfer_end(of, k, s, bits, POWER_W[k], BANDWIDTH_HZ[k], NOISE) - s for s in starts]
        upload_s = upload_time(bits, BANDWIDTH_HZ[k], POWER_W[k], found[k], NOISE)
        assert upload_s == pytest.approx(np.mean(lasts), rel=1e-9)
