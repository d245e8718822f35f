"""What a problem needs at least for one round, and what is said where it has less."""

import math

import numpy as np

from prefine.emulator.errors import InputError
from prefine.policies.stages import Stages


def require_whole_batches(stages: Stages) -> None:
    """Raises InputError where a batch range contains no whole number."""
    server, devices = stages.problem.server, stages.problem.devices
    if math.ceil(server.min_batch) > math.floor(server.max_batch):
        raise InputError(
            f"server: no whole batch between min_batch = {server.min_batch:g} and max_batch = {server.max_batch:g}"
        )
    for k in np.flatnonzero(np.ceil(devices.min_batch) > np.floor(devices.max_batch))[:1]:
        least, most = devices.min_batch[k], devices.max_batch[k]
        raise InputError(f"devices: no whole batch between min_batch[{k}] = {least:g} and max_batch[{k}] = {most:g}")


def shortfall(stages: Stages) -> str:
    """What one round of each stage needs at least, beside the budgets."""
    problem, budget = stages.problem, stages.problem.budget
    server, cycles = problem.server, math.ceil(problem.server.min_batch) * problem.server.cycles_per_sample
    needs = f"{cycles / server.max_frequency_hz:.6g} s"
    if cycles / server.max_frequency_hz <= budget.delay_s:
        frequency = max(server.min_frequency_hz, cycles / budget.delay_s)
        needs = f"{cycles * server.capacitance * frequency**2:.6g} J"
    return (
        f"the budgets of {budget.delay_s:g} s and {budget.energy_j:g} J are too small: one pre-training round needs "
        f"at least {needs}; {_finetuning_shortfall(stages)}"
    )


def _finetuning_shortfall(stages: Stages) -> str:
    problem, budget = stages.problem, stages.problem.budget
    if not stages.reachable:
        return "fine-tuning is impossible, a device has gain 0"
    fixed = stages.devices.at_batches(np.ceil(problem.devices.min_batch))
    quickest_s = problem.radio.downlink_delay_s + fixed.soonest_s
    if quickest_s > budget.delay_s:
        return f"one fine-tuning round needs at least {quickest_s:.6g} s"
    meeting = fixed.meet(budget.delay_s - problem.radio.downlink_delay_s, 1.0)
    energy_j = problem.radio.downlink_energy_j + float(np.sum(meeting.energy_j))
    return f"one fine-tuning round needs at least {energy_j:.6g} J"
