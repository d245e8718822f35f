"""Shadowing and mobility against their closed forms; intervals as in test_fading."""

import math

import numpy as np
import pytest
from scipy import integrate, stats

from prefine.emulator.channel.base import Grid
from prefine.emulator.channel.largescale import NO_SHADOWING, ConstantField, GaussianField, LargeScale, Shadowing
from prefine.emulator.channel.mobility import ConstantVelocity, Fixed, RandomWaypoint, Site, place
from prefine.emulator.channel.models import Static
from prefine.emulator.channel.pathloss import MACRO, LogDistance
from prefine.emulator.types import FloatArray

CORRELATION_M = 50.0
FLAT = LogDistance(0.0, 0.0, 1.0)
"""A path loss of 0 dB anywhere, to see the shadowing alone."""


def at(points: list[tuple[float, float]]) -> FloatArray:
    return np.array(points)


def test_shadowing_is_gaussian_and_correlated_as_gudmundson_says() -> None:
    """1500 maps; at distances d the correlation is exp(-d/50 m), in any direction."""
    places = at([(0.0, 0.0), (5.0, 0.0), (0.0, 25.0), (-30.0, 40.0), (150.0, 0.0)])
    distance_m = np.hypot(*places.T)
    values = np.stack(
        [GaussianField(CORRELATION_M, np.random.default_rng(seed)).at(places + 400.0) for seed in range(1500)]
    )
    assert stats.kstest(values[:, 0], "norm").pvalue > 0.001
    for column, d in enumerate(distance_m):
        product = values[:, 0] * values[:, column]
        error = np.std(product) / math.sqrt(len(product))
        assert abs(np.mean(product) - math.exp(-d / CORRELATION_M)) < 4.0 * error


def test_one_map_shows_the_same_correlation_along_a_long_way() -> None:
    """40 devices drive 20 km straight through one map; the product of shadows d apart averages exp(-d/50 m)."""
    mobility = ConstantVelocity(np.zeros((40, 2)), 10.0, seed=3, numbers=range(40))
    field = GaussianField(CORRELATION_M, np.random.default_rng(1), waves=1024)
    process = LargeScale(mobility, FLAT, Shadowing((8.0, 8.0), (field, field)), ConstantField(-np.inf))
    track_db = np.stack([10.0 * np.log10(process.sample(k, Grid(0.0, 2.5, 800))) for k in range(40)])
    for lag in (1, 2, 4):
        per_device = np.mean(track_db[:, :-lag] * track_db[:, lag:], axis=1) / 64.0
        error = np.std(per_device, ddof=1) / math.sqrt(40.0)
        assert abs(np.mean(per_device) - math.exp(-25.0 * lag / CORRELATION_M)) < 4.0 * error


def test_shadowing_of_devices_at_rest_has_its_standard_deviation() -> None:
    """600 layouts of one device each: the standard deviation's own standard error is 8/sqrt(1200) = 0.23 dB."""
    spec = Static(shadowing_db=8.0)
    db = [10.0 * np.log10(spec.build(Site(np.array([1000.0]), seed), 0).gain(0, 0.0)) + 128.1 for seed in range(600)]
    assert np.std(db) == pytest.approx(8.0, abs=0.92)
    assert np.mean(db) == pytest.approx(0.0, abs=4.0 * 8.0 / math.sqrt(600.0))


def test_a_device_that_returns_finds_its_shadow_again() -> None:
    there_and_back = Fixed(at([(120.0, 35.0)]))
    process = LargeScale(
        there_and_back,
        MACRO,
        Shadowing((8.0, 8.0), (GaussianField(20.0, np.random.default_rng(2)),) * 2),
        ConstantField(-np.inf),
    )
    assert process.sample(0, Grid(0.0, 1.0, 1)) == process.sample(0, Grid(500.0, 1.0, 1))


def test_constant_velocity_moves_in_a_straight_line_at_its_speed() -> None:
    mobility = ConstantVelocity(at([(10.0, 20.0), (0.0, 0.0)]), 3.0, seed=1, numbers=range(2))
    way = mobility.positions(0, np.array([0.0, 1.0, 10.0]))
    assert way[0].tolist() == [10.0, 20.0]
    assert np.hypot(*(way[2] - way[0])) == pytest.approx(30.0)
    np.testing.assert_allclose(way[2] - way[0], 10.0 * (way[1] - way[0]), rtol=1e-12)


