"""From a policy to the decision for each round, with everything a policy returns checked."""

import math
from collections.abc import Callable, Generator
from dataclasses import fields
from itertools import chain, repeat
from typing import Any, Protocol

import numpy as np
import simpy

from prefine.emulator.access import whole_band_hz
from prefine.emulator.errors import PolicyError
from prefine.emulator.plugins import calling
from prefine.emulator.simulation.aggregation import Until
from prefine.emulator.types import (
    AdaptivePolicy,
    DevicesPlan,
    FloatArray,
    Observation,
    Plan,
    Policy,
    Problem,
    RoundDecision,
    ServerPlan,
    own_copy,
)

LIMIT_SLACK = 1e-9
"""Relative. Optimisers land on a limit only to rounding."""


Observe = Callable[[], Observation]
"""Looks at the world; only adaptive policies pay for it."""

MOST_ROUNDS = 10**12
"""More than any run can live through, and few enough to be counted."""


class Controller(Protocol):
    """Decides every round of one run."""

    stop_reason: str
    """What a run reports that ended because `decide` said stop."""

    def wait(self, env: simpy.Environment, observe: Observe) -> Generator[simpy.Event, Any, None]:
        """What passes on the clock before `decide` can answer; nothing, but where somebody outside decides."""
        ...

    def decide(self, observe: Observe) -> RoundDecision:
        """The next round, or stop; ``observe`` is called only where the answer depends on what is seen now."""
        ...


class AtOnce:
    """Decides without waiting."""

    def wait(self, env: simpy.Environment, observe: Observe) -> Generator[simpy.Event, Any, None]:
        """Nothing."""
        yield from ()


class FollowPlan(AtOnce):
    """Does what the plan says: N pre-training rounds, M fine-tuning rounds, stop.

    With ``until = "budget"``, a plan that fine-tunes at all goes on doing so until a budget ends.
    """

    stop_reason = "plan"

    def __init__(self, plan: Plan, until: Until = "plan") -> None:
        rounds = MOST_ROUNDS if until == "budget" and plan.finetune_rounds else plan.finetune_rounds
        self._decisions = chain(
            repeat(RoundDecision("pretrain", plan.server, plan.devices), plan.pretrain_rounds),
            repeat(RoundDecision("finetune", plan.server, plan.devices), rounds),
            repeat(RoundDecision("stop", plan.server, plan.devices)),
        )

    def decide(self, observe: Observe) -> RoundDecision:
        """The plan's next round; stop after its last."""
        return next(self._decisions)


class Adapt(AtOnce):
    """Asks an adaptive policy before every round, and checks its answer."""

    stop_reason = "policy"

    def __init__(self, name: str, policy: AdaptivePolicy) -> None:
        self._name = name
        self._policy = policy

    def decide(self, observe: Observe) -> RoundDecision:
        """The policy's decision. Raises PolicyError where it is none."""
        observation = observe()
        decision = calling(self._name, "adapt", observation, self._policy)
        return check_decision(self._name, observation.problem, decision)


def check_decision(name: str, problem: Problem, decision: object) -> RoundDecision:
    """``decision``, if it is one for a round in ``problem``; raises PolicyError naming policy, field and value."""
    if not isinstance(decision, RoundDecision) or decision.stage not in ("pretrain", "finetune", "stop"):
        raise PolicyError(f"policy {name}: adapt() returned {decision!r}, not a RoundDecision")
    if decision.stage != "stop":
        _check_kinds(name, problem, decision)
    if decision.stage == "pretrain":
        _check_server(name, problem, decision.server)
    elif decision.stage == "finetune":
        _check_participants(name, problem, decision)
        _check_devices(name, problem, decision.devices, decision.participants)
    return decision


def controller_of(name: str, policy: Policy, plan: Plan, until: Until = "plan") -> Controller:
    """What decides the rounds of ``policy``, whose plan at the start was ``plan``; see `FollowPlan`."""
    return Adapt(name, policy) if isinstance(policy, AdaptivePolicy) else FollowPlan(plan, until)


def check_plan(name: str, problem: Problem, plan: object) -> Plan:
    """A copy of ``plan``, if it is one for ``problem``; whoever made it cannot change it any more.

    Raises PolicyError naming policy, field and value. Budgets are not checked here: the clock enforces them.
    """
    if not isinstance(plan, Plan):
        raise PolicyError(f"policy {name}: plan() returned {type(plan).__name__}, not a Plan")
    _check_kinds(name, problem, plan)
    for field in ("pretrain_rounds", "finetune_rounds"):
        rounds = getattr(plan, field)
        if not isinstance(rounds, int | np.integer) or isinstance(rounds, bool) or rounds < 0:
            raise PolicyError(f"policy {name}: {field} = {rounds!r}, must be an integer of at least 0")
        if rounds > MOST_ROUNDS:
            raise PolicyError(f"policy {name}: {field} = {rounds:.6g}, must be at most {MOST_ROUNDS:.0e}")
    if plan.pretrain_rounds > 0:
        _check_server(name, problem, plan.server)
    if plan.finetune_rounds > 0:
        _check_devices(name, problem, plan.devices)
    return own_copy(plan)


