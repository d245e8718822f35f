"""Problems of any size for the solver's benchmark: a macro cell with shadowing, fine-tuning worth its price."""

import numpy as np

from prefine.emulator.types import Budget, Devices, Learning, Problem, Radio, Server
from prefine.emulator.units import THERMAL_NOISE_DBM_HZ, dbm_to_watt


def macro_cell(count: int, seed: int = 0) -> Problem:
    """``count`` devices at 50 to 500 m: 128.1 + 37.6 log10(d / km) dB, 8 dB shadowing (3GPP macro), 1 MHz each."""
    generator = np.random.default_rng(seed)
    distance_km = 0.05 + 0.45 * np.sqrt(generator.random(count))
    loss_db = 128.1 + 37.6 * np.log10(distance_km) + 8.0 * generator.normal(size=count)
    one = np.ones(count)
    devices = Devices(
        cycles_per_sample=2e7 * generator.uniform(0.5, 2.0, count),
        capacitance=1e-28 * one,
        gradient_variance=count * generator.uniform(0.4, 1.6, count),
        weight=one / count,
        min_frequency_hz=1e7 * one,
        max_frequency_hz=2e9 * one,
        min_batch=one,
        max_batch=256.0 * one,
        max_power_w=0.2 * one,
        gain=10.0 ** (-loss_db / 10.0),
        bandwidth_hz=1e6 * one,
    )
    return Problem(
        Budget(delay_s=300.0, energy_j=20.0 * count),
        Learning(smoothness=10.0, learning_rate=0.05, initial_gap=1.0, discrepancy=5.0),
        Server(2e7, 5e-28, 8.0, 1e8, 5e9, 1.0, 512.0),
        devices,
        Radio(dbm_to_watt(THERMAL_NOISE_DBM_HZ), 6.4e5, 0.0, 0.0),
        f"macro-{count}",
    )
