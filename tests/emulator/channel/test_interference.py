"""Interference: what the clock sends beside it, against the rate's own integral; and what a scenario makes of it."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prefine.emulator.api import run
from prefine.emulator.channel.base import StaticChannel
from prefine.emulator.channel.interference import Interference, interference_of, traced
from prefine.emulator.channel.trace import TraceChannel
from prefine.emulator.errors import InputError
from prefine.emulator.physics import upload_time
from prefine.emulator.scenario.source import read_source
from prefine.emulator.simulation.transfer import delivered_bits, transfer_end
from prefine.emulator.units import dbm_to_watt
from tests.emulator.scenario.small import SMALL

BAND_HZ, POWER_W, NOISE = 2e5, 0.1, 4e-21
FILE = b"time_s,device,interference_dbm\n0,0,-100\n1,0,-110\n3,0,-inf\n0,1,-90\n"
"""Device 0 has a period of 5 s: 1 s at -100 dBm, 2 s at -110 dBm, 2 s of none; device 1 has -90 dBm for good."""
LEVELS_S = ((1.0, 1e-13), (2.0, 1e-14), (2.0, 0.0))


def _rate(gain: float, interference_w: float) -> float:
    return BAND_HZ * math.log2(1.0 + POWER_W * gain / (NOISE * BAND_HZ + interference_w))


def test_what_is_sent_is_the_integral_of_the_rate_beside_it() -> None:
    """Over 7.5 s: one period and a half; on a gain that steps as well, at 0.5 s and then every second."""
    made = traced(interference_of(FILE, "file"), 2)
    assert made.mean_w == pytest.approx([(1e-13 + 2e-14) / 5.0, 1e-12])
    gains = traced(interference_of(b"time_s,device,gain_db\n0,0,-90\n0.5,0,-100\n", "gains"), 2).over_time
    assert isinstance(gains.channel, TraceChannel)  # type: ignore[union-attr]  # it was traced
    channel = made.on(gains.channel, np.full(2, NOISE * BAND_HZ))  # type: ignore[union-attr]  # as above
    counted = NOISE + made.mean_w[0] / BAND_HZ
    expected = 0.0
    for i in range(750):
        at_s = 0.01 * (i + 0.5)
        lap_s = at_s % 5.0
        level_w = LEVELS_S[0][1] if lap_s < 1.0 else LEVELS_S[1][1] if lap_s < 3.0 else 0.0
        expected += 0.01 * _rate(1e-9 if at_s % 1.0 < 0.5 else 1e-10, level_w)
    assert delivered_bits(channel, 0, 0.0, 7.5, POWER_W, BAND_HZ, counted) == pytest.approx(expected, rel=1e-9)
    assert transfer_end(channel, 0, 0.0, expected, POWER_W, BAND_HZ, counted) == pytest.approx(7.5, rel=1e-9)
    assert channel.undisturbed is gains.channel  # type: ignore[union-attr]  # as above


def test_walking_step_by_step_is_consistent() -> None:
    made = traced(interference_of(FILE, "file"), 2)
    channel = made.on(StaticChannel(np.full(2, 1e-10)), np.full(2, NOISE * BAND_HZ))
    whole, at_s = channel.steps(0, 0.3, 8), 0.3
    for end_s, gain in zip(*whole, strict=True):
        step = channel.steps(0, at_s, 1)
        assert (step.end_s[0], step.gain[0], channel.gain(0, at_s)) == (end_s, gain, gain)
        at_s = float(end_s)
    assert channel.steps(1, 2.0, 5).end_s.tolist() == [math.inf]
    assert channel.gain(1, 2.0) == pytest.approx(1e-10, rel=1e-12)  # as strong as on the mean


def test_without_variation_the_channel_stays_as_it_is() -> None:
    channel = StaticChannel(np.ones(2))
    assert Interference(np.full(2, 1e-13)).on(channel, np.ones(2)) is channel


SCENARIO = (
    "channel.model=static",
    "devices.count=2",
    "radio.bandwidth_hz=2e5",
    "faults={}",
    "processor={}",
    "radio.downlink.mode=free",
)


@pytest.mark.parametrize("access", ["fdma", "tdma", "ofdma"])
@pytest.mark.parametrize("value", ["-100", "[-100, -120]", "{low=-120, high=-100}"])
def test_a_scenario_with_constant_interference_runs_as_predicted(value: str, access: str) -> None:
    overrides = [*SCENARIO, f"radio.interference_dbm={value}", f"radio.access={access}"]
    problem = read_source(SMALL, overrides).world().problem
    quiet = read_source(SMALL, SCENARIO).world().problem
    assert problem.devices.interference_w is not None
    level_w = problem.devices.interference_w
    assert np.all((level_w >= dbm_to_watt(-120.0) * (1 - 1e-12)) & (level_w <= dbm_to_watt(-100.0) * (1 + 1e-12)))
    assert problem.devices.gain == pytest.approx(quiet.devices.gain, rel=1e-15)
    tables = run(SMALL, "uniform", overrides=overrides)
    row = tables.runs.iloc[0]
    assert row["stop_reason"] == "plan"
    assert row["delay_s"] == pytest.approx(row["predicted_delay_s"], rel=1e-9)
    assert row["energy_j"] == pytest.approx(row["predicted_energy_j"], rel=1e-9)


def test_a_scenario_with_a_file_plans_with_the_mean_upload_time(tmp_path: Path) -> None:
    """Each of the two halves of a period is as likely a start, and uploads are far shorter than either."""
    (tmp_path / "jam.csv").write_text("time_s,device,interference_dbm\n0,0,-90\n1,0,-inf\n")
    overrides = [*SCENARIO, f"radio.interference_dbm={tmp_path}/jam.csv", "channel.gain_db=[-95, -100]"]
    overrides.append("radio.payload_bits=1e3")
    world = read_source(SMALL, overrides).world()
    devices, radio = world.problem.devices, world.problem.radio
    assert devices.interference_w == pytest.approx([0.5e-12] * 2)
    for k, gain in enumerate((10.0**-9.5, 10.0**-10)):
        level_w = np.array([1e-12, 0.0])
        rates = 2e5 * np.log2(1.0 + devices.max_power_w[k] * gain / (radio.noise_psd_w_hz * 2e5 + level_w))
        noise_psd = radio.noise_psd_w_hz + 0.5e-12 / 2e5
        planned_s = upload_time(radio.uplink_bits, 2e5, devices.max_power_w[k], float(devices.gain[k]), noise_psd)
        assert planned_s == pytest.approx(float(np.mean(radio.uplink_bits / rates)), rel=0.02)
    assert run(SMALL, "uniform", overrides=overrides).runs["status"].tolist() == ["done"]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("[-100]", "radio.interference_dbm: 1 values for 2 devices"),
        ("500", "radio.interference_dbm"),
        ("nowhere.csv", "nowhere.csv"),
    ],
)
def test_what_is_wrong_is_one_line(value: Any, said: str) -> None:
    with pytest.raises(InputError, match=said.replace(".", r"\.")):
        read_source(SMALL, [*SCENARIO, f"radio.interference_dbm={value}"]).world().problem  # noqa: B018  # it is made


def test_the_least_power_of_a_scenario_is_kept() -> None:
    overrides = [*SCENARIO, "devices.min_power_w=0.05", "devices.max_power_w=0.1"]
    for policy in ("joint", "random", "min-energy"):
        tables = run(SMALL, policy, overrides=overrides)
        assert tables.runs["status"].tolist() == ["done"]
        sent = tables.devices["power_w"]
        assert len(sent) == 0 or sent.min() >= 0.05 * (1 - 1e-12)
    with pytest.raises(InputError, match=r"device 0 has min_power_w = 0.3 above max_power_w = 0.1"):
        read_source(SMALL, [*SCENARIO, "devices.min_power_w=0.3", "devices.max_power_w=0.1"]).world().problem  # noqa: B018
