"""Small-scale fading against its closed forms.

Intervals: a mean over independent devices lies within 4 standard errors of its closed form (missed once in 16,000
tries); a Kolmogorov-Smirnov p-value is above 0.001. Seeds are fixed, so a test passes always or never.
"""

import math

import numpy as np
import pytest
from scipy import integrate, special, stats

from prefine.emulator.channel.base import Grid, StaticChannel
from prefine.emulator.channel.fading import BlockFading, Rician
from prefine.emulator.channel.mobility import Site
from prefine.emulator.channel.models import Rayleigh
from prefine.emulator.channel.sampled import SampledChannel
from prefine.emulator.simulation.transfer import delivered_bits
from prefine.emulator.types import FloatArray

DOPPLER_HZ = 10.0
SEED = 20240836


def within_4_errors(per_device: FloatArray, expected: float) -> None:
    """The mean of independent values is ``expected`` up to 4 standard errors."""
    error = np.std(per_device, ddof=1) / math.sqrt(len(per_device))
    assert abs(np.mean(per_device) - expected) < 4.0 * error, (np.mean(per_device), expected, error)


def powers(fading: Rician | BlockFading, devices: int, grid: Grid) -> FloatArray:
    """|h|^2, one row per device."""
    return np.stack([fading.sample(k, grid) for k in range(devices)])


@pytest.fixture(scope="module")
def rayleigh() -> Rician:
    return Rician(range(4000), DOPPLER_HZ, SEED)


def test_rayleigh_power_is_exponential_with_mean_one(rayleigh: Rician) -> None:
    power = powers(rayleigh, 4000, Grid(123.4, 1.0, 1))[:, 0]
    within_4_errors(power, 1.0)
    assert stats.kstest(power, "expon").pvalue > 0.001
    assert stats.kstest(power, "expon", args=(0.0, 1.1)).pvalue < 0.001, "the test can tell a mean 10 % off"


def test_each_device_has_mean_power_one_over_time(rayleigh: Rician) -> None:
    """4000 coherence times of one device: standard error near 1.6 %; four of them."""
    coherence_s = 0.423 / DOPPLER_HZ
    for device in range(5):
        power = rayleigh.sample(device, Grid(0.0, coherence_s / 4.0, 16000))
        assert np.mean(power) == pytest.approx(1.0, abs=0.064)


@pytest.mark.parametrize("tau_s", [0.005, 0.02, 0.0383, 0.06, 0.1, 0.25])
def test_rayleigh_autocorrelation_is_bessel_j0(rayleigh: Rician, tau_s: float) -> None:
    """Clarke: E h(t + tau) h*(t) = J0(2 pi f_d tau), and J0 squared for the covariance of the power."""
    h = np.stack([rayleigh.amplitude(k, Grid(7.0, tau_s, 2)) for k in range(4000)])
    expected = float(special.j0(2.0 * np.pi * DOPPLER_HZ * tau_s))
    product = h[:, 1] * np.conj(h[:, 0])
    within_4_errors(product.real, expected)
    within_4_errors(product.imag, 0.0)
    power = np.abs(h) ** 2
    within_4_errors((power[:, 0] - 1.0) * (power[:, 1] - 1.0), expected**2)


@pytest.mark.parametrize("k_db", [0.0, 6.0, 12.0])
def test_rician_power_has_its_distribution_and_its_k(k_db: float) -> None:
    """2 (K + 1) |h|^2 is non-central chi-squared with 2 degrees of freedom and non-centrality 2 K.

    K by moments (Greenstein et al., 1999): with gamma = variance/mean^2, K = sqrt(1 - gamma)/(1 - sqrt(1 - gamma)).
    Its standard error over 4000 values is below 8 % for these K; 30 % is about four of them.
    """
    k_factor = 10.0 ** (k_db / 10.0)
    power = powers(Rician(range(4000), DOPPLER_HZ, SEED, k_factor), 4000, Grid(50.0, 1.0, 1))[:, 0]
    within_4_errors(power, 1.0)
    assert stats.kstest(2.0 * (k_factor + 1.0) * power, "ncx2", args=(2.0, 2.0 * k_factor)).pvalue > 0.001
    root = math.sqrt(1.0 - np.var(power) / np.mean(power) ** 2)
    assert root / (1.0 - root) == pytest.approx(k_factor, rel=0.3)


