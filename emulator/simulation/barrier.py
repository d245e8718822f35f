"""Fine-tuning behind a barrier: broadcast, compute, upload, and an update of everyone's work or of the first."""

from collections.abc import Callable, Generator
from typing import Any

import numpy as np
import simpy

from prefine.emulator.records import DeviceRecord
from prefine.emulator.simulation.choices import Choices
from prefine.emulator.simulation.cohort import Cohort
from prefine.emulator.simulation.course import ComputedRound
from prefine.emulator.simulation.energy import EnergyAccount
from prefine.emulator.simulation.fastpath import FastPath
from prefine.emulator.simulation.finetuning import Books, Updated
from prefine.emulator.simulation.orders import Assignment, Orders
from prefine.emulator.simulation.spec import RunSpec
from prefine.emulator.types import DevicesPlan, IntArray, RoundDecision


class Rounds:
    """An update is a round: it begins with those who are there and ends at the barrier of ``spec.aggregation``."""

    def __init__(
        self,
        env: simpy.Environment,
        spec: RunSpec,
        cohort: Cohort,
        fast_path: FastPath,
        account: EnergyAccount,
        books: Books,
        choices: Choices,
    ) -> None:
        self._env = env
        self._spec = spec
        self._cohort = cohort
        self._fast_path = fast_path
        self._account = account
        self._busy: list[simpy.Process] = []
        self._orders = Orders(spec, spec.plan.devices, np.arange(0))
        self.books, self.choices = books, choices

    def update(self, decision: RoundDecision, number: int) -> Generator[simpy.Event, Any, Updated]:
        """The round ``number``, from when enough devices are there."""
        chosen = self.choices.of(decision, number)
        members = yield from self._cohort.gather(chosen)
        start_s, before_j = self._env.now, self._account.total_j
        orders = self._orders_of(decision.devices, members)
        computed = self._fast_path.round(orders, number, start_s)
        if computed is not None and self._is_undisturbed(computed, members):
            yield self._env.timeout(computed.end_s - start_s)
            self._book(computed, members)
            arrived = members
        else:
            arrived = yield from self._simulate(orders.assignment(number, start_s))
        if len(arrived) >= self._cohort.fewest(chosen):
            weights = self.choices.weights(decision, members, arrived)
            self._spec.learner.finetune(orders.batches.copy(), weights)
        return Updated(start_s, before_j, len(arrived))

    def _orders_of(self, plan: DevicesPlan, members: IntArray) -> Orders:
        """Those of the last round where they are the same."""
        last = self._orders
        if plan is not last.plan or members is not last.devices:
            self._orders = Orders(self._spec, plan, members)
        return self._orders

    def stop(self, cause: str) -> Generator[simpy.Event, Any, None]:
        """Nobody is at work between rounds; who is in one that was cut off is called back."""
        yield from self._cohort.recall(self._busy, cause)
        self._collect(self._orders.devices)

    def _is_undisturbed(self, computed: ComputedRound, members: IntArray) -> bool:
        """Whether budget and batteries last, and nobody leaves before it is over."""
        cohort, covered = self._cohort, self._account.covers(computed.energy_j)
        return covered and computed.end_s < cohort.leaves_s(members) and cohort.can_power(members, computed.each_j)

    def _book(self, computed: ComputedRound, members: IntArray) -> None:
        """Book what the computed round used, which has passed in one event."""
        self._account.settle("downlink", 0.0, computed.downlink_j)
        self._account.settle("compute", 0.0, computed.compute_j)
        self._account.settle("uplink", 0.0, computed.uplink_j)
        self._cohort.drain(members, computed.each_j)
        self.books.rounds.append(computed.records)

    def _simulate(self, assignment: Assignment) -> Generator[simpy.Event, Any, IntArray]:
        """The round as the devices' processes go through it; the devices (n,) that delivered."""
        opening = assignment.opening
        self._busy = self._cohort.begin_round(assignment)
        held_j = self._account.hold(opening.downlink_j)
        yield from self._account.transmit(self._env, held_j, opening.start_compute_s - opening.start_s)
        yield from self._barrier(opening.limit_s)
        return self._collect(assignment.devices)

    def _barrier(self, limit_s: float) -> Generator[simpy.Event, Any, None]:
        """Wait for everyone, for enough arrivals, or for the round's deadline; then call back the rest."""
        everyone = len(self._busy)
        over: simpy.Event = self._happens_after(everyone, _any)
        enough = self._spec.aggregation.enough(everyone)
        if enough == everyone and limit_s >= self._spec.horizon_s:
            yield over
            return
        if enough < everyone:
            over = over | self._happens_after(enough, _delivery)
        if limit_s < self._spec.horizon_s:
            over = over | self._env.timeout(limit_s - self._env.now)
        yield over
        yield from self._cohort.recall(self._busy, "late")

    def _happens_after(self, count: int, counts: Callable[[simpy.Event], bool]) -> simpy.Event:
        """Happens when ``count`` devices have ended in a way that ``counts``; fails where one of them fails."""
        reached, ended = self._env.event(), 0

        def count_one(process: simpy.Event) -> None:
            nonlocal ended
            if isinstance(process.value, Exception):
                process.defused = True
                reached.fail(process.value)
            ended += counts(process)
            if ended == count and not reached.triggered:
                reached.succeed()

        for process in self._busy:
            if process.callbacks is None:
                count_one(process)
            else:
                process.callbacks.append(count_one)
        return reached

    def _collect(self, members: IntArray) -> IntArray:
        """Take the records of the round; those of the ``members`` (n,) who delivered."""
        records = [process.value for process in self._busy if isinstance(process.value, DeviceRecord)]
        self._busy = []
        self.books.add(records)
        arrived = [record.device for record in records if record.outcome == "delivered"]
        return members if len(arrived) == len(members) else np.array(arrived, dtype=np.int64)


def _any(ended: simpy.Event) -> bool:
    return True


def _delivery(ended: simpy.Event) -> bool:
    return isinstance(ended.value, DeviceRecord) and ended.value.outcome == "delivered"
