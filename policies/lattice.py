"""Plans by the server's rounds and batch: N rounds of b0 samples, and the best of the rest on what they leave."""

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from prefine.emulator.bound import frugal_frequency, most_server_rounds, predict, server_round
from prefine.emulator.types import Budget, Devices, DevicesPlan, Plan, Problem, Relaxed, ServerPlan
from prefine.policies.batch_rounding import BatchAllocator
from prefine.policies.dual import Start, relax
from prefine.policies.feasibility import require_reachable, require_whole_batches
from prefine.policies.objectives.given_share import GivenShare
from prefine.policies.rounding import SLIVER
from prefine.policies.subproblems import Stages

_TRIALS = 24
"""Server frequencies tried at most: bisection of their whole range to `_EXACT` takes fewer."""

_EXACT = 0.05
"""Log of the server's frequency: closer costs a design each time, and the objective is flat there."""

_FEWER = (1.0, 0.97, 0.94)
"""Of the relaxed rounds: a few rounds less may let a device with a batch of one or two have another sample."""

_MOST_KEPT = 512

_LEAST_PRICE = 1e-30
"""Stands in for the price of an energy budget that does not bind."""


@dataclass(frozen=True)
class Rest:
    """What the devices do for ``rounds`` rounds, and how long the server may take before that."""

    rounds: int
    devices: DevicesPlan
    server_s: float


