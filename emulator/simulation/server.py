"""The edge server: pre-training rounds, decisions, evaluations, and the end of the run."""

import math
from collections.abc import Generator
from typing import Any

import numpy as np
import simpy

from prefine.emulator.bound import NO_ROUND
from prefine.emulator.physics import compute_energy, compute_time
from prefine.emulator.records import RoundRecord
from prefine.emulator.simulation.cohort import Cohort
from prefine.emulator.simulation.curve import Curve
from prefine.emulator.simulation.energy import EnergyAccount, EnergyExhaustedError
from prefine.emulator.simulation.finetuning import Finetuning
from prefine.emulator.simulation.history import History
from prefine.emulator.simulation.spec import RunSpec
from prefine.emulator.types import (
    Budget,
    Evaluation,
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
        finetuning: Finetuning,
        account: EnergyAccount,
    ) -> None:
        self._env = env
        self._spec = spec
        self._problem = spec.problem
        self._learner = spec.learner
        self._cohort = cohort
        self.finetuning = finetuning
        self._account = account
        self._stopping = False
        self._history = History(len(spec.problem.devices), spec.learner)
        self.rounds: list[RoundRecord] = []
        self.rounds_done: dict[Stage, int] = {"pretrain": 0, "finetune": 0}
        self._curve = Curve(spec.learner, spec.evaluate_every)
        self.untrained = self._curve.untrained
        self.process = env.process(self.train())

    @property
    def evaluation(self) -> Evaluation:
        """What the model was when it was looked at last."""
        return self._curve.latest

    def stop(self, reason: str) -> None:
        """End the run at this instant; whatever is under way is lost."""
        if not self._stopping and self.process.is_alive:
            self._stopping = True
            self.process.interrupt(reason)

    def train(self) -> Generator[simpy.Event, Any, str]:
        """Round after round, as the controller decides."""
        reason, cause = self._spec.controller.stop_reason, "late"
        try:
            while True:
                yield from self._spec.controller.wait(self._env, self._observe)
                decision = self._spec.controller.decide(self._observe)
                if decision.stage == "stop":
                    break
                if decision.stage == "pretrain":
                    yield from self._pretrain_round(decision.server)
                else:
                    yield from self._finetune(decision)
                if self._spec.goal.is_set and self._spec.goal.is_reached(self.evaluation):
                    reason = "target"
                    break
        except EnergyExhaustedError:
            reason, cause = "energy", "budget"
        except simpy.Interrupt as interrupt:
            reason, cause = str(interrupt.cause), "budget"
        self._stopping = True
        yield from self.finetuning.stop(cause)
        self._curve.close(len(self.rounds))
        self.rounds = self._curve.written(self.rounds)
        return reason

    def _pretrain_round(self, plan: ServerPlan) -> Generator[simpy.Event, Any, None]:
        start_s, server = self._env.now, self._problem.server
        energy_j = compute_energy(plan.batch, server.cycles_per_sample, plan.frequency_hz, server.capacitance)
        yield from self._spend_server(compute_time(plan.batch, server.cycles_per_sample, plan.frequency_hz), energy_j)
        self._learner.pretrain(round(plan.batch))
        self._close_round("pretrain", start_s, energy_j, 0, round(plan.batch), plan.frequency_hz)

    def _finetune(self, decision: RoundDecision) -> Generator[simpy.Event, Any, None]:
        updated = yield from self.finetuning.update(decision, self.rounds_done["finetune"] + 1)
        energy_j = self._account.total_j - updated.before_j
        self._close_round("finetune", updated.start_s, energy_j, updated.participants)

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
        self.rounds.append(
            RoundRecord(
                stage,
                self.rounds_done[stage],
                start_s,
                self._env.now,
                energy_j,
                math.nan,
                math.nan,
                math.nan,
                participants,
                server_batch,
                server_frequency_hz,
            )
        )
        self._curve.close_round(len(self.rounds))

    def _observe(self) -> Observation:
        spec, budget, now_s = self._spec, self._problem.budget, self._env.now
        everyone = np.arange(len(self._problem.devices))
        gain = frozen_array(spec.channel.ahead(everyone, np.full(len(everyone), now_s), 1).gain[:, 0])
        self._history.hear(self.finetuning.books.rounds)
        aside = NO_ROUND if self.rounds_done["finetune"] else spec.handover
        return Observation(
            self._problem,
            spec.plan,
            self.rounds_done["pretrain"],
            self.rounds_done["finetune"],
            now_s,
            Budget(budget.delay_s - now_s - aside.delay_s, budget.energy_j - self._account.total_j - aside.energy_j),
            gain,
            frozen_array(self._cohort.available()),
            self.evaluation.train_loss,
            self._history.facts(gain),
            spec.policy_seed,
        )
