"""What the calibration runs would take in a world, and what they leave of its budgets (docs/learning.md)."""

import math
from dataclasses import dataclass

import numpy as np

from prefine.emulator.access import sending_s, uploads
from prefine.emulator.bound import device_round, server_round
from prefine.emulator.errors import InfeasibleError
from prefine.emulator.physics import compute_energy, compute_time
from prefine.emulator.types import Budget, CalibrationWork, DevicesPlan, Problem, ServerPlan


@dataclass(frozen=True)
class Charge:
    """Time in seconds, and energy in joules by the parts of a run's energy, spent before training starts."""

    delay_s: float = 0.0
    server_j: float = 0.0
    compute_j: float = 0.0
    uplink_j: float = 0.0
    downlink_j: float = 0.0

    @property
    def energy_j(self) -> float:
        """All parts."""
        return self.server_j + self.compute_j + self.uplink_j + self.downlink_j

    def left(self, budget: Budget) -> Budget:
        """What is left of ``budget``; raises InfeasibleError where that is nothing."""
        left = Budget(budget.delay_s - self.delay_s, budget.energy_j - self.energy_j)
        if left.delay_s > 0.0 and left.energy_j > 0.0:
            return left
        raise InfeasibleError(
            f"learning.charge_pilots: measuring the constants takes {self.delay_s:.4g} s and {self.energy_j:.4g} J, "
            f"the budgets are {budget.delay_s:g} s and {budget.energy_j:g} J"
        )


NO_CHARGE = Charge()


def charge_of(problem: Problem, work: CalibrationWork) -> Charge:
    """What the training of ``work`` would take on the hardware of ``problem``, its budgets aside.

    The server runs at its maximum frequency. Devices run as `uniform` runs them: at mid frequency and maximum power,
    on the planning gain. Only the training is counted: neither the probes (gradients of single samples, products with
    the Hessian) nor the way of the raw data to the server. Infinite where a device cannot be reached.
    """
    server, devices, radio = problem.server, problem.devices, problem.radio
    delay_s = server_j = compute_j = uplink_j = 0.0
    for batch, rounds in work.pretrain:
        cost = server_round(server, ServerPlan(float(batch), server.max_frequency_hz))
        delay_s, server_j = delay_s + rounds * cost.delay_s, server_j + rounds * cost.energy_j
    power_w, middle_hz = devices.max_power_w, 0.5 * (devices.min_frequency_hz + devices.max_frequency_hz)
    upload_s = sending_s(devices, radio, power_w)
    for batch, rounds in work.finetune:
        plan = DevicesPlan(np.full(len(devices), float(batch)), middle_hz, power_w, upload_s)
        computing_j = compute_energy(plan.batch, devices.cycles_per_sample, middle_hz, devices.capacitance)
        delay_s += rounds * device_round(devices, radio, plan).delay_s
        compute_j += rounds * math.fsum(computing_j)
        ready_s = compute_time(plan.batch, devices.cycles_per_sample, middle_hz)
        uplink_j += rounds * math.fsum(power_w * uploads(devices, radio, plan, ready_s)[1])
    downlink_j = radio.downlink_energy_j * sum(rounds for _, rounds in work.finetune)
    return Charge(delay_s, server_j, compute_j, uplink_j, downlink_j)
