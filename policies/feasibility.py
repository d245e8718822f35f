"""What a policy refuses: a problem that does not allow one round, and parameters out of their range.

Problems are refused with InfeasibleError or InputError, parameters with InputError; each error is one line that names
the place, the value and what is needed or allowed.
"""

import math

import numpy as np

from prefine.emulator.bound import frugal_frequency, server_round
from prefine.emulator.errors import InfeasibleError, InputError
from prefine.emulator.types import Problem, ServerPlan
from prefine.policies.subproblems import Stages


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


def require_pretraining_constants(problem: Problem) -> None:
    """Raises InputError where Phi_FT cannot be evaluated."""
    for name in ("pretrain_contraction", "pretrain_floor"):
        if getattr(problem.learning, name) is None:
            raise InputError(f"learning.{name}: missing; policies that minimise Phi_FT need it (a number, at least 0)")


def require_reachable(stages: Stages) -> None:
    """Raises InfeasibleError where a device has no link."""
    if not stages.reachable:
        raise InfeasibleError(shortfall(stages))


def shortfall(stages: Stages) -> str:
    """What one round of each stage needs at least, beside the budgets."""
    problem, budget = stages.problem, stages.problem.budget
    server, batch = problem.server, math.ceil(problem.server.min_batch)
    quickest = server_round(server, ServerPlan(batch, server.max_frequency_hz))
    needs = f"{quickest.delay_s:.6g} s"
    if quickest.delay_s <= budget.delay_s:
        frugal = ServerPlan(batch, frugal_frequency(server, batch, budget.delay_s))
        needs = f"{server_round(server, frugal).energy_j:.6g} J"
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
    least = fixed.finish_by(budget.delay_s - problem.radio.downlink_delay_s, 1.0)
    energy_j = problem.radio.downlink_energy_j + float(np.sum(least.energy_j))
    return f"one fine-tuning round needs at least {energy_j:.6g} J"


def require_fraction(policy: str, name: str, value: float, *, open_ended: bool = False) -> None:
    """Raises InputError unless ``value`` lies in [0, 1], or in (0, 1) where ``open_ended``."""
    _require_number(policy, name, value)
    if not (0.0 < value < 1.0 if open_ended else 0.0 <= value <= 1.0):
        allowed = "strictly between 0 and 1" if open_ended else "between 0 and 1"
        raise InputError(f"policies.{policy}.{name}: must be {allowed}, not {value!r}")


def require_at_least(policy: str, name: str, value: int, least: int) -> None:
    """Raises InputError unless ``value`` is a whole number and at least ``least``."""
    _require_number(policy, name, value)
    if not isinstance(value, int) or value < least:
        raise InputError(f"policies.{policy}.{name}: must be a whole number, at least {least}, not {value!r}")


def require_one_of(policy: str, name: str, value: object, allowed: tuple[str, ...]) -> None:
    """Raises InputError unless ``value`` is one of ``allowed``."""
    if value not in allowed:
        raise InputError(f"policies.{policy}.{name}: must be one of {', '.join(allowed)}, not {value!r}")


def require_flag(policy: str, name: str, value: object) -> None:
    """Raises InputError unless ``value`` is true or false."""
    if not isinstance(value, bool):
        raise InputError(f"policies.{policy}.{name}: must be true or false, not {value!r}")


def require_positive(policy: str, name: str, value: float) -> None:
    """Raises InputError unless ``value`` is finite and exceeds zero."""
    _require_number(policy, name, value)
    if value <= 0.0:
        raise InputError(f"policies.{policy}.{name}: must be greater than 0, not {value!r}")


def require_not_negative(policy: str, name: str, value: float) -> None:
    """Raises InputError unless ``value`` is finite and at least zero."""
    _require_number(policy, name, value)
    if value < 0.0:
        raise InputError(f"policies.{policy}.{name}: must be at least 0, not {value!r}")


def _require_number(policy: str, name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise InputError(f"policies.{policy}.{name}: must be a finite number, not {value!r}")
