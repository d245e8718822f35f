"""Any settings that are accepted make a channel that works: finite gains, steps that go on, a plan to reckon with."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefine.emulator.channel import planner
from prefine.emulator.channel.mobility import Site
from prefine.emulator.channel.models import channel_model
from prefine.emulator.channel.planner import planning_channel, planning_gain
from prefine.emulator.channel.section import Statistic
from prefine.emulator.errors import InputError

NOISE = 10.0**-20.4

keys = st.fixed_dictionaries(
    {"model": st.sampled_from(["static", "rayleigh", "rician", "block"])},
    optional={
        "carrier_hz": st.floats(1e8, 3e10),
        "gain_db": st.floats(-140.0, -40.0) | st.lists(st.floats(-140.0, -40.0), min_size=2, max_size=2),
        "path_loss": st.sampled_from(["macro", "log-distance", "uma", "umi"]),
        "path_loss_exponent": st.floats(2.0, 4.0),
        "device_height_m": st.floats(1.5, 22.5),
        "base_height_m": st.floats(1.0, 100.0),
        "line_of_sight": st.sampled_from(["random", "always", "never"]),
        "shadowing_db": st.floats(0.0, 12.0) | st.just("model"),
        "shadowing_distance_m": st.floats(1.0, 1000.0) | st.just("model"),
        "speed_m_s": st.floats(0.0, 60.0),
        "mobility": st.sampled_from(["fixed", "constant-velocity", "random-waypoint"]),
        "area_radius_m": st.floats(10.0, 5000.0),
        "pause_s": st.floats(0.0, 100.0),
        "rician_k_db": st.floats(-20.0, 30.0),
        "sinusoids": st.integers(8, 100),
        "steps_per_coherence_time": st.integers(1, 64),
        "step_s": st.floats(1e-4, 100.0),
        "block_s": st.floats(1e-4, 100.0),
    },
)


@settings(max_examples=150, deadline=None)
@given(keys=keys, start_s=st.floats(0.0, 1e4), seed=st.integers(0, 2**32), far=st.booleans())
def test_accepted_settings_make_a_working_channel(
    keys: dict[str, object], start_s: float, seed: int, far: bool
) -> None:
    try:
        spec = channel_model(keys)
    except InputError:
        return
    location_m = np.array([[30.0, 40.0], [-300.0, 100.0]]) if far else np.array([50.0, 316.0])
    of = spec.build(Site(location_m, seed // 2), seed)
    for device in (0, 1):
        steps = of.steps(device, start_s, 50)
        assert 1 <= len(steps.end_s) == len(steps.gain) <= 50
        assert np.all(np.diff(np.append(start_s, steps.end_s)) > 0.0)
        assert np.all(np.isfinite(steps.gain) & (steps.gain >= 0.0))
        assert of.gain(device, start_s) == steps.gain[0]


@settings(max_examples=25, deadline=None)
@given(keys=keys.filter(lambda k: "step_s" not in k and "block_s" not in k), seed=st.integers(0, 99))
def test_accepted_settings_can_be_planned_with(keys: dict[str, object], seed: int) -> None:
    try:
        spec = channel_model({**keys, "steps_per_coherence_time": 2, "sinusoids": 8})
    except InputError:
        return
    location_m, ones = np.array([50.0, 316.0]), np.ones(2)
    of = planning_channel(spec, Site(location_m, seed))
    horizon_s = spec.horizon_s(Site(location_m, seed), 0.5)
    statistics: tuple[Statistic, ...] = ("upload-time", "mean", "quantile")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planner, "PATIENCE_STEPS", 100_000)
        try:
            found = [
                planning_gain(of, 0.2 * ones, 1e3, 1e5 * ones, NOISE, horizon_s=horizon_s, statistic=statistic)
                for statistic in statistics
            ]
        except InputError as error:
            refusal = str(error)
            found = []
        else:
            refusal = "cannot upload"
    assert "cannot upload" in refusal
    assert np.all(np.isfinite(found))
    assert np.all(np.array(found) > 0.0)
