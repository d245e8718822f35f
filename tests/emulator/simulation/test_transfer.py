"""Transfers against integrals taken by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefine.emulator.channel.base import Channel
from prefine.emulator.channel.mobility import Site
from prefine.emulator.channel.models import Rayleigh
from prefine.emulator.physics import rate
from prefine.emulator.simulation.downlink import Unicast
from prefine.emulator.simulation.transfer import delivered_bits, transfer_end
from prefine.emulator.simulation.uploads import Uploads
from tests.emulator.simulation.worlds import StepChannel

BAND_HZ, POWER_W, NOISE = 1e6, 0.1, 4e-21


def _rate(gain: float) -> float:
    return BAND_HZ * math.log2(1.0 + POWER_W * gain / (NOISE * BAND_HZ))


def _end_by_hand(ends: list[float], gains: list[float], start_s: float, bits: float) -> float:
    """Walk the steps one by one in exact-sum arithmetic."""
    sent: list[float] = []
    now = start_s
    for end, gain in zip([*ends, math.inf], gains, strict=True):
        if end <= start_s:
            continue
        speed = _rate(gain)
        left = bits - math.fsum(sent)
        if speed > 0.0 and now + left / speed <= end:
            return now + left / speed
        if end == math.inf:
            return math.inf
        sent.append(speed * (end - now))
        now = end
    raise AssertionError("the last step has no end")


steps = st.lists(
    st.tuples(st.floats(1e-3, 2.0), st.one_of(st.just(0.0), st.floats(1e-14, 1e-8))), min_size=1, max_size=40
)


@settings(max_examples=300, deadline=None)
@given(steps, st.one_of(st.just(0.0), st.floats(1e-13, 1e-8)), st.floats(0.0, 5.0), st.floats(1.0, 1e8))
def test_end_and_energy_of_an_upload_over_random_steps(
    parts: list[tuple[float, float]], last: float, start_s: float, bits: float
) -> None:
    ends = [float(end) for end in np.cumsum([duration for duration, _ in parts])]
    gains = [gain for _, gain in parts] + [last]
    channel: Channel = StepChannel(tuple(ends), tuple(gains))
    end = transfer_end(channel, 0, start_s, bits, POWER_W, BAND_HZ, NOISE)
    expected = _end_by_hand(ends, gains, start_s, bits)
    if math.isinf(expected):
        assert math.isinf(end)
        return
    assert end == pytest.approx(expected, rel=1e-9)
    assert POWER_W * (end - start_s) == pytest.approx(POWER_W * (expected - start_s), rel=1e-9, abs=1e-12)
    assert delivered_bits(channel, 0, start_s, end, POWER_W, BAND_HZ, NOISE) == pytest.approx(bits, rel=1e-9, abs=1e-3)


def test_known_upload_across_two_changes_and_a_silence() -> None:
    slow, fast = _rate(1e-13), _rate(1e-10)
    channel = StepChannel((1.0, 2.0, 3.5), (1e-13, 1e-10, 0.0, 1e-13))
    bits = 0.5 * slow + 1.0 * fast + 0.25 * slow
    assert transfer_end(channel, 0, 0.5, bits, POWER_W, BAND_HZ, NOISE) == pytest.approx(3.75, rel=1e-12)


@pytest.mark.parametrize("step", [8, 9, 24, 25, 57])
def test_an_upload_that_ends_a_quarter_into_a_late_step(step: int) -> None:
    """Unequal steps of a second; those after the 8th, 24th and 56th are the first of a chunk."""
    gains = tuple(10.0 ** (-13 + k % 3) for k in range(60))
    channel = StepChannel(tuple(float(k + 1) for k in range(59)), gains)
    bits = math.fsum(_rate(gain) for gain in gains[: step - 1]) + 0.25 * _rate(gains[step - 1])
    end_s = transfer_end(channel, 0, 0.0, bits, POWER_W, BAND_HZ, NOISE)
    assert end_s == pytest.approx(step - 0.75, rel=1e-13)
    assert delivered_bits(channel, 0, 0.0, end_s, POWER_W, BAND_HZ, NOISE) == pytest.approx(bits, rel=1e-13)
    one = np.ones(1)
    uploads = Uploads(channel, np.zeros(1, int), bits, BAND_HZ * one, NOISE * one)
    end, sent = uploads.sent(0.0 * one, POWER_W * one, math.inf)
    assert (end[0], sent[0]) == pytest.approx((step - 0.75, bits), rel=1e-13)


@settings(max_examples=100, deadline=None)
@given(
    steps,
    st.lists(st.tuples(st.floats(0.0, 5.0), st.floats(0.5, 2.0)), min_size=1, max_size=4),
    st.floats(0.0, 5.0),
    st.sampled_from([3e4, 3e6]),
)
def test_many_at_once_are_each_as_by_hand(
    parts: list[tuple[float, float]], links: list[tuple[float, float]], later_s: float, bits: float
) -> None:
    """Each with its own start and band factor, over 1 to 40 steps; and again later, in the same step or another."""
    ends = [float(end) for end in np.cumsum([duration for duration, _ in parts])]
    gains = [*(gain for _, gain in parts), 0.0]
    channel = StepChannel(tuple(ends), tuple(gains))
    start_s, factor = (np.array(column) for column in zip(*links, strict=True))
    # Band and power times a factor leave the SNR as it is: the rate is multiplied, which by hand divides the bits.
    power_w, band_hz = POWER_W * factor, BAND_HZ * factor
    uploads = Uploads(channel, np.arange(len(links)), bits, band_hz, np.full(len(links), NOISE))
    for begin_s in (start_s, start_s, start_s + later_s):
        end_s, sent = uploads.sent(begin_s, power_w, math.inf)
        for k, share in enumerate(factor.tolist()):
            expected = _end_by_hand(ends, gains, float(begin_s[k]), bits / share)
            assert end_s[k] == pytest.approx(expected, rel=1e-9)
            if math.isfinite(expected):
                assert sent[k] == pytest.approx(bits, rel=1e-9)


@pytest.mark.parametrize("waves", [64, 9])
def test_many_at_once_under_fading_are_each_as_alone_to_the_last_bit(waves: int) -> None:
    """From half a step to 400 steps; asked for in both orders, so that neither finds what the other has evaluated."""
    count, near = 12, Site(np.full(12, 200.0), 1)
    together, alone = (Rayleigh(sinusoids=waves).build(near, 3) for _ in range(2))
    start_s, power_w = np.linspace(0.0, 3.0, count), np.geomspace(1e-6, 0.2, count)
    same = np.ones(count)
    uploads = Uploads(together, np.arange(count), 1e5, BAND_HZ * same, NOISE * same)
    end_s, sent = uploads.sent(start_s, power_w, 1e9)
    assert end_s.max() > 1.0 > end_s.min() - start_s[0]
    for k in range(count):
        link = float(power_w[k]), BAND_HZ, NOISE
        assert transfer_end(alone, k, float(start_s[k]), 1e5, *link) == end_s[k]
        assert delivered_bits(alone, k, float(start_s[k]), float(end_s[k]), *link) == pytest.approx(sent[k], rel=1e-14)


def test_nothing_to_send_is_sent_at_once_even_in_silence() -> None:
    assert transfer_end(StepChannel((), (0.0,)), 0, 1.0, 0.0, POWER_W, BAND_HZ, NOISE) == 1.0


def test_what_comes_after_the_horizon_is_not_looked_for() -> None:
    channel = StepChannel(tuple(float(k + 1) for k in range(8)), (*[0.0] * 8, 1e-10))
    bits = _rate(1e-10)
    assert transfer_end(channel, 0, 0.0, bits, POWER_W, BAND_HZ, NOISE, horizon_s=8.0) == math.inf
    assert transfer_end(channel, 0, 0.0, bits, POWER_W, BAND_HZ, NOISE, horizon_s=8.5) == pytest.approx(9.0)


def test_no_signal_has_no_end() -> None:
    assert transfer_end(StepChannel((), (0.0,)), 0, 1.0, 1e3, POWER_W, BAND_HZ, NOISE) == math.inf


def test_what_never_begins_never_ends() -> None:
    """As where copies of a model go out one after the other, and one before does not arrive."""
    fading = Rayleigh().build(Site(np.full(2, 200.0), 1), 3)
    late = Unicast(payload_bits=1e6).deliver(fading, [0, 1], 1.0, NOISE, 1.01)
    assert late.end_s == (math.inf, math.inf)
    assert late.energy_j == pytest.approx(0.01)


def test_silence_that_repeats_ends_at_the_horizon() -> None:
    silence = StepChannel(tuple(float(i) for i in range(1, 10_000)), (0.0,) * 10_000)
    assert transfer_end(silence, 0, 0.0, 1e3, POWER_W, BAND_HZ, NOISE, horizon_s=50.0) == math.inf


def test_rate_is_shannons() -> None:
    assert rate(2.0, 3.0, 1.0, 0.5) == pytest.approx(2.0 * math.log2(4.0), rel=1e-15)
