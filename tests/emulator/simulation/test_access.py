"""Every access on constant gains: what a plan is predicted to take is what the clock takes, and sums done by hand."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefine.emulator.access import queued_end_s, uploads
from prefine.emulator.bound import device_round, planned_round, predict
from prefine.emulator.errors import PolicyError
from prefine.emulator.simulation.control import check_plan
from prefine.emulator.simulation.faults import Faults
from prefine.emulator.simulation.radio import Access, Fdma, Ofdma, Tdma
from prefine.emulator.simulation.run import run
from prefine.emulator.types import FloatArray, Plan, Problem
from tests.emulator.simulation.worlds import plan, problem, run_spec


def _world(seed: int, access: str) -> tuple[Problem, Plan]:
    """Unequal devices, bands, interference and powers, which compute for longer or shorter than they send."""
    generator = np.random.default_rng(seed)
    count = int(generator.integers(1, 7))
    world = problem(count, seed)
    own_hz = generator.uniform(2e4, 1e6, count)
    devices = replace(world.devices, bandwidth_hz=own_hz, interference_w=generator.uniform(0.0, 1e-14, count))
    radio = replace(world.radio, uplink_bits=float(10.0 ** generator.uniform(4.0, 6.0)), downlink_delay_s=0.01)
    if access == "decided":
        radio = replace(radio, bandwidth="optimise", total_bandwidth_hz=float(own_hz.sum()))
    else:
        radio = replace(radio, access=access)  # type: ignore[arg-type]
    world = replace(world, devices=devices, radio=radio)
    drawn = plan(world, power_share=float(generator.uniform(0.1, 1.0)), batch=float(generator.integers(1, 65)))
    decided = replace(drawn.devices, frequency_hz=generator.uniform(5e7, 2e9, count))
    if access == "decided":
        decided = replace(decided, bandwidth_hz=generator.dirichlet(np.ones(count)) * own_hz.sum())
    return world, replace(drawn, devices=decided)


def _accesses(own_hz: FloatArray, slot_s: float) -> dict[str, tuple[Access, ...]]:
    return {
        "fdma": (Fdma(own_hz),),
        "decided": (Fdma(own_hz),),
        "ofdma": (Ofdma(own_hz),),
        "tdma": (Tdma(own_hz), Tdma(own_hz, slot_s)),
    }


@pytest.mark.parametrize("access", ["fdma", "decided", "ofdma", "tdma"])
@given(seed=st.integers(0, 10**6), slot_s=st.floats(0.003, 1.0))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_the_clock_takes_what_is_predicted(access: str, seed: int, slot_s: float) -> None:
    world, drawn = _world(seed, access)
    world = replace(world, budget=replace(world.budget, delay_s=1e6, energy_j=1e6))
    predicted = predict(world, drawn)
    for discipline in _accesses(world.devices.bandwidth_hz, slot_s)[access]:
        for faults in (Faults(), Faults(battery_j=1e9)):
            result = run(run_spec(world, drawn, access=discipline, faults=faults), "p", 0)
            assert result.run.delay_s == pytest.approx(predicted.delay_s, rel=1e-9)
            assert result.run.energy_j == pytest.approx(predicted.energy_j, rel=1e-9)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=50, deadline=None, derandomize=True)
def test_what_designs_reckon_with_is_never_less(seed: int) -> None:
    for access in ("fdma", "decided", "ofdma", "tdma"):
        world, drawn = _world(seed, access)
        sent_s = _alone_s(world, drawn)
        known = replace(drawn.devices, upload_s=sent_s)
        exact, planned = (of(world.devices, world.radio, known) for of in (device_round, planned_round))
        assert exact.delay_s <= planned.delay_s * (1.0 + 1e-12)
        assert exact.energy_j <= planned.energy_j * (1.0 + 1e-12)
        if access in ("fdma", "decided"):
            assert exact == pytest.approx(planned, rel=1e-12)


def _alone_s(world: Problem, drawn: Plan) -> FloatArray:
    """Upload times in the band each counts on, by the formula of contract and docs/access.md."""
    devices, radio, plan_ = world.devices, world.radio, drawn.devices
    own_hz = devices.bandwidth_hz
    band_hz = own_hz if plan_.bandwidth_hz is None else plan_.bandwidth_hz
    if radio.access == "tdma":
        band_hz = np.full(len(devices), own_hz.sum())
    reference_hz = own_hz if radio.access != "tdma" else band_hz
    assert devices.interference_w is not None
    noise_w = radio.noise_psd_w_hz * band_hz + devices.interference_w * band_hz / reference_hz
    rates: FloatArray = band_hz * np.log2(1.0 + plan_.power_w * devices.gain / noise_w)
    return radio.uplink_bits / rates


def test_a_queue_by_hand() -> None:
    """Ready at 1, 3 and 3.5 s, sending 4, 1 and 2 s: 1 to 5, 5 to 6, 6 to 8; with a gap, the last two from 7 on."""
    assert queued_end_s(np.array([3.0, 1.0, 3.5]), np.array([1.0, 4.0, 2.0])) == pytest.approx(8.0)
    assert queued_end_s(np.array([7.0, 1.0, 7.0]), np.array([1.0, 4.0, 2.0])) == pytest.approx(10.0)


def test_re_shared_bands_by_hand() -> None:
    """Two equal devices, the second ready when the first has sent half: its other half takes as long again."""
    world = problem(2)
    devices = replace(world.devices, gain=np.full(2, 1e-11), bandwidth_hz=np.full(2, 1e6))
    radio = replace(world.radio, access="ofdma")

    def rate(band_hz: float) -> float:
        return float(band_hz * np.log2(1.0 + 0.2e-11 / (radio.noise_psd_w_hz * band_hz)))

    half_s = 0.5 * radio.uplink_bits / rate(2e6)
    shared_s = 0.5 * radio.uplink_bits / rate(1e6)
    end_s, sent_s = uploads(devices, radio, plan(world).devices, np.array([0.0, half_s]))
    assert sent_s == pytest.approx([half_s + shared_s, shared_s + half_s], rel=1e-12)
    assert end_s == pytest.approx(2.0 * half_s + shared_s, rel=1e-12)


@pytest.mark.parametrize(
    ("radio", "bands", "said"),
    [
        ({}, [1e6, 1e6], "is decided, but radio.bandwidth is not"),
        ({"bandwidth": "optimise"}, [1.5e6, 1e6], "sums to 2.5e\\+06, of 2e\\+06 Hz"),
        ({"bandwidth": "optimise"}, [0.0, 1e6], "must be above 0"),
        ({"bandwidth": "optimise"}, [1e6], "has shape"),
    ],
)
def test_bands_beyond_what_there_is_are_refused(radio: dict[str, Any], bands: list[float], said: str) -> None:
    world = problem(2)
    world = replace(world, radio=replace(world.radio, **radio))
    drawn = plan(world)
    drawn = replace(drawn, devices=replace(drawn.devices, bandwidth_hz=np.array(bands)))
    with pytest.raises(PolicyError, match=said):
        check_plan("p", world, drawn)


def test_a_power_below_the_least_is_refused() -> None:
    world = problem(2)
    world = replace(world, devices=replace(world.devices, min_power_w=np.full(2, 0.05)))
    check_plan("p", world, plan(world, power_share=0.3))
    with pytest.raises(PolicyError, match=r"devices.power_w\[0\] = 0.04, must be from 0.05 to 0.2"):
        check_plan("p", world, plan(world, power_share=0.2))
