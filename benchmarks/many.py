"""One run of many devices in which nothing is learnt: what world, clock, records, tables and report take.

``run(devices, rows)`` is twenty rounds on a static channel; ``rows`` is `--devices`. benchmarks/rows.py times it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import prefine
from benchmarks.engine import NoLearner
from prefine.emulator.types import (
    Calibrated,
    Constants,
    DevicesPlan,
    Learner,
    Plan,
    Problem,
    ServerPlan,
    WorkloadCost,
)

SCENARIO = """
[budget]
delay_s = 1000.0
energy_j = 1e9
[server]
cycles_per_sample = 2e7
[devices]
count = {devices}
distance_m = {{ low = 50.0, high = 300.0 }}
cycles_per_sample = {{ low = 1e7, high = 4e7 }}
[radio]
bandwidth_hz = {bandwidth_hz}
[channel]
model = "static"
"""


class NoLearning:
    """A workload of an upload of 10 kbit, with constants that are the same for every device."""

    def __init__(self, devices: int, **_: Any) -> None:
        self._devices = devices
        self.weights = (1.0 / devices,) * devices
        self.cost = WorkloadCost(1e6, 1, 1e4, 1e4)

    def constants(self) -> Constants:
        """As good as any."""
        return Constants(10.0, 0.05, 1.0, 0.05, 8.0, (8.0,) * self._devices, 0.03, 0.4)

    def calibration(self) -> dict[str, Calibrated]:
        """Nothing was measured."""
        return {}

    def learner(self, seed: int, learning_rate: float) -> Learner:
        """One that learns nothing."""
        return NoLearner()

    def provenance(self) -> Mapping[str, str]:
        """There are no data."""
        return {}


class Twenty:
    """A policy of twenty fine-tuning rounds, the same for every device."""

    def plan(self, problem: Problem) -> Plan:
        """Batches of 8 at 1 GHz and .1 W."""
        one = np.ones(len(problem.devices))
        return Plan(0, 20, ServerPlan(8.0, 1e9), DevicesPlan(8.0 * one, 1e9 * one, 0.1 * one, 0.1 * one))


def run(devices: int, rows: str) -> None:
    """Run it and write its folder, with the report, here, as ``prefine run`` does."""
    scenario = SCENARIO.format(devices=devices, bandwidth_hz=2e4 * devices)
    chosen = {"compare.devices": rows}
    prefine.run(scenario, Twenty, workload=NoLearning, overrides=chosen, out=Path("many"))
