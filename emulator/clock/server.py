"""The edge server: pre-training rounds, broadcast, barrier, aggregation, and the end of the run."""

import math
from collections.abc import Generator, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import simpy

from emulator.channel.base import Channel
from emulator.clock.device import Device, Task
from emulator.clock.downlink import Downlink
from emulator.clock.faults import Faults
from emulator.clock.ledger import EnergyExhaustedError, Ledger
from emulator.clock.pilot import Pilot
from emulator.physics import compute_energy, compute_time
from emulator.records import DeviceRecord, RoundRecord
from emulator.types import (
    Budget,
    DevicesPlan,
    Evaluation,
    Learner,
    Observation,
    Plan,
    Problem,
    ServerPlan,
    Stage,
    frozen_array,
)


class EdgeServer:
    """Runs the training on the clock; ``train`` is a process whose value is the reason it stopped."""

    def __init__(
        self,
        run_id: str,
        env: simpy.Environment,
        problem: Problem,
        plan: Plan,
        pilot: Pilot,
        learner: Learner,
        channel: Channel,
        downlink: Downlink,
        faults: Faults,
        ledger: Ledger,
        participation: float,
        selection: np.random.Generator,
        evaluate_every: int,
        horizon_s: float,
    ) -> None:
        self._run_id = run_id
        self._env = env
        self._problem = problem
        self._plan = plan
        self._pilot = pilot
        self._learner = learner
        self._channel = channel
        self._downlink = downlink
        self._faults = faults
        self._ledger = ledger
        self._selected = math.ceil(participation * len(problem.devices))
        self._selection = selection
        self._evaluate_every = evaluate_every
        self._horizon_s = horizon_s
        self._busy: list[simpy.Process] = []
        self._stopping = False
        self.devices: Sequence[Device] = ()
        self.rounds: list[RoundRecord] = []
        self.device_rounds: list[DeviceRecord] = []
        self.rounds_done: dict[Stage, int] = {"pretrain": 0, "finetune": 0}
        self.evaluation = learner.evaluate()
        self._evaluated = True
        self.process = env.process(self.train())

    def stop(self, reason: str) -> None:
        """End the run at this instant; whatever is under way is lost."""
        if not self._stopping and self.process.is_alive:
            self._stopping = True
            self.process.interrupt(reason)

    def train(self) -> Generator[simpy.Event, Any, str]:
        """Round after round, as the pilot decides."""
        reason = "plan"
        try:
            while (decision := self._pilot.decide(self._observe)).stage != "stop":
                if decision.stage == "pretrain":
                    yield from self._pretrain_round(decision.server)
                else:
                    yield from self._finetune_round(decision.devices)
        except EnergyExhaustedError:
            reason = "energy"
        except simpy.Interrupt as interrupt:
            reason = str(interrupt.cause)
        self._stopping = True
        yield from self._recall("budget")
        self._collect()
        self._close_evaluation()
        return reason

    def _pretrain_round(self, plan: ServerPlan) -> Generator[simpy.Event, Any, None]:
        start_s, server = self._env.now, self._problem.server
        energy_j = compute_energy(plan.batch, server.cycles_per_sample, plan.frequency_hz, server.capacitance)
        yield from self._spend_server(compute_time(plan.batch, server.cycles_per_sample, plan.frequency_hz), energy_j)
        self._learner.pretrain(round(plan.batch))
        self._close_round("pretrain", start_s, energy_j, 0, round(plan.batch), plan.frequency_hz)

    def _finetune_round(self, plan: DevicesPlan) -> Generator[simpy.Event, Any, None]:
        members = yield from self._gather()
        start_s, before_j = self._env.now, self._ledger.total_j
        limit_s = min(start_s + self._faults.round_deadline_s, self._horizon_s)
        delivery = self._downlink.deliver(self._channel, members, start_s)
        number = self.rounds_done["finetune"] + 1
        ready_s = min(max(delivery.end_s), limit_s)
        asked = zip(*(getattr(plan, field.name)[members].tolist() for field in fields(plan)), strict=True)
        for member, end_s, each in zip(members, delivery.end_s, asked, strict=True):
            batch, frequency_hz, power_w, upload_s = each
            drops_s = self.devices[member].next_change_s()
            task = Task(number, round(batch), frequency_hz, power_w, upload_s, end_s, ready_s, min(limit_s, drops_s))
            self._busy.append(self._env.process(self.devices[member].take_part(task)))
            if drops_s < limit_s:
                self._interrupt_at(drops_s, self._busy[-1])
        yield from self._send_model(delivery.energy_j, ready_s - start_s)
        yield from self._barrier(limit_s)
        arrived = self._collect()
        self._aggregate(plan, arrived)
        self._close_round("finetune", start_s, self._ledger.total_j - before_j, len(arrived))

    def _gather(self) -> Generator[simpy.Event, Any, list[int]]:
        """The devices of the next round; waits while too few are there."""
        order = self._selection.permutation(len(self.devices))
        while True:
            there = [int(k) for k in order if self.devices[k].available()][: self._selected]
            if len(there) >= min(self._faults.min_participants, self._selected):
                return sorted(there)
            change_s = min(device.next_change_s() for device in self.devices)
            yield self._env.timeout(min(change_s, self._horizon_s) - self._env.now)
            if self._env.now >= self._horizon_s:
                yield self._env.event()

    def _interrupt_at(self, drops_s: float, process: simpy.Process) -> None:
        """Interrupt the device's round when it drops out."""

        def drop(_: simpy.Event) -> None:
            if process.is_alive:
                process.interrupt("dropped")

        self._env.timeout(drops_s - self._env.now).callbacks.append(drop)

    def _send_model(self, energy_j: float, duration_s: float) -> Generator[simpy.Event, Any, None]:
        held_j = self._ledger.hold(energy_j)
        start_s, used_j = self._env.now, energy_j
        try:
            if duration_s > 0.0:
                yield self._env.timeout(duration_s)
        except simpy.Interrupt:
            used_j *= (self._env.now - start_s) / duration_s
            raise
        finally:
            self._ledger.settle("downlink", held_j, used_j)

    def _spend_server(self, duration_s: float, energy_j: float) -> Generator[simpy.Event, Any, None]:
        held_j = self._ledger.hold(energy_j)
        start_s, used_j = self._env.now, energy_j
        try:
            yield self._env.timeout(duration_s)
        except simpy.Interrupt:
            used_j *= (self._env.now - start_s) / duration_s
            self._ledger.wasted_j += used_j
            raise
        finally:
            self._ledger.settle("server", held_j, used_j)

    def _barrier(self, limit_s: float) -> Generator[simpy.Event, Any, None]:
        """Wait for everyone, or for the round's deadline."""
        everyone = self._env.all_of(self._busy)
        if limit_s >= self._horizon_s:
            yield everyone
            return
        yield everyone | self._env.timeout(limit_s - self._env.now)
        yield from self._recall("late")

    def _recall(self, cause: str) -> Generator[simpy.Event, Any, None]:
        """Call back who is still at work, and wait until they have put down their records."""
        for process in self._busy:
            if process.is_alive:
                process.interrupt(cause)
        yield self._env.all_of(self._busy)

    def _collect(self) -> list[int]:
        """Take the records of the round; the devices that delivered."""
        records = [process.value for process in self._busy if isinstance(process.value, DeviceRecord)]
        self._busy = []
        self.device_rounds.extend(records)
        arrived = [record.device for record in records if record.outcome == "delivered"]
        for record in records:
            if record.outcome != "delivered":
                self._ledger.wasted_j += record.compute_energy_j + record.uplink_energy_j
        return arrived

    def _aggregate(self, plan: DevicesPlan, arrived: list[int]) -> None:
        """One step along the mean gradient of those who arrived, their weights scaled to one."""
        if not arrived or len(arrived) < min(self._faults.min_participants, self._selected):
            return
        weights = np.zeros(len(self.devices))
        weights[arrived] = self._problem.devices.weight[arrived]
        self._learner.finetune(np.rint(plan.batch).astype(np.int64), weights / weights.sum())

    def _close_round(
        self,
        stage: Stage,
        start_s: float,
        energy_j: float,
        participants: int,
        server_batch: int = 0,
        server_frequency_hz: float = math.nan,
    ) -> None:
        self.rounds_done[stage] += 1
        before = self.evaluation if self._evaluated else _UNKNOWN
        self._evaluated = (len(self.rounds) + 1) % self._evaluate_every == 0
        after = self._learner.evaluate() if self._evaluated else _UNKNOWN
        self.evaluation = after if self._evaluated else self.evaluation
        self.rounds.append(
            RoundRecord(
                self._run_id,
                stage,
                self.rounds_done[stage],
                start_s,
                self._env.now,
                energy_j,
                after.train_loss,
                after.test_accuracy,
                before.grad_norm_sq,
                participants,
                server_batch,
                server_frequency_hz,
            )
        )

    def _close_evaluation(self) -> None:
        """The final model is always evaluated."""
        if not self._evaluated:
            self.evaluation = self._learner.evaluate()
            self.rounds[-1] = replace(
                self.rounds[-1], train_loss=self.evaluation.train_loss, test_accuracy=self.evaluation.test_accuracy
            )

    def _observe(self) -> Observation:
        budget, now_s = self._problem.budget, self._env.now
        count = range(len(self.devices))
        return Observation(
            self._problem,
            self._plan,
            self.rounds_done["pretrain"],
            self.rounds_done["finetune"],
            now_s,
            Budget(budget.delay_s - now_s, budget.energy_j - self._ledger.total_j),
            frozen_array([self._channel.gain(k, now_s) for k in count]),
            frozen_array([float(self.devices[k].available()) for k in count]),
            self.evaluation.train_loss,
        )


_UNKNOWN = Evaluation(math.nan, math.nan, math.nan)
