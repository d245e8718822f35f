"""Path loss against published values."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefine.emulator.channel.base import Grid
from prefine.emulator.channel.mobility import Site
from prefine.emulator.channel.models import Static, channel_model
from prefine.emulator.channel.pathloss import MACRO, LogDistance, UrbanMacro, UrbanMicro, free_space_loss_db
from prefine.emulator.errors import InputError

DISTANCE_M = np.array([10.0, 100.0, 1000.0, 5000.0])
SIGHT, NO_SIGHT = np.ones(4), np.zeros(4)
HUNDREDTH_DB = 0.01


@pytest.mark.parametrize(
    ("model", "sight", "published_db"),
    [
        (UrbanMacro(5e9), SIGHT, [72.9380, 86.2362, 109.7252, 137.6794]),
        (UrbanMacro(5e9), NO_SIGHT, [82.5131, 106.1356, 144.7641, 172.0753]),
        (UrbanMicro(5e9), SIGHT, [69.8591, 88.4122, 119.3114, 147.2696]),
        (UrbanMicro(5e9), NO_SIGHT, [76.7563, 107.9432, 143.1886, 167.8617]),
    ],
)
def test_tr_38_901_as_computed_for_the_test_suite_of_ns_3(
    model: UrbanMacro | UrbanMicro, sight: np.ndarray, published_db: list[float]
) -> None:
    """At 5 GHz, devices at 1.5 m, base stations at 25 and 10 m; ns-3 takes 3e8 m/s for the speed of light."""
    np.testing.assert_allclose(model.loss_db(DISTANCE_M, sight), published_db, atol=HUNDREDTH_DB, rtol=0.0)


def test_line_of_sight_probability_of_umi_as_in_the_tests_of_sharc() -> None:
    found = UrbanMicro(2e9).sight_probability(np.array([10.0, 15.0, 17.0, 40.0, 60.0, 80.0]))
    np.testing.assert_allclose(found, [1.0, 1.0, 1.0, 0.631, 0.432, 0.308], atol=1e-3)


def test_line_of_sight_probability_of_uma_by_hand() -> None:
    """At 63 m: 18/63 + exp(-1)(1 - 18/63) = 0.285714 + 0.367879 x 0.714286 = 0.548485."""
    found = UrbanMacro(2e9).sight_probability(np.array([5.0, 18.0, 63.0]))
    np.testing.assert_allclose(found, [1.0, 1.0, 0.548485], atol=1e-6)


def test_breakpoint_joins_the_slopes() -> None:
    for model in (UrbanMacro(2e9), UrbanMicro(2e9)):
        around = model.breakpoint_m * np.array([1.0 - 1e-9, 1.0 + 1e-9])
        near, far = model.loss_db(around, np.ones(2))
        assert far == pytest.approx(near, abs=0.01)
    assert UrbanMacro(3e9).breakpoint_m == pytest.approx(4 * 24 * 0.5 * 3e9 / 299792458.0)


def test_macro_is_128_1_plus_37_6_log10_km() -> None:
    np.testing.assert_allclose(
        MACRO.loss_db(np.array([1000.0, 100.0, 2000.0]), np.ones(3)), [128.1, 90.5, 139.41873], atol=1e-5
    )


def test_free_space_at_1_m_and_2_4_ghz_is_40_05_db() -> None:
    assert free_space_loss_db(1.0, 2.4e9) == pytest.approx(40.05, abs=0.01)
    assert LogDistance(40.05, 2.0, 1.0).loss_db(np.array([100.0]), np.ones(1))[0] == pytest.approx(80.05)


@given(st.floats(10.0, 5000.0), st.floats(1.001, 3.0), st.sampled_from([0.0, 1.0]))
def test_loss_rises_with_distance_and_blocking_never_helps(distance_m: float, factor: float, sight: float) -> None:
    here, there = np.array([distance_m]), np.array([distance_m * factor])
    for model in (UrbanMacro(2e9), UrbanMicro(28e9), MACRO):
        assert model.loss_db(there, np.array([sight]))[0] > model.loss_db(here, np.array([sight]))[0]
        assert model.loss_db(here, np.zeros(1))[0] >= model.loss_db(here, np.ones(1))[0]


def test_a_share_of_places_as_the_probability_says_has_line_of_sight() -> None:
    """2000 layouts, one device at 60 m under UMi: 43.2 % in sight; four standard errors are 4.4 %."""
    spec = Static(path_loss="umi")
    line_db, blocked_db = (UrbanMicro(2e9).loss_db(np.array([60.0]), np.array([s]))[0] for s in (1.0, 0.0))
    gains = [spec.build(Site(np.array([60.0]), s), 0).gain(0, 0.0) for s in range(2000)]
    in_sight = -10.0 * np.log10(gains) < (line_db + blocked_db) / 2.0
    assert np.mean(in_sight) == pytest.approx(0.432, abs=0.044)


@pytest.mark.parametrize(("state", "sight"), [("always", 1.0), ("never", 0.0)])
def test_line_of_sight_can_be_set(state: str, sight: float) -> None:
    spec = channel_model({"path_loss": "uma", "line_of_sight": state, "antenna_gain_db": 8.0, "carrier_hz": 3.5e9})
    of = spec.build(Site(np.array([250.0]), 0), 0)
    loss_db = UrbanMacro(3.5e9).loss_db(np.array([250.0]), np.array([sight]))[0]
    assert -10.0 * np.log10(of.gain(0, 0.0)) == pytest.approx(loss_db - 8.0)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"path_loss": "uma", "carrier_hz": 1e8}, "outside TR 38.901"),
        ({"path_loss": "uma", "device_height_m": 20.0}, "above what uma supports"),
        ({"shadowing_db": "model"}, 'needs path_loss = "uma" or "umi"'),
        ({"model": "rayleigh", "speed_m_s": 0.0}, "needs speed_m_s > 0"),
        ({"mobility": "random-waypoint", "gain_db": -80.0}, "moves nothing"),
        ({"model": "trace"}, "go together"),
        ({"trace": "x.csv"}, "go together"),
        ({"speed": 1.0}, "channel.speed: unknown key; allowed: model, .*; did you mean 'speed_m_s'"),
        ({"model": "raleigh"}, "channel.model = 'raleigh': must be one of 'static', .*; did you mean 'rayleigh'"),
        ({"carrier_hz": float("nan")}, "channel.carrier_hz"),
        ({"gain_db": [-90.0, 1e6]}, "channel.gain_db"),
        ({"speed_m_s": 1e9}, "channel.speed_m_s = 1000000000.0: must be less than or equal to 100000"),
        ({"speed_m_s": 1e-300}, "must be 0 or at least 1e-06"),
        ({"model": "block", "block_s": 1e-300}, "channel.block_s"),
    ],
)
def test_wrong_settings_are_one_clear_line(keys: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        channel_model(keys)
    assert "\n" not in str(caught.value)


def test_devices_nearer_than_the_minimum_are_reckoned_at_it() -> None:
    of = Static(min_distance_m=35.0).build(Site(np.array([1.0, 35.0]), 0), 0)
    assert of.gain(0, 0.0) == pytest.approx(of.gain(1, 0.0))
    assert Grid(1.0, 0.5, 3).times().tolist() == [1.0, 1.5, 2.0]


@pytest.mark.parametrize("keys", [{}, {"path_loss": "uma", "line_of_sight": "always"}, {"path_loss": "umi"}])
def test_devices_at_rest_have_at_once_what_each_has_alone(keys: dict[str, object]) -> None:
    site = Site(np.random.default_rng(2).uniform(5.0, 3000.0, 301), 3)
    section = channel_model({"model": "static", **keys})
    moving = section.model_copy(update={"mobility": "constant-velocity"}).large_scale(site)
    alone = [moving.sample(k, Grid(0.0, 1.0, 1))[0] for k in range(len(site))]
    together = section.large_scale(site)
    assert [together.sample(k, Grid(0.0, 1.0, 1))[0] for k in range(len(site))] == alone
