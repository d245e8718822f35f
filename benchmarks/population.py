"""A hundred rounds of 1,000 clients out of many, Rayleigh fading and a logistic model: ``run(clients)``."""

import numpy as np

import prefine
from prefine.emulator.types import DevicesPlan, Plan, Problem, ServerPlan

SCENARIO = """
[budget]
delay_s = 100_000.0
energy_j = 1e9
[population]
clients = {clients}
[task]
model = "logistic"
partition = "dirichlet"
[learning]
smoothness = 10.0
initial_gap = 1.0
discrepancy = 0.05
server_variance = 8.0
device_variance = 8.0
pretrain_contraction = 0.03
pretrain_floor = 0.4
[devices]
count = 1000
distance_m = {{ low = 50.0, high = 300.0 }}
cycles_per_sample = {{ low = 1e5, high = 4e5 }}
[radio]
total_bandwidth_hz = 2e7
[channel]
model = "rayleigh"
"""


class Hundred:
    """A policy of a hundred fine-tuning rounds, the same for every device."""

    def plan(self, problem: Problem) -> Plan:
        """Batches of 8 at 1 GHz and .1 W."""
        one = np.ones(len(problem.devices))
        return Plan(0, 100, ServerPlan(8.0, 1e9), DevicesPlan(8.0 * one, 1e9 * one, 0.1 * one, 0.1 * one))


def run(clients: int) -> None:
    """Run it, and print how many clients were there."""
    found = prefine.run(SCENARIO.format(clients=clients), Hundred)
    print(len(found.clients))
