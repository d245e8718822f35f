"""The edge server: pre-training rounds, broadcast, barrier, aggregation, and the end of the run."""

import math
from collections.abc import Generator, Iterable
from typing import Any

import numpy as np
import simpy

from prefine.emulator.physics import compute_energy, compute_time
from prefine.emulator.records import DeviceRecord, RoundRecord
from prefine.emulator.simulation.choices import Choices
from prefine.emulator.simulation.cohort import Assignment, Cohort
from prefine.emulator.simulation.downlink import Delivery
from prefine.emulator.simulation.energy import EnergyAccount, EnergyExhaustedError
from prefine.emulator.simulation.fastpath import ComputedRound, FastPath
from prefine.emulator.simulation.history import History
from prefine.emulator.simulation.spec import RunSpec
from prefine.emulator.types import (
    Budget,
    DevicesPlan,
    Evaluation,
    IntArray,
    Observation,
    RoundDecision,
    ServerPlan,
    Stage,
    frozen_array,
)


class EdgeServer:
    """Runs the training on the clock; ``train`` is a process whose value is the reason it stopped."""

    def __init__(
        self,
        env: simpy.Environment,
        spec: RunSpec,
        cohort: Cohort,
        fast_path: FastPath,
        account: EnergyAccount,
    ) -> None:
        self._env = env
        self._spec = spec
        self._problem = spec.problem
        self._learner = spec.learner
        self._cohort = cohort
        self._fast_path = fast_path
        self._account = account
        self._stopping = False
        self._history = History(len(spec.problem.devices), spec.learner)
        self.choices = Choices(spec.problem.devices.weight)
        self.rounds: list[RoundRecord] = []
        self.device_rounds: list[Iterable[DeviceRecord]] = []
        self.rounds_done: dict[Stage, int] = {"pretrain": 0, "finetune": 0}
        self.untrained = self.evaluation = self._learner.evaluate()
        self._evaluated = True
        self.process = env.process(self.train())

    def stop(self, reason: str) -> None:
        """End the run at this instant; whatever is under way is lost."""
        if not self._stopping and self.process.is_alive:
            self._stopping = True
            self.process.interrupt(reason)

    def train(self) -> Generator[simpy.Event, Any, str]:
        """Round after round, as the controller decides."""
        reason = self._spec.controller.stop_reason
        try:
            while (decision := self._spec.controller.decide(self._observe)).stage != "stop":
                if decision.stage == "pretrain":
                    yield from self._pretrain_round(decision.server)
                else:
                    yield from self._finetune_round(decision)
        except EnergyExhaustedError:
            reason = "energy"
        except simpy.Interrupt as interrupt:
            reason = str(interrupt.cause)
        self._stopping = True
        yield from self._cohort.recall("budget")
        self._collect()
        self._close_evaluation()
        return reason

    def _pretrain_round(self, plan: ServerPlan) -> Generator[simpy.Event, Any, None]:
        start_s, server = self._env.now, self._problem.server
        energy_j = compute_energy(plan.batch, server.cycles_per_sample, plan.frequency_hz, server.capacitance)
        yield from self._spend_server(compute_time(plan.batch, server.cycles_per_sample, plan.frequency_hz), energy_j)
        self._learner.pretrain(round(plan.batch))
        self._close_round("pretrain", start_s, energy_j, 0, round(plan.batch), plan.frequency_hz)

    def _finetune_round(self, decision: RoundDecision) -> Generator[simpy.Event, Any, None]:
        plan, chosen = decision.devices, self.choices.of(decision, self.rounds_done["finetune"] + 1)
        members = yield from self._cohort.gather(chosen)
        start_s, before_j = self._env.now, self._account.total_j
        delivery = self._spec.downlink.deliver(
            self._spec.channel, members.tolist(), start_s, self._problem.radio.noise_psd_w_hz, self._spec.patience_s
        )
        batches = np.rint(plan.batch).astype(np.int64)
        assignment = self._assign(plan, members, batches, delivery)
        computed = self._fast_path.computed(assignment)
        if computed is not None and self._account.covers(delivery.energy_j + computed.energy_j):
            yield from self._book(computed, delivery)
            arrived = members
        else:
            arrived = yield from self._simulate(assignment, delivery)
        if len(arrived) >= self._cohort.fewest(chosen):
            self._learner.finetune(batches, self.choices.weights(decision, members, arrived))
        self._close_round("finetune", start_s, self._account.total_j - before_j, len(arrived))

    def _assign(self, plan: DevicesPlan, members: IntArray, batches: IntArray, delivery: Delivery) -> Assignment:
        start_s, spec = self._env.now, self._spec
        limit_s = min(start_s + spec.faults.deadline_s, self._spec.horizon_s)
        return Assignment(
            self.rounds_done["finetune"] + 1,
            members,
            batches[members],
            plan.frequency_hz[members],
            spec.power_control.powers(self._problem, spec.channel, plan, members, start_s),
            (self._problem.devices.bandwidth_hz if plan.bandwidth_hz is None else plan.bandwidth_hz)[members],
            delivery.end_s,
            start_s,
            min(max(delivery.end_s), limit_s),
            limit_s,
        )

    def _book(self, computed: ComputedRound, delivery: Delivery) -> Generator[simpy.Event, Any, None]:
        """Let the computed round pass in one event, and book what it used."""
        yield self._env.timeout(computed.end_s - self._env.now)
        self._account.settle("downlink", 0.0, delivery.energy_j)
        self._account.settle("compute", 0.0, computed.compute_j)
        self._account.settle("uplink", 0.0, computed.uplink_j)
        self.device_rounds.append(computed.records)

    def _simulate(self, assignment: Assignment, delivery: Delivery) -> Generator[simpy.Event, Any, IntArray]:
        """The round as the devices' processes go through it; the devices (n,) that delivered."""
        self._cohort.begin(assignment)
        yield from self._send_model(delivery.energy_j, assignment.start_compute_s - assignment.start_s)
        yield from self._cohort.barrier(assignment.limit_s)
        return self._collect()

    def _send_model(self, energy_j: float, duration_s: float) -> Generator[simpy.Event, Any, None]:
        held_j = self._account.hold(energy_j)
        start_s, used_j = self._env.now, energy_j
        try:
            if duration_s > 0.0:
                yield self._env.timeout(duration_s)
        except simpy.Interrupt:
            used_j *= (self._env.now - start_s) / duration_s
            raise
        finally:
            self._account.settle("downlink", held_j, used_j)

    def _spend_server(self, duration_s: float, energy_j: float) -> Generator[simpy.Event, Any, None]:
        held_j = self._account.hold(energy_j)
        start_s, used_j = self._env.now, energy_j
        try:
            yield self._env.timeout(duration_s)
        except simpy.Interrupt:
            used_j *= (self._env.now - start_s) / duration_s
            self._account.wasted_j += used_j
            raise
        finally:
            self._account.settle("server", held_j, used_j)

    def _collect(self) -> IntArray:
        """Take the records of the round; the devices that delivered."""
        records = self._cohort.collect()
        self.device_rounds.append(records)
        for record in records:
            if record.outcome != "delivered":
                self._account.wasted_j += record.compute_energy_j + record.uplink_energy_j
        return np.array([record.device for record in records if record.outcome == "delivered"], dtype=np.int64)

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
        self._evaluated = (len(self.rounds) + 1) % self._spec.evaluate_every == 0
        after = self._learner.evaluate() if self._evaluated else _UNKNOWN
        self.evaluation = after if self._evaluated else self.evaluation
        self.rounds.append(
            RoundRecord(
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
            self.rounds[-1] = self.rounds[-1]._replace(
                train_loss=self.evaluation.train_loss, test_accuracy=self.evaluation.test_accuracy
            )

    def _observe(self) -> Observation:
        spec, budget, now_s = self._spec, self._problem.budget, self._env.now
        everyone = np.arange(len(self._problem.devices))
        gain = frozen_array(spec.channel.ahead(everyone, np.full(len(everyone), now_s), 1).gain[:, 0])
        self._history.hear(self.device_rounds)
        return Observation(
            self._problem,
            spec.plan,
            self.rounds_done["pretrain"],
            self.rounds_done["finetune"],
            now_s,
            Budget(budget.delay_s - now_s, budget.energy_j - self._account.total_j),
            gain,
            frozen_array(self._cohort.available()),
            self.evaluation.train_loss,
            self._history.facts(gain),
            spec.policy_seed,
        )


_UNKNOWN = Evaluation(math.nan, math.nan, math.nan)