def _check_kinds(name: str, problem: Problem, plan: Plan | RoundDecision) -> None:
    """Checks that both parts are there, in numbers, one a device; which numbers is checked where they count."""
    for part, kind in ((plan.server, ServerPlan), (plan.devices, DevicesPlan)):
        if not isinstance(part, kind):
            raise PolicyError(f"policy {name}: returned a {type(part).__name__} where a {kind.__name__} belongs")
    for field in fields(plan.server):
        value = getattr(plan.server, field.name)
        if not isinstance(value, int | float | np.number):
            raise PolicyError(f"policy {name}: server.{field.name} is a {type(value).__name__}, must be a number")
    count = len(problem.devices)
    for field in fields(plan.devices):
        values = getattr(plan.devices, field.name)
        if values is not None and values.shape != (count,):
            raise PolicyError(f"policy {name}: devices.{field.name} has shape {values.shape}, must be ({count},)")


def _check_server(name: str, problem: Problem, plan: ServerPlan) -> None:
    server = problem.server
    _check_range(name, "server.batch", plan.batch, server.min_batch, server.max_batch, integral=True)
    _check_range(name, "server.frequency_hz", plan.frequency_hz, server.min_frequency_hz, server.max_frequency_hz)


def _check_devices(name: str, problem: Problem, plan: DevicesPlan, participants: FloatArray | None = None) -> None:
    devices = problem.devices
    least_power_w = devices.least_power_w
    for k in range(len(devices)):
        place = f"[{k}]"
        _check_range(
            name, "devices.batch" + place, plan.batch[k], devices.min_batch[k], devices.max_batch[k], integral=True
        )
        _check_range(
            name,
            "devices.frequency_hz" + place,
            plan.frequency_hz[k],
            devices.min_frequency_hz[k],
            devices.max_frequency_hz[k],
        )
        least_w = least_power_w[k]
        _check_range(
            name,
            "devices.power_w" + place,
            plan.power_w[k],
            least_w,
            devices.max_power_w[k],
            above_least=least_w == 0.0,
        )
        _check_range(name, "devices.upload_s" + place, plan.upload_s[k], 0.0, math.inf, above_least=True)
    if plan.bandwidth_hz is not None:
        _check_bands(name, problem, plan.bandwidth_hz, 1.0 if participants is None else participants)


def _check_bands(name: str, problem: Problem, bands_hz: FloatArray, participants: FloatArray | float) -> None:
    """Checks that the bands were to be decided, and that there is so much band for the ``participants``."""
    if problem.radio.bandwidth != "optimise":
        raise PolicyError(f'policy {name}: devices.bandwidth_hz is decided, but radio.bandwidth is not "optimise"')
    whole_hz = whole_band_hz(problem.devices, problem.radio)
    for k in range(len(bands_hz)):
        _check_range(name, f"devices.bandwidth_hz[{k}]", bands_hz[k], 0.0, whole_hz, above_least=True)
    used_hz = float(np.sum(bands_hz * participants))
    if used_hz > whole_hz * (1.0 + LIMIT_SLACK):
        raise PolicyError(f"policy {name}: devices.bandwidth_hz sums to {used_hz:g}, of {whole_hz:g} Hz")


def _check_participants(name: str, problem: Problem, decision: RoundDecision) -> None:
    """Checks that someone takes part, and that the weights are such."""
    for field in ("participants", "weight"):
        values, count = getattr(decision, field), len(problem.devices)
        if values is None:
            continue
        if values.shape != (count,):
            raise PolicyError(f"policy {name}: {field} has shape {values.shape}, must be ({count},)")
        allowed = (0.0, 1.0) if field == "participants" else (0.0, math.inf)
        right = np.isin(values, allowed) if field == "participants" else np.isfinite(values) & (values >= 0.0)
        for k in np.flatnonzero(~right)[:1]:
            wanted = "0 or 1" if field == "participants" else "at least 0 and finite"
            raise PolicyError(f"policy {name}: {field}[{k}] = {float(values[k])!r}, must be {wanted}")
    if decision.participants is not None and not np.any(decision.participants):
        raise PolicyError(f"policy {name}: participants are all 0, must be 1 for at least one device")
    taking_part = 1.0 if decision.participants is None else decision.participants
    if decision.weight is not None and not np.any(decision.weight * taking_part):
        raise PolicyError(f"policy {name}: weight is 0 for every participant, must be above 0 for at least one")


def _check_range(
    name: str,
    field: str,
    value: float,
    least: float,
    most: float,
    *,
    integral: bool = False,
    above_least: bool = False,
) -> None:
    if not math.isfinite(value) or not least * (1.0 - LIMIT_SLACK) <= value <= most * (1.0 + LIMIT_SLACK):
        raise PolicyError(f"policy {name}: {field} = {value:g}, must be from {least:g} to {most:g}")
    if above_least and value <= least:
        raise PolicyError(f"policy {name}: {field} = {float(value)!r}, must be above {least:g}")
    if integral and value != round(value):
        raise PolicyError(f"policy {name}: {field} = {float(value)!r}, must be a whole number")
