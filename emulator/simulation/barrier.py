"""Fine-tuning behind a barrier: broadcast, compute, upload, and an update of everyone's work or of the first."""

from collections.abc import Generator
from typing import Any

import numpy as np
import simpy

from prefine.emulator.records import DeviceRecord
from prefine.emulator.simulation.choices import Choices
from prefine.emulator.simulation.cohort import Assignment, Cohort
from prefine.emulator.simulation.downlink import Delivery
from prefine.emulator.simulation.energy import EnergyAccount
from prefine.emulator.simulation.fastpath import ComputedRound, FastPath
from prefine.emulator.simulation.finetuning import Books, Updated
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
        self.books, self.choices = books, choices

    def update(self, decision: RoundDecision, number: int) -> Generator[simpy.Event, Any, Updated]:
        """The round ``number``, from when enough devices are there."""
        plan, chosen = decision.devices, self.choices.of(decision, number)
        members = yield from self._cohort.gather(chosen)
        start_s, before_j = self._env.now, self._account.total_j
        limit_s = self._limit_s(start_s)
        delivery = self._deliver(members, limit_s)
        batches = np.rint(plan.batch).astype(np.int64)
        assignment = self._assign(plan, number, members, batches, delivery, limit_s)
        computed = self._fast_path.computed(assignment)
        if computed is not None and self._is_powered(computed, members, delivery):
            yield from self._book(computed, members, delivery)
            arrived = members
        else:
            arrived = yield from self._simulate(assignment, delivery)
        if len(arrived) >= self._cohort.fewest(chosen):
            self._spec.learner.finetune(batches, self.choices.weights(decision, members, arrived))
        return Updated(start_s, before_j, len(arrived))

    def stop(self, cause: str) -> Generator[simpy.Event, Any, None]:
        """Nobody is at work between rounds; who is in one that was cut off is called back."""
        yield from self._cohort.recall(self._busy, cause)
        self._collect()

    def _limit_s(self, start_s: float) -> float:
        """When a round that begins at ``start_s`` ends at the latest."""
        spec = self._spec
        return min(start_s + min(spec.faults.deadline_s, spec.aggregation.limit_s), spec.horizon_s)

    def _deliver(self, members: IntArray, limit_s: float) -> Delivery:
        spec, noise_psd_w_hz = self._spec, self._spec.problem.radio.noise_psd_w_hz
        return spec.deliveries.deliver(
            spec.channel.undisturbed, members.tolist(), self._env.now, noise_psd_w_hz, spec.patience_s, limit_s
        )

    def _assign(
        self,
        plan: DevicesPlan,
        number: int,
        members: IntArray,
        batches: IntArray,
        delivery: Delivery,
        limit_s: float,
    ) -> Assignment:
        start_s, spec = self._env.now, self._spec
        return Assignment(
            number,
            members,
            batches[members],
            plan.frequency_hz[members],
            spec.power_control.powers(spec.problem, spec.channel, plan, members, start_s),
            plan.bands_hz(spec.problem.devices.bandwidth_hz)[members],
            delivery.end_s,
            start_s,
            min(max(delivery.end_s), limit_s),
            limit_s,
        )

    def _is_powered(self, computed: ComputedRound, members: IntArray, delivery: Delivery) -> bool:
        covered = self._account.covers(delivery.energy_j + computed.energy_j)
        return covered and self._cohort.can_power(members, computed.each_j)

    def _book(
        self, computed: ComputedRound, members: IntArray, delivery: Delivery
    ) -> Generator[simpy.Event, Any, None]:
        """Let the computed round pass in one event, and book what it used."""
        yield self._env.timeout(computed.end_s - self._env.now)
        self._account.settle("downlink", 0.0, delivery.energy_j)
        self._account.settle("compute", 0.0, computed.compute_j)
        self._account.settle("uplink", 0.0, computed.uplink_j)
        self._cohort.drain(members, computed.each_j)
        self.books.rounds.append(computed.records)

    def _simulate(self, assignment: Assignment, delivery: Delivery) -> Generator[simpy.Event, Any, IntArray]:
        """The round as the devices' processes go through it; the devices (n,) that delivered."""
        self._busy = self._cohort.begin_round(assignment)
        held_j = self._account.hold(delivery.energy_j)
        sending_s = assignment.start_compute_s - assignment.start_s
        yield from self._account.transmit(self._env, held_j, sending_s)
        yield from self._barrier(assignment.limit_s)
        return self._collect()

    def _barrier(self, limit_s: float) -> Generator[simpy.Event, Any, None]:
        """Wait for everyone, for enough arrivals, or for the round's deadline; then call back the rest."""
        over: simpy.Event = self._env.all_of(self._busy)
        enough = self._spec.aggregation.enough(len(self._busy))
        if enough == len(self._busy) and limit_s >= self._spec.horizon_s:
            yield over
            return
        if enough < len(self._busy):
            over = over | self._arrivals(enough)
        if limit_s < self._spec.horizon_s:
            over = over | self._env.timeout(limit_s - self._env.now)
        yield over
        yield from self._cohort.recall(self._busy, "late")

    def _arrivals(self, count: int) -> simpy.Event:
        """Happens when ``count`` devices have delivered; who does so in the same instant counts as well."""
        reached, arrived = self._env.event(), 0

        def count_one(ended: simpy.Event) -> None:
            nonlocal arrived
            arrived += isinstance(ended.value, DeviceRecord) and ended.value.outcome == "delivered"
            if arrived == count and not reached.triggered:
                reached.succeed()

        for process in self._busy:
            if process.callbacks is None:
                count_one(process)
            else:
                process.callbacks.append(count_one)
        return reached

    def _collect(self) -> IntArray:
        """Take the records of the round; the devices that delivered."""
        records = [process.value for process in self._busy if isinstance(process.value, DeviceRecord)]
        self._busy = []
        self.books.add(records)
        return np.array([record.device for record in records if record.outcome == "delivered"], dtype=np.int64)
