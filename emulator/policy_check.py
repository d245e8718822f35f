"""Is a policy what a run needs? It plans, decides and runs in a few small worlds, checked as every run is.

The same checks as in a comparison, in one place and before anything is compared: after Gymnasium's ``check_env``.
"""

from collections.abc import Iterator
from dataclasses import fields

import numpy as np

from prefine.emulator.bound import predict
from prefine.emulator.errors import InfeasibleError, PrefineError
from prefine.emulator.experiment.job import Job, execute
from prefine.emulator.plugins import POLICY, Part, make_policy, part
from prefine.emulator.scenario.source import read_source
from prefine.emulator.simulation.energy import BUDGET_SLACK
from prefine.emulator.types import Plan

BASE = """
[task]
samples = 60
[server]
cycles_per_sample = 2e7
[devices]
cycles_per_sample = { low = 1e7, high = 4e7 }
[radio]
bandwidth_hz = 1e5
[learning]
smoothness = 5.0
initial_gap = 2.3
discrepancy = 0.4
server_variance = 10.0
device_variance = 8.0
pretrain_contraction = 0.03
pretrain_floor = 0.7
"""

WORLDS: dict[str, tuple[str, ...]] = {
    "both stages pay": ("budget.delay_s=4", "budget.energy_j=30", "devices.count=3", "channel.model=static"),
    "one device": ("budget.delay_s=3", "budget.energy_j=20", "devices.count=1", "channel.model=static"),
    "little energy": ("budget.delay_s=6", "budget.energy_j=2", "devices.count=4", "channel.model=static"),
    "hardly any time": ("budget.delay_s=0.3", "budget.energy_j=30", "devices.count=3", "channel.model=static"),
    "fading and faults": (
        "budget.delay_s=4",
        "budget.energy_j=30",
        "devices.count=5",
        "channel={model='rayleigh', speed_m_s=1.0}",
        "faults.dropout={mean_up_s=2.0, mean_down_s=0.5}",
    ),
}
"""The changes to `BASE` that make each world; its name says what it tries."""


def faults(policy: object) -> Iterator[str]:
    """What is wrong with ``policy`` (a name, ``file.py:Class``, a class or an instance), a line each; none if nothing.

    That nothing fits the budgets (InfeasibleError) is no fault. Raises InputError where there is no such policy.
    """
    wanted = part(POLICY, policy)
    for world, changes in WORLDS.items():
        for fault in _faults_in(wanted, changes):
            yield f"{wanted.label}, world {world!r}: {fault}"


def _faults_in(wanted: Part, changes: tuple[str, ...]) -> Iterator[str]:
    source = read_source(BASE, changes)
    world = source.world()
    try:
        plans = [world.plan(wanted.name, make_policy(wanted, {})) for _ in range(2)]
    except InfeasibleError:
        return
    except PrefineError as error:
        yield str(error)
        return
    predicted, budget = predict(world.problem, plans[0]), world.problem.budget
    for what, planned, most in (
        ("delay_s", predicted.delay_s, budget.delay_s),
        ("energy_j", predicted.energy_j, budget.energy_j),
    ):
        if planned > most * (1.0 + BUDGET_SLACK):
            yield f"plans for {planned:.6g} of budget.{what} = {most:g}: a run will be stopped before the plan's end"
    if not _same(*plans):
        yield "plans differently for the same problem: give its random numbers a seed of their own"
    try:
        execute(Job(source, wanted, 0))
    except PrefineError as error:
        yield str(error)


def _same(one: Plan, other: Plan) -> bool:
    """Whether both decide the same."""
    counts = [(plan.pretrain_rounds, plan.finetune_rounds, plan.server) for plan in (one, other)]
    return counts[0] == counts[1] and all(
        np.array_equal(getattr(one.devices, each.name), getattr(other.devices, each.name))
        for each in fields(one.devices)
    )