class Lattice:
    """Plans of ``problem`` by the server's rounds and batch; the fine-tuning round is the exact design for them.

    Plans whose server works on equally many samples share their fine-tuning. Raises InfeasibleError where a device
    has no link, InputError where a batch range contains no whole number.
    """

    def __init__(self, problem: Problem) -> None:
        stages = Stages(problem)
        require_reachable(stages)
        require_whole_batches(stages)
        self.problem = problem
        self._start: Start | None = None
        self._rest = lru_cache(maxsize=_MOST_KEPT)(self._rest_of)

    @property
    def batches(self) -> tuple[int, int]:
        """The least and the largest whole server batch."""
        server = self.problem.server
        return math.ceil(server.min_batch), math.floor(server.max_batch)

    def has(self, batch: int) -> bool:
        """Whether the server may work on ``batch`` samples a round."""
        least, most = self.batches
        return least <= batch <= most

    @property
    def most_samples(self) -> int:
        """Samples that the server can work on where the devices do nothing."""
        budget, one = self.problem.budget, np.ones(1)
        most = most_server_rounds(self.problem.server, one, budget.delay_s * one, budget.energy_j * one)
        return math.floor(float(most[0]) * (1.0 - SLIVER))

    def plan(self, rounds: int, batch: int, noise: float = 1.0) -> Plan | None:
        """N = ``rounds`` of ``batch`` samples on the server, then the design of least Phi at N = 0 on what is left.

        With ``noise`` below 1 the devices' gradient noise counts for less in that design: it has more rounds and
        smaller batches. None where the budgets do not leave one fine-tuning round.
        """
        rest = self._rest(rounds * batch, noise)
        if rest is None:
            return None
        server, samples = self.problem.server, rounds * batch
        frequency = frugal_frequency(server, samples, rest.server_s) if samples else server.max_frequency_hz
        decided = ServerPlan(float(batch), min(frequency, server.max_frequency_hz))
        return self._kept(Plan(rounds, rest.rounds, decided, rest.devices))

    def server_only(self, rounds: int, batch: int) -> Plan | None:
        """``rounds`` of ``batch`` samples on the server as slowly as the delay budget allows, and no fine-tuning."""
        server, budget = self.problem.server, self.problem.budget
        frequency = frugal_frequency(server, rounds * batch, budget.delay_s * (1.0 - SLIVER))
        idle = Stages(self.problem).idle(np.ceil(self.problem.devices.min_batch))
        return self._kept(Plan(rounds, 0, ServerPlan(float(batch), min(frequency, server.max_frequency_hz)), idle))

    def _kept(self, plan: Plan) -> Plan | None:
        predicted, budget = predict(self.problem, plan), self.problem.budget
        return plan if predicted.delay_s <= budget.delay_s and predicted.energy_j <= budget.energy_j else None

    def _rest_of(self, samples: int, noise: float) -> Rest | None:
        problem = replace(self.problem, devices=_noisy(self.problem.devices, noise))
        if not samples:
            return self._whole(problem, self._relaxed(problem), 0.0)
        server, budget = problem.server, problem.budget
        cycles = samples * server.cycles_per_sample
        slowest = max(server.min_frequency_hz, cycles / budget.delay_s * (1.0 + _EXACT))
        fastest = min(
            server.max_frequency_hz, math.sqrt(budget.energy_j / (server.capacitance * cycles)) / (1.0 + _EXACT)
        )
        if slowest >= fastest:
            return None
        low, high = math.log(slowest), math.log(fastest)
        for _ in range(_TRIALS):
            middle = 0.5 * (low + high)
            left = _left(problem, samples, math.exp(middle))
            relaxed = self._relaxed(left)
            wanted = _wanted_frequency(problem, relaxed)
            low, high = (middle, high) if wanted > math.exp(middle) else (low, middle)
            if high - low <= _EXACT:
                break
        return self._whole(left, relaxed, cycles / math.exp(middle))

    def _relaxed(self, problem: Problem) -> Relaxed:
        relaxed, self._start = relax(Stages(problem), GivenShare(0.0), self._start)
        return relaxed

    def _whole(self, left: Problem, relaxed: Relaxed, server_s: float) -> Rest | None:
        """The best of some whole numbers of rounds near the relaxed one, with the exact whole batches for each."""
        stages, budget, radio = Stages(left), left.budget, left.radio
        allocator = BatchAllocator(stages, max(relaxed.energy_price, _LEAST_PRICE), None)
        below = {max(1, math.floor(share * relaxed.finetune_rounds)) for share in _FEWER}
        rounds = np.array(sorted({*below, math.floor(relaxed.finetune_rounds) + 1}))
        finish_s = budget.delay_s * (1.0 - SLIVER) / rounds - radio.downlink_delay_s
        energy_j = budget.energy_j * (1.0 - SLIVER) / rounds - radio.downlink_energy_j
        some = (finish_s > 0.0) & (energy_j > 0.0)
        found = []
        for index, batch in zip(np.flatnonzero(some), allocator.best_each(finish_s[some], energy_j[some]), strict=True):
            if batch is not None:
                value = stages.terms.bound(0.0, float(rounds[index]), 1.0, stages.terms.round_noise(batch))
                found.append((float(value), int(index), batch))
        if not found:
            return None
        _, best, batch = min(found, key=lambda each: each[0])
        return Rest(int(rounds[best]), allocator.given(float(finish_s[best]), batch).barrier.plan, server_s)


def _noisy(devices: Devices, noise: float) -> Devices:
    return devices if noise == 1.0 else replace(devices, gradient_variance=noise * devices.gradient_variance)


def _left(problem: Problem, samples: int, frequency_hz: float) -> Problem:
    """``problem`` with what the server's ``samples`` at ``frequency_hz`` leave of both budgets."""
    budget, used = problem.budget, server_round(problem.server, ServerPlan(float(samples), frequency_hz))
    return replace(problem, budget=Budget(budget.delay_s - used.delay_s, budget.energy_j - used.energy_j))


def _wanted_frequency(problem: Problem, relaxed: Relaxed) -> float:
    """The server's best frequency where a second and a joule are worth what they are to the devices."""
    if relaxed.delay_price <= 0.0:
        return 0.0
    if relaxed.energy_price <= 0.0:
        return math.inf
    return Stages(problem).server.frequency(relaxed.delay_price / relaxed.energy_price)
