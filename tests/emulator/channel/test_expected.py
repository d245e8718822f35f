"""The expectation over fading: against the clock's own integral, closed forms, and independent draws."""

import math

import numpy as np
import pytest
from scipy import special, stats

from prefine.emulator.channel import powerlaw
from prefine.emulator.channel.expected import FadingPath
from prefine.emulator.channel.fading import FadingSection
from prefine.emulator.channel.mobility import Site
from prefine.emulator.channel.models import Block, Rayleigh, RicianModel, Static
from prefine.emulator.channel.planner import planned_gain, planning_channel, planning_gain
from prefine.emulator.channel.section import ChannelSection, Statistic
from prefine.emulator.channel.trace import Trace, TraceChannel
from prefine.emulator.errors import InputError
from prefine.emulator.physics import upload_time
from prefine.emulator.simulation.transfer import transfer_end
from prefine.emulator.types import FloatArray

NOISE = 10.0 ** (-174.0 / 10.0) * 1e-3
BAND_HZ, POWER_W, DELAY_S = 20e3, 0.2, 16.0
SECTIONS = (Rayleigh(), RicianModel(rician_k_db=3.0), Block(block_s=0.05))


def snr_db(wanted: float) -> float:
    """The gain in dB at which a device has this signal-to-noise ratio."""
    return wanted - 10.0 * math.log10(POWER_W / (NOISE * BAND_HZ))


def planned(section: ChannelSection, bits: float, distance_m: FloatArray, band_hz: float = BAND_HZ) -> FloatArray:
    each = np.ones(len(distance_m))
    return planned_gain(section, Site(distance_m, 3), POWER_W * each, bits, band_hz * each, NOISE, DELAY_S)


def upload_s(section: ChannelSection, bits: float) -> float:
    """The expected upload of one device, in seconds."""
    gain = float(planned(section, bits, np.array([100.0]))[0])
    return upload_time(bits, BAND_HZ, POWER_W, gain, NOISE)


@pytest.mark.parametrize("waves", [8, 9, 64, 4096])
def test_the_law_of_a_sum_of_waves_is_that_of_sums(waves: int) -> None:
    """Mean 1, second moment 2 - 1/N, and the distribution of drawn sums; with many waves the exponential."""
    law = powerlaw.of_waves(2**15, waves)
    assert np.all(np.diff(law) >= 0.0)
    assert law.mean() == pytest.approx(1.0, abs=1e-4)
    assert (law**2).mean() == pytest.approx(2.0 - 1.0 / waves, abs=1e-3)
    drawn = np.exp(2j * np.pi * np.random.default_rng(1).random((20_000, min(waves, 256)))).sum(axis=1)
    power = np.abs(drawn) ** 2 / min(waves, 256)
    assert stats.kstest(power, lambda x: np.interp(x, law, powerlaw.shares(len(law)))).pvalue > 0.001
    if waves == 4096:
        np.testing.assert_allclose(law, powerlaw.gaussian(2**15), rtol=3e-3)


@pytest.mark.parametrize("k_factor", [0.1, 1.0, 10.0, 1e3])
def test_the_law_beside_a_line_is_rices(k_factor: float) -> None:
    law = powerlaw.beside_a_line(powerlaw.gaussian(2**15), k_factor)
    chance = stats.ncx2.cdf(2.0 * (k_factor + 1.0) * law, 2.0, 2.0 * k_factor)
    np.testing.assert_allclose(chance, powerlaw.shares(len(law)), atol=5e-4)
    assert powerlaw.beside_a_line(law, 0.0) is law


def test_uploads_on_a_path_last_as_long_as_those_of_the_clock() -> None:
    """Whole laps, many steps and parts of a step; each start by `transfer_end` on a trace that wraps."""
    power = np.array([0.3, 2.0, 0.05, 1.4, 1.25])
    path = FadingPath(power, 0.1)
    gain = 10.0 ** (snr_db(10.0) / 10.0)
    of = TraceChannel(Trace((np.arange(5) / 10.0,), (10.0 * np.log10(gain * power),), (0.5,)), np.zeros(1), "wrap")
    starts_s = 0.1 * (np.arange(5) + np.arange(5) * (math.sqrt(5.0) - 1.0) / 2.0 % 1.0)
    for bits in (10.0, 5e3, 12e3, 200e3):
        ends_s = [transfer_end(of, 0, start, bits, POWER_W, BAND_HZ, NOISE) for start in starts_s]
        found = path.upload_s(10.0, np.array([bits / BAND_HZ]))
        assert found[0] == pytest.approx(np.mean(np.array(ends_s) - starts_s), rel=1e-9)


@pytest.mark.parametrize("section", SECTIONS)
def test_what_lies_between_the_places_is_what_would_be_worked_out_there(section: FadingSection) -> None:
    """The lattice is 1 dB wide; a path's own unevenness is a few parts in 10,000 at that distance."""
    path, random = section.path(5), np.random.default_rng(2)
    snr, spans = 10.0 ** random.uniform(-0.5, 3.0, 12), 10.0 ** random.uniform(-1.0, 3.0, 12)
    bits_per_hz = spans * section.memory_s * np.log2(1.0 + snr)
    there = [path.upload_s(s, np.array([b]))[0] for s, b in zip(snr, bits_per_hz, strict=True)]
    np.testing.assert_allclose(path.expected_upload_s(snr, bits_per_hz), there, rtol=1.5e-3)


