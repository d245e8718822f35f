"""Plans with the share of pre-training given from outside: N server rounds of b0 samples, the rest fine-tuning.

A grid of such plans is the yardstick of ``prefine compare --hindsight``: what the best share would have reached, had
it been known beforehand (docs/tables.md, "hindsight.csv").
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from prefine.emulator.bound import server_round
from prefine.emulator.errors import InfeasibleError
from prefine.emulator.types import Budget, Plan, Problem, ServerPlan
from prefine.policies.baselines import FinetuneOnly
from prefine.policies.dual import Start, relax
from prefine.policies.feasibility import require_at_least, require_reachable
from prefine.policies.joint import design_share
from prefine.policies.objectives.given_share import GivenShare
from prefine.policies.rounding import SLIVER
from prefine.policies.subproblems import Stages

SPLITS = 12
"""Server times tried, geometric between the fastest and the slowest: more differ by less than one round."""

LONGEST = 0.98
"""The share of the delay budget that the server may take at most; fine-tuning needs the rest."""


@dataclass(frozen=True)
class Given:
    """Exactly ``pretrain_rounds`` server rounds of ``server_batch`` samples, then finetune-only on the budgets left."""

    pretrain_rounds: int = 0
    server_batch: int = 16

    def __post_init__(self) -> None:
        require_at_least("given", "pretrain_rounds", self.pretrain_rounds, 0)
        require_at_least("given", "server_batch", self.server_batch, 1)

    def plan(self, problem: Problem) -> Plan:
        """The plan, without certificate. Raises InfeasibleError where it does not fit the budgets."""
        return given(problem, self.pretrain_rounds, self.server_batch)


def given(problem: Problem, rounds: int, batch: int) -> Plan:
    """``rounds`` server rounds of ``batch`` samples, then the exact finetune-only design on what they leave.

    The server's speed is that of `SPLITS` times which leaves the lowest bound of the fine-tuning rounds. Without
    server rounds it is the finetune-only design, certificate included. Raises InfeasibleError where the server rounds
    and one fine-tuning round do not fit the budgets, or ``batch`` is outside the server's range.
    """
    if rounds == 0:
        return FinetuneOnly().plan(problem)
    require_reachable(Stages(problem))
    start, splits = Start(), []
    for server, budget in _splits(problem, rounds, batch):
        left = Stages(replace(problem, budget=budget))
        relaxed, start = relax(left, GivenShare(0.0), start)
        splits.append((relaxed.bound, server, left))
    for _, server, left in sorted(splits, key=lambda split: split[0]):
        try:
            rest = design_share(left, 0.0)
        except InfeasibleError:
            continue
        return Plan(rounds, rest.finetune_rounds, server, rest.devices)
    raise InfeasibleError(
        f"given: {rounds} server rounds of {batch} samples and one fine-tuning round do not fit the budgets of "
        f"{problem.budget.delay_s:g} s and {problem.budget.energy_j:g} J"
    )


def _splits(problem: Problem, rounds: int, batch: int) -> Iterator[tuple[ServerPlan, Budget]]:
    """Ways for the server to do its rounds, each with what it leaves of both budgets."""
    server, budget = problem.server, problem.budget
    cycles = rounds * batch * server.cycles_per_sample
    fastest_s = cycles / server.max_frequency_hz
    if not server.min_batch <= batch <= server.max_batch or fastest_s >= LONGEST * budget.delay_s:
        return
    slowest_s = LONGEST * budget.delay_s
    if server.min_frequency_hz > 0.0:
        slowest_s = min(slowest_s, cycles / server.min_frequency_hz)
    for time_s in np.geomspace(fastest_s, slowest_s, SPLITS):
        frequency_hz = min(max(cycles / time_s, server.min_frequency_hz), server.max_frequency_hz)
        plan = ServerPlan(float(batch), float(frequency_hz))
        used = server_round(server, plan)
        left_s = budget.delay_s * (1.0 - SLIVER) - rounds * used.delay_s
        left_j = budget.energy_j * (1.0 - SLIVER) - rounds * used.energy_j
        if left_s > 0.0 and left_j > 0.0:
            yield plan, Budget(left_s, left_j)
