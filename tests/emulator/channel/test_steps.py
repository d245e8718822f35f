"""What the clock relies on: any channel, asked at any time and from any of its own boundaries, makes progress."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefine.emulator.channel.base import Channel
from prefine.emulator.channel.mobility import Site
from prefine.emulator.channel.models import Replay, channel_model
from prefine.emulator.channel.trace import Trace, TraceChannel
from prefine.emulator.errors import InputError, TraceEndError
from prefine.emulator.types import FloatArray

DISTANCE_M = np.array([60.0, 170.0, 420.0])
VARYING: list[dict[str, object]] = [
    {"model": "rayleigh"},
    {"model": "rician", "rician_k_db": 3.0},
    {"model": "block"},
    {"model": "block", "block_s": 0.1, "step_s": 0.03},
    {"model": "static", "mobility": "constant-velocity", "shadowing_db": 8.0},
    {
        "model": "rayleigh",
        "mobility": "random-waypoint",
        "path_loss": "uma",
        "shadowing_db": "model",
        "speed_m_s": 20.0,
    },
]


def channel(
    keys: dict[str, object], *, seed: int = 5, layout_seed: int = 9, distance_m: FloatArray = DISTANCE_M
) -> Channel:
    return channel_model(keys).build(Site(distance_m, layout_seed), seed)


def small_trace(rows: list[float], gains_db: list[float], end_s: float) -> Trace:
    return Trace((np.array(rows),), (np.array(gains_db),), (end_s,), source="small.csv")


def walk(of: Channel, device: int, start_s: float, boundaries: int) -> list[tuple[float, float]]:
    """(end, gain) of successive steps, asking anew from every boundary."""
    found, time_s = [], start_s
    for _ in range(boundaries):
        steps = of.steps(device, time_s, 1)
        assert steps.end_s[0] > time_s
        assert of.gain(device, time_s) == steps.gain[0]
        assert of.gain(device, np.nextafter(steps.end_s[0], 0.0)) == steps.gain[0]
        time_s = float(steps.end_s[0])
        found.append((time_s, float(steps.gain[0])))
    return found


@pytest.mark.parametrize("keys", VARYING, ids=str)
@settings(max_examples=15, deadline=None)
@given(start_s=st.floats(0.0, 1e5), device=st.integers(0, 2))
def test_walking_step_by_step_meets_what_a_longer_question_says(
    keys: dict[str, object], start_s: float, device: int
) -> None:
    of = channel(keys)
    walked = walk(of, device, start_s, 12)
    asked = of.steps(device, start_s, 12)
    assert len(asked.end_s) >= 1
    assert np.all(np.diff(asked.end_s) > 0.0)
    assert list(zip(asked.end_s, asked.gain, strict=True)) == walked[: len(asked.end_s)]
    assert np.all(np.isfinite(asked.gain) & (asked.gain >= 0.0))
    ends, gains = channel(keys).ahead(np.array([device]), np.array([start_s]), 12)
    assert ends[-1][gains[-1] > 0.0].tolist() == asked.end_s.tolist()
    assert gains[-1][gains[-1] > 0.0].tolist() == asked.gain.tolist()


@pytest.mark.parametrize("keys", VARYING, ids=str)
def test_the_same_question_has_the_same_answer_in_any_order(keys: dict[str, object]) -> None:
    times = np.random.default_rng(3).uniform(0.0, 300.0, 40)
    first, second = channel(keys), channel(keys)
    forward = [first.gain(k, t) for t in times for k in range(3)]
    backward = [second.gain(k, t) for t in times[::-1] for k in (2, 1, 0)]
    assert forward == backward[::-1]


@pytest.mark.parametrize("keys", VARYING, ids=str)
def test_adding_a_device_leaves_the_others_as_they_were(keys: dict[str, object]) -> None:
    few, more = channel(keys), channel(keys, distance_m=np.append(DISTANCE_M, 300.0))
    assert [few.gain(k, 7.7) for k in range(3)] == [more.gain(k, 7.7) for k in range(3)]


def test_layout_seed_moves_large_scale_and_run_seed_moves_fading() -> None:
    keys: dict[str, object] = {"model": "rayleigh", "shadowing_db": 8.0}
    here = channel(keys).gain(0, 1.0)
    assert channel(keys, seed=6).gain(0, 1.0) != here
    assert channel(keys, layout_seed=10).gain(0, 1.0) != here
    still: dict[str, object] = {"model": "static", "shadowing_db": 8.0}
    assert channel(still, seed=6).gain(0, 1.0) == channel(still, seed=5).gain(0, 1.0)


def test_static_gain_is_128_1_plus_37_6_log10_d_for_good() -> None:
    of = channel({"model": "static"})
    expected = 10.0 ** (-(128.1 + 37.6 * np.log10(DISTANCE_M / 1000.0)) / 10.0)
    np.testing.assert_allclose([of.gain(k, 1e9) for k in range(3)], expected, rtol=1e-13)
    assert of.steps(0, 4.0, 10).end_s.tolist() == [math.inf]


def test_explicit_gains_stand_for_path_loss_and_shadowing() -> None:
    of = channel({"gain_db": [-90.0, -100.0, -110.0], "shadowing_db": 8.0})
    np.testing.assert_allclose([of.gain(k, 0.0) for k in range(3)], [1e-9, 1e-10, 1e-11], rtol=1e-14)
    with pytest.raises(InputError, match="gain_db has 2 values, must have 1 or one for each of 3"):
        channel({"gain_db": [-90.0, -100.0]})


@settings(max_examples=200, deadline=None)
@given(
    gaps=st.lists(st.floats(1e-6, 50.0), min_size=1, max_size=6),
    offset=st.floats(0.0, 500.0),
    start_s=st.floats(0.0, 1e6),
    on_end=st.sampled_from(["wrap", "hold"]),
)
def test_replay_walks_on_from_every_boundary(gaps: list[float], offset: float, start_s: float, on_end: str) -> None:
    corners = np.concatenate(([0.0], np.cumsum(gaps)))
    trace = small_trace(corners[:-1].tolist(), np.linspace(-120.0, -80.0, len(gaps)).tolist(), float(corners[-1]))
    of = TraceChannel(trace, np.array([offset]), on_end)  # type: ignore[arg-type]  # hypothesis knows only str
    asked = of.steps(0, start_s, 10)
    assert np.all(np.diff(np.append(start_s, asked.end_s)) > 0.0)
    time_s = start_s
    for end_s, gain in zip(*asked, strict=True):
        one = of.steps(0, time_s, 1)
        assert (one.end_s[0], one.gain[0]) == (end_s, gain)
        time_s = float(end_s)
    if on_end == "wrap":
        assert len(asked.end_s) == 10 or np.min(gaps) < 1e-9 * start_s


def test_a_trace_wraps_holds_or_errors_at_its_end() -> None:
    trace = small_trace([0.0, 1.0, 3.0], [-90.0, -math.inf, -80.0], 5.0)
    wrap, hold, error = (TraceChannel(trace, np.array([0.0, 4.5]), mode) for mode in ("wrap", "hold", "error"))
    assert wrap.steps(0, 4.0, 4).end_s.tolist() == [5.0, 6.0, 8.0, 10.0]
    np.testing.assert_allclose(wrap.steps(0, 4.0, 4).gain, [1e-8, 1e-9, 0.0, 1e-8])
    assert wrap.steps(1, 0.0, 2).end_s.tolist() == [0.5, 1.5]
    assert hold.steps(0, 4.0, 4).end_s.tolist() == [math.inf]
    assert hold.gain(0, 1e9) == pytest.approx(1e-8)
    assert error.steps(0, 0.0, 9).end_s.tolist() == [1.0, 3.0, 5.0]
    with pytest.raises(TraceEndError, match=r"small.csv: device 0 ended at 5 s"):
        error.gain(0, 5.0)
    with pytest.raises(TraceEndError, match=r"run time 0.5 s"):
        error.steps(1, 0.5, 1)


def test_steps_too_short_for_the_clock_are_left_out() -> None:
    """At 1e14 s a double resolves 1/64 s: the row that lasts 1 ms cannot be told from the one it follows."""
    trace = small_trace([0.0, 0.5, 0.501], [-90.0, 0.0, -80.0], 1.0)
    asked = TraceChannel(trace, np.zeros(1), "wrap").steps(0, 1e14, 9)
    assert np.all(np.diff(asked.end_s) > 0.0)
    assert set(asked.gain.tolist()) == {1e-9, 1e-8}


def test_devices_share_a_trace_from_different_places() -> None:
    trace = small_trace([0.0, 1.0, 2.0, 3.0], [-90.0, -91.0, -92.0, -93.0], 4.0)
    spec = Replay(trace="small.csv")
    few, more = (spec.build(Site(np.full(k, 100.0), 2, trace={"small.csv": trace}.__getitem__), 1) for k in (3, 4))
    ends = [few.steps(k, 0.0, 1).end_s[0] for k in range(3)]
    assert len(set(ends)) == 3
    assert ends == [more.steps(k, 0.0, 1).end_s[0] for k in range(3)]
    strict = spec.model_copy(update={"on_end": "error"})
    of = strict.build(Site(np.full(3, 100.0), 2, trace={"small.csv": trace}.__getitem__), 1)
    assert [of.steps(k, 0.0, 1).end_s[0] for k in range(3)] == [1.0, 1.0, 1.0]
    given_starts = spec.model_copy(update={"trace_start_s": (0.0, 1.0, 2.5)})
    of = given_starts.build(Site(np.full(3, 100.0), 2, trace={"small.csv": trace}.__getitem__), 1)
    assert [of.steps(k, 0.0, 1).end_s[0] for k in range(3)] == [1.0, 1.0, 0.5]