@pytest.mark.parametrize("snr", [1.0, 100.0])
def test_a_long_upload_goes_at_the_ergodic_rate(snr: float) -> None:
    """Over an exponential gain the mean of log2(1 + s x) is exp(1/s) E1(1/s) / ln 2."""
    ergodic_bit_s = BAND_HZ * math.exp(1.0 / snr) * special.exp1(1.0 / snr) / math.log(2.0)
    section = Block(block_s=0.05, gain_db=snr_db(10.0 * math.log10(snr)))
    assert upload_s(section, 3e3 * ergodic_bit_s) == pytest.approx(3e3, rel=2e-4)


def test_an_upload_over_blocks_takes_what_independent_blocks_take() -> None:
    """400,000 uploads, each from a uniform instant of its first block; four standard errors."""
    random, block_s = np.random.default_rng(4), 0.05
    section = Block(block_s=block_s, gain_db=snr_db(10.0))
    bits = 2.5 * block_s * BAND_HZ * 3.0
    left, spent_s = np.full(400_000, bits), np.zeros(400_000)
    lasts_s = block_s * random.random(400_000)
    while left.any():
        speed = BAND_HZ * np.log2(1.0 + 10.0 * random.exponential(size=left.size))
        used_s = np.minimum(left / speed, lasts_s)
        left = np.where(used_s < lasts_s, 0.0, left - used_s * speed)
        spent_s, lasts_s = spent_s + used_s, np.full(left.size, block_s)
    error = 4.0 * spent_s.std() / math.sqrt(left.size)
    assert upload_s(section, bits) == pytest.approx(spent_s.mean(), abs=error + 2e-3 * spent_s.mean())


@pytest.mark.parametrize("section", [Rayleigh(gain_db=snr_db(13.0)), RicianModel(gain_db=snr_db(13.0))])
def test_the_expectation_is_that_over_the_clocks_own_draws(section: FadingSection) -> None:
    """One upload from each of 1500 devices, each with waves of its own; four standard errors."""
    draws, bits = 1500, 10.0 * section.memory_s * BAND_HZ * 4.0
    of = section.build(Site(np.full(draws, 100.0), 0), 11)
    lasts_s = np.array([transfer_end(of, k, 1.0, bits, POWER_W, BAND_HZ, NOISE) - 1.0 for k in range(draws)])
    assert upload_s(section, bits) == pytest.approx(lasts_s.mean(), abs=4.0 * lasts_s.std() / math.sqrt(draws))


@pytest.mark.parametrize("statistic", ["upload-time", "mean", "quantile"])
@pytest.mark.parametrize("section", SECTIONS)
def test_one_draw_scatters_around_it(section: FadingSection, statistic: Statistic) -> None:
    """`planning_gain` on one draw over 4000 coherence times, device by device: within 10 % each, 3 % on average."""
    section = section.model_copy(update={"planning": statistic, "planning_quantile": 0.3})
    site = Site(np.geomspace(60.0, 300.0, 12), 3)
    each = np.ones(12)
    drawn = planning_gain(
        planning_channel(section, site),
        POWER_W * each,
        64e3,
        BAND_HZ * each,
        NOISE,
        horizon_s=section.horizon_s(site, DELAY_S),
        statistic=statistic,
        quantile=0.3,
    )
    ratio = drawn / planned(section, 64e3, site.location_m)
    assert np.abs(ratio - 1.0).max() < 0.1
    assert ratio.mean() == pytest.approx(1.0, abs=0.03)


def test_mean_and_quantile_are_those_of_the_law() -> None:
    distance_m = np.array([80.0, 200.0])
    still = planned(Static(), 1.0, distance_m)
    np.testing.assert_array_equal(planned(Rayleigh(planning="mean"), 1.0, distance_m), still)
    median = planned(Block(block_s=1.0, planning="quantile"), 1.0, distance_m)
    np.testing.assert_allclose(median, still * math.log(2.0), rtol=1e-6)


def test_alike_devices_plan_alike_and_others_change_nothing() -> None:
    distance_m = np.array([50.0, 120.0, 120.0, 400.0, 120.0])
    together = planned(Rayleigh(), 64e3, distance_m)
    assert len(set(together[[1, 2, 4]])) == 1
    assert planned(Rayleigh(), 64e3, distance_m[:2]).tolist() == together[:2].tolist()
    steps = [planned(Rayleigh(steps_per_coherence_time=n), 64e3, distance_m) for n in (8, 32)]
    np.testing.assert_allclose(steps[0], steps[1], rtol=0.01)


def test_fading_costs_rate_and_short_uploads_pay_more() -> None:
    distance_m = np.array([60.0, 170.0, 420.0])
    short, long = (planned(Rayleigh(), bits, distance_m) for bits in (2e3, 2e6))
    assert np.all(short < long)
    assert np.all(long < planned(Static(), 2e6, distance_m))


def test_no_signal_is_one_clear_error() -> None:
    with pytest.raises(InputError, match=r"device 0 cannot upload 64000 bits at 0\.2 W within"):
        planned(Rayleigh(gain_db=-250.0), 64e3, np.array([100.0]))