def test_random_waypoint_stays_in_the_disc_at_its_speed_in_any_order_of_asking() -> None:
    def fresh() -> RandomWaypoint:
        return RandomWaypoint(at([(0.0, 10.0)]), 5.0, 100.0, 3.0, seed=4, numbers=range(1))

    time_s = np.linspace(0.0, 2000.0, 20001)
    way = fresh().positions(0, time_s)
    assert np.max(np.hypot(*way.T)) <= 100.0
    speed = np.hypot(*np.diff(way, axis=0).T) / 0.1
    assert np.max(speed) <= 5.0 + 1e-9
    assert np.median(speed) == pytest.approx(5.0)
    late_first = fresh()
    late = late_first.positions(0, np.array([1500.0]))
    assert late_first.positions(0, time_s[:10]).tolist() == way[:10].tolist()
    np.testing.assert_allclose(late[0], way[15000], atol=1e-9)


def test_random_waypoint_legs_are_as_long_as_random_chords_of_a_disc() -> None:
    """Mean distance of two uniform points of a disc of radius R: 128 R/(45 pi) (Solomon, 1978), so a device pauses 3 s
    every 3 s + 128 R/(45 pi v) on average; 60 devices over about 110 legs each, four standard errors."""
    mobility = RandomWaypoint(np.zeros((60, 2)), 5.0, 100.0, 3.0, seed=5, numbers=range(60))
    time_s = np.arange(500.0, 3000.0, 0.25)
    leg_s = 128.0 * 100.0 / (45.0 * np.pi) / 5.0
    resting = np.array([np.mean(np.hypot(*np.diff(mobility.positions(k, time_s), axis=0).T) < 1e-9) for k in range(60)])
    error = np.std(resting, ddof=1) / math.sqrt(60.0)
    assert abs(np.mean(resting) - (3.0 - 0.25) / (3.0 + leg_s)) < 4.0 * error


def test_random_waypoint_gathers_in_the_middle() -> None:
    """Stationary density of a waypoint walk in the unit disc (Bettstetter, Resta and Santi, 2003, IEEE Trans. Mobile
    Comput. 2(3)), from its definition: proportional to h(r) = (1 - r^2) times the integral over directions of
    sqrt(1 - r^2 cos^2). Mean distance from the centre over 200 devices, four standard errors."""

    def density(r: float) -> float:
        return (1.0 - r * r) * integrate.quad(lambda a: math.sqrt(1.0 - (r * math.cos(a)) ** 2), 0.0, math.pi)[0]

    mass = integrate.quad(lambda r: r * density(r), 0.0, 1.0)[0]
    expected_m = 100.0 * integrate.quad(lambda r: r * r * density(r), 0.0, 1.0)[0] / mass
    mobility = RandomWaypoint(np.zeros((200, 2)), 5.0, 100.0, 0.0, seed=6, numbers=range(200))
    time_s = np.arange(500.0, 3000.0, 5.0)
    mean_m = np.array([np.mean(np.hypot(*mobility.positions(k, time_s).T)) for k in range(200)])
    error = np.std(mean_m, ddof=1) / math.sqrt(200.0)
    assert abs(np.mean(mean_m) - expected_m) < 4.0 * error
    assert expected_m < 200.0 / 3.0, "uniform places would be 2/3 of the radius out"


def test_devices_are_placed_at_their_distance_in_any_direction() -> None:
    position_m = place(np.full(2000, 70.0), seed=8, numbers=range(2000))
    np.testing.assert_allclose(np.hypot(*position_m.T), 70.0)
    angle = np.arctan2(position_m[:, 1], position_m[:, 0])
    assert stats.kstest((angle + np.pi) / (2.0 * np.pi), "uniform").pvalue > 0.001
    assert place(np.full(3, 70.0), seed=8, numbers=range(3)).tolist() == position_m[:3].tolist()


def test_without_shadowing_the_large_scale_is_the_path_loss() -> None:
    process = LargeScale(Fixed(at([(3.0, 4.0)])), MACRO, NO_SHADOWING, ConstantField(-np.inf), 0.0, 50.0)
    gain = process.sample(0, Grid(0.0, 1.0, 2))
    np.testing.assert_allclose(-10.0 * np.log10(gain), MACRO.loss_db(np.full(2, 50.0), np.ones(2)))
