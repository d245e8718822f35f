"""Uploads that pay for time and band, against a general minimiser; the tables behind them; Newton's headway."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from prefine.policies import priced_band
from prefine.policies.headway import Headway
from prefine.policies.inverse import LogInverse
from prefine.policies.priced_band import Banded, PricedBand
from tests.policies.instances import load

LN2 = math.log(2.0)
SHARES = np.geomspace(1e-6, 1e3, 10)


def _priced(price: float, *, full_power: bool = False) -> PricedBand:
    """The ten devices of an instance, gains up to 30 dB apart, some with a least power."""
    problem = load("base")
    devices = replace(problem.devices, min_power_w=0.2 * np.array([0.0, 0.0, 0.2, 0.5, 0.0, 0.3, 0.9, 0.0, 0.01, 0.0]))
    return PricedBand(devices, problem.radio, price, full_power=full_power)


def _cost(k: int, share: float, price: float, log_band: float, *, full_power: bool) -> float:
    """The least of energy, share times time and price of a band, over the powers allowed: by a grid and refinement."""
    problem, band_hz = load("base"), math.exp(log_band)
    least_w = 0.2 * (0.0, 0.0, 0.2, 0.5, 0.0, 0.3, 0.9, 0.0, 0.01, 0.0)[k]
    rho = problem.radio.noise_psd_w_hz / problem.devices.gain[k]

    def at(log_power: float) -> float:
        power = math.exp(log_power)
        upload_s = problem.radio.uplink_bits * LN2 / (band_hz * math.log1p(power / (rho * band_hz)))
        return (power + share) * upload_s + price * band_hz

    low = math.log(0.2) if full_power else math.log(max(least_w, 1e-12))
    if full_power:
        return at(low)
    return float(minimize_scalar(at, bounds=(low, math.log(0.2)), method="bounded", options={"xatol": 1e-10}).fun)


@pytest.mark.parametrize("full_power", [False, True])
@pytest.mark.parametrize("price", [1e-9, 1e-6, 1e-3])
def test_the_answer_is_the_cheapest_upload(price: float, full_power: bool) -> None:
    made = _priced(price, full_power=full_power).answer(SHARES)
    costs = made.power_w * made.upload_s + SHARES * made.upload_s + price * made.band_hz
    for k, share in enumerate(SHARES.tolist()):
        middle = math.log(made.band_hz[k])
        found = minimize_scalar(
            lambda log_band, k=k, share=share: _cost(k, share, price, log_band, full_power=full_power),
            bounds=(middle - 5.0, middle + 5.0),
            method="bounded",
            options={"xatol": 1e-7},
        )
        assert costs[k] <= found.fun * (1.0 + 1e-9)
        assert costs[k] == pytest.approx(found.fun, rel=1e-7)
    problem = load("base")
    sent = made.upload_s * made.band_hz * made.nats / LN2
    assert sent == pytest.approx(np.full(10, problem.radio.uplink_bits), rel=1e-12)


@pytest.mark.parametrize("price", [1e-9, 1e-4])
def test_derivatives_are_those_of_finite_differences(price: float) -> None:
    step = 1e-5

    def logs(made: Banded) -> np.ndarray:
        both: np.ndarray = np.log(np.array([made.upload_s, made.band_hz]))
        return both

    made = _priced(price).answer(SHARES)
    by_share = logs(_priced(price).answer(SHARES * math.exp(step))) - logs(made)
    by_price = logs(_priced(price * math.exp(step)).answer(SHARES)) - logs(made)
    assert by_share / step == pytest.approx(np.array([made.upload_by_share, made.band_by_share]), abs=1e-4)
    assert by_price / step == pytest.approx(np.array([made.upload_by_price, made.band_by_price]), abs=1e-4)


def test_the_width_at_full_power_takes_the_time_asked_for() -> None:
    priced, problem = _priced(1.0), load("base")
    upload_s = priced.soonest_s * np.geomspace(1.0 + 1e-6, 1e3, 10)
    band_hz = priced.widths_hz(upload_s)
    snr = problem.devices.max_power_w * problem.devices.gain / (problem.radio.noise_psd_w_hz * band_hz)
    assert problem.radio.uplink_bits * LN2 / (band_hz * np.log1p(snr)) == pytest.approx(upload_s, rel=1e-9)


def test_an_inverse_undoes_its_function_and_goes_on_below_its_table() -> None:
    inverse = LogInverse(lambda z: 3.0 * z + np.exp(0.3 * z), lambda z: 3.0 + 0.3 * np.exp(0.3 * z), -20.0, 5.0, 3.0)
    z = np.linspace(-19.9, 4.9, 500)
    assert inverse(3.0 * z + np.exp(0.3 * z)) == pytest.approx(z, abs=1e-9)
    assert inverse(np.array([-75.0]))[0] == pytest.approx(-25.0, abs=1e-2)
    y = np.random.default_rng(0).uniform(-60.0, 100.0, 200)
    assert priced_band._free(priced_band._free_nats()(y)) == pytest.approx(y, abs=1e-8)
    assert priced_band._limited(priced_band._limited_snr()(y)) == pytest.approx(y, abs=1e-8)


def test_steps_get_shorter_while_errors_do_not_fall_and_the_search_is_given_up() -> None:
    headway = Headway()
    assert [headway.step(error) for error in (1.0, 0.5, 0.6, 0.7, 0.1)] == [1.0, 1.0, 0.5, 0.25, 1.0]
    assert not headway.is_over(1e-3)
    assert not headway.is_over(1e-9)
    headway.step(1e-9)
    assert headway.is_over(0.9e-9)
    passes = 0
    while headway.goes_on:
        headway.step(1.0)
        passes += 1
    assert passes == 12