@pytest.mark.parametrize("rho", [0.1, 0.5, 1.0, 1.5])
def test_level_crossing_rate_and_fade_duration(rho: float) -> None:
    """Rice: the envelope rises through rho times its RMS sqrt(2 pi) f_d rho exp(-rho^2) times a second, and stays below
    for (exp(rho^2) - 1)/(rho f_d sqrt(2 pi)) on average. 200 devices, 10 s each, sampled at 1/200 of 1/f_d."""
    power = powers(Rician(range(200), DOPPLER_HZ, SEED), 200, Grid(0.0, 0.0005, 20000))
    below = power < rho**2
    rises = np.sum(below[:, :-1] & ~below[:, 1:], axis=1)
    expected_hz = math.sqrt(2.0 * np.pi) * DOPPLER_HZ * rho * math.exp(-(rho**2))
    within_4_errors(rises / 10.0, expected_hz)
    fade_s = (math.exp(rho**2) - 1.0) / (rho * DOPPLER_HZ * math.sqrt(2.0 * np.pi))
    within_4_errors(np.mean(below, axis=1) * 10.0 - fade_s * rises, 0.0)


@pytest.mark.parametrize("snr_db", [0.0, 10.0, 25.0])
def test_ergodic_rate_is_its_integral(snr_db: float) -> None:
    """Mean of log2(1 + s x), x exponential: exp(1/s) E1(1/s)/ln 2; and the integral by quadrature agrees."""
    snr = 10.0 ** (snr_db / 10.0)
    closed = math.exp(1.0 / snr) * special.exp1(1.0 / snr) / math.log(2.0)
    by_quadrature = integrate.quad(lambda x: math.log2(1.0 + snr * x) * math.exp(-x), 0.0, 60.0)[0]
    assert closed == pytest.approx(by_quadrature, rel=1e-8)
    spec = Rayleigh(gain_db=0.0)
    of = spec.build(Site(np.full(100, 100.0), 0), SEED)
    bits = np.array([delivered_bits(of, k, 0.0, 20.0, snr, 1.0, 1.0) for k in range(100)])
    within_4_errors(bits / 20.0, closed)


@pytest.mark.parametrize("threshold_db", [-20.0, -10.0, -3.0])
@pytest.mark.parametrize("k_factor", [0.0, 4.0])
def test_outage_is_the_distribution_at_the_threshold(threshold_db: float, k_factor: float) -> None:
    """Share of time below x: 1 - exp(-x) for Rayleigh; the non-central chi-squared distribution for Rician."""
    threshold = 10.0 ** (threshold_db / 10.0)
    power = powers(Rician(range(300), DOPPLER_HZ, SEED, k_factor), 300, Grid(0.0, 0.005, 4000))
    share = np.mean(power < threshold, axis=1)
    if k_factor == 0.0:
        within_4_errors(share, -math.expm1(-threshold))
    within_4_errors(share, float(stats.ncx2.cdf(2.0 * (k_factor + 1.0) * threshold, 2.0, 2.0 * k_factor)))


@pytest.mark.parametrize("k_factor", [0.0, 4.0])
def test_blocks_are_independent_draws_of_the_distribution(k_factor: float) -> None:
    power = BlockFading(range(1), 0.25, SEED, k_factor).sample(0, Grid(0.125, 0.25, 20000))
    assert stats.kstest(2.0 * (k_factor + 1.0) * power, "ncx2", args=(2.0, max(2.0 * k_factor, 1e-12))).pvalue > 0.001
    centred = power - 1.0
    for lag in (1, 2, 255, 256, 257):
        within_4_errors(centred[:-lag] * centred[lag:] / np.var(power), 0.0)


def test_a_block_is_constant_and_can_be_asked_for_in_any_order() -> None:
    fading = BlockFading(range(2), 0.25, SEED)
    fine = fading.sample(1, Grid(1000.0, 0.025, 400)).reshape(40, 10)
    assert np.all(fine == fine[:, :1])
    assert fading.sample(1, Grid(1000.1, 0.25, 40)).tolist() == fine[:, 0].tolist()


def test_sampling_on_a_grid_is_the_plain_sum_of_sinusoids(rayleigh: Rician) -> None:
    """Against the definition, wave by wave; the split of the grid changes nothing but the last digits."""
    grid = Grid(3.0, 0.0123, 37)
    shift, phase = rayleigh._shift[2], rayleigh._phase[2]
    h = sum(np.exp(1j * (shift[n] * grid.times() + phase[n])) for n in range(64)) / 8.0
    np.testing.assert_allclose(rayleigh.amplitude(2, grid), h, rtol=0.0, atol=1e-11)


def test_halving_the_step_quarters_the_error_of_delivered_bits() -> None:
    """The value in the middle of a step is second-order accurate: what docs/channels.md tabulates."""
    devices, duration_s, snr = 20, 1.0, 100.0
    fading = Rician(range(devices), DOPPLER_HZ, SEED)

    def bits(per_coherence_time: int) -> FloatArray:
        of = SampledChannel(StaticChannel(np.ones(devices)), fading, 0.0423 / per_coherence_time)
        return np.array([delivered_bits(of, k, 0.0, duration_s, snr, 1.0, 1.0) for k in range(devices)])

    exact = bits(512)
    coarse, fine = (np.sqrt(np.mean((bits(n) / exact - 1.0) ** 2)) for n in (8, 16))
    assert coarse < 0.005
    assert fine < coarse / 2.5
