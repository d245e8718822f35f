"""Rehearsals: plans tried out in training before a policy decides, and the decision kept.

Rehearsals have seeds that no run has, and train on the workload's own samples but never on its test samples. What a
plan makes the learner do is recorded on the clock, with a learner that only takes notes; then it is trained. Decisions
are kept in the cache under all that determines them, so that no two processes rehearse the same.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import numpy as np

from prefine.emulator import cache
from prefine.emulator.channel.base import Channel
from prefine.emulator.channel.remembered import RememberedChannel
from prefine.emulator.errors import InputError, PolicyError
from prefine.emulator.identity import address
from prefine.emulator.plugins import POLICY, calling, part
from prefine.emulator.randomness import stream
from prefine.emulator.simulation.control import check_plan
from prefine.emulator.simulation.run import play
from prefine.emulator.simulation.spec import RunSpec
from prefine.emulator.types import (
    Audience,
    DevicesPlan,
    Evaluation,
    FloatArray,
    Fold,
    IntArray,
    Learner,
    Merge,
    Plan,
    Problem,
    RehearsableWorkload,
    Rehearsal,
    RehearsalTable,
    Rehearsed,
    RehearsingPolicy,
    Relaxed,
    Schedule,
    ServerPlan,
    Told,
    Workload,
)
from prefine.emulator.watch import advance, stage

LEAST_FOLDS = 2

_FIRST_SEED, _END_OF_SEEDS = 2**32, 2**63
"""Seeds of rehearsals lie beyond those that anyone counts runs by."""

SpecOf = Callable[[Plan, int, Channel, Learner], RunSpec]
"""The run of a plan with a seed, on that seed's channel, by a given learner."""


class Recorder:
    """A learner that only notes what it is told."""

    def __init__(self) -> None:
        self.pretrained = 0
        self.finetuning: list[Told] = []

    def pretrain(self, batch: int) -> None:
        """One more round on the server."""
        self.pretrained += 1

    def finetune(self, batches: IntArray, weights: FloatArray) -> None:
        """One more round of the devices whose ``weights`` (K,) are above 0."""
        self.finetuning.append(Told("finetune", (batches, weights)))

    def hand_out(self, devices: IntArray) -> None:
        """``devices`` (n,) were given the model."""
        self.finetuning.append(Told("hand_out", (devices,)))

    def receive(self, device: int, batch: int) -> None:
        """The work of ``device`` is in the buffer."""
        self.finetuning.append(Told("receive", (device, batch)))

    def merge(self, weights: FloatArray, by: Merge) -> None:
        """One more update of the arrivals in the buffer."""
        self.finetuning.append(Told("merge", (weights, by)))

    def evaluate(self) -> Evaluation:
        """Nothing is known."""
        return Evaluation(np.nan, np.nan, np.nan)


class Rehearser:
    """What a policy that rehearses is handed; see `prefine.emulator.types.Rehearse`.

    ``channel`` is the channel of a seed, ``spec`` the run of a plan. Raises InputError where ``workload`` does not
    know how to rehearse.
    """

    def __init__(
        self,
        name: str,
        problem: Problem,
        workload: Workload,
        learning_rate: float,
        world_seed: int,
        channel: Callable[[int], Channel],
        spec: SpecOf,
    ) -> None:
        if not isinstance(workload, RehearsableWorkload):
            raise InputError(f"policy {name}: rehearses, but the workload {type(workload).__name__} has no rehearse")
        self._name, self._problem = name, problem
        self._workload, self._learning_rate = workload, learning_rate
        self._world_seed, self._channel, self._spec = world_seed, channel, spec
        self._recorded: dict[object, list[Told]] = {}
        self.rounds = 0

    def __call__(
        self, plans: Sequence[Plan], seeds: Sequence[int], *, folds: int = 5, on: Audience = "task"
    ) -> Rehearsal:
        """Every plan with every seed; see `prefine.emulator.types.Rehearse`."""
        if folds < LEAST_FOLDS or on not in ("task", "general") or min(seeds, default=0) < 0:
            raise PolicyError(
                f"policy {self._name}: rehearse(folds={folds!r}, on={on!r}, seeds={list(seeds)!r}), must be at least "
                f"{LEAST_FOLDS} folds, on 'task' or 'general', with seeds of at least 0"
            )
        for plan in plans:
            check_plan(self._name, self._problem, plan)
        loss, score = np.empty((len(plans), len(seeds))), np.empty((len(plans), len(seeds)))
        rounds = 0
        for column, number in enumerate(seeds):
            seed = int(stream(self._world_seed, "rehearsal", number).integers(_FIRST_SEED, _END_OF_SEEDS))
            channel = RememberedChannel(self._channel(seed))
            schedules = [self._schedule(plan, seed, channel) for plan in plans]
            done, trained = self._workload.rehearse(schedules, Fold(number, folds, on), seed, self._learning_rate)
            loss[:, column], score[:, column] = np.array(done).T
            rounds += trained
            advance(len(plans))
        self.rounds += rounds
        return Rehearsal(loss, score, rounds)

    def _schedule(self, plan: Plan, seed: int, channel: Channel) -> Schedule:
        """What ``plan`` makes a learner do with ``seed``.

        Nothing disturbs the server, so plans whose servers work equally long share what happens after that; and where
        nothing disturbs the devices either, it is the same for all seeds.
        """
        batch, devices = round(plan.server.batch), plan.devices
        spec = self._spec(plan, seed, channel, recorder := Recorder())
        work = (plan.pretrain_rounds * batch, plan.server.frequency_hz) if plan.pretrain_rounds else ()
        decision = [column.tobytes() for column in (devices.batch, devices.frequency_hz, devices.power_w)]
        decision.append(devices.upload_s.tobytes())
        key = (None if _always_the_same(spec) else seed, work, plan.finetune_rounds, *decision)
        if key in self._recorded:
            return Schedule(plan.pretrain_rounds, batch, self._recorded[key])
        play(spec)
        if recorder.pretrained == plan.pretrain_rounds:
            self._recorded[key] = recorder.finetuning
        return Schedule(recorder.pretrained, batch, recorder.finetuning)


def _always_the_same(spec: RunSpec) -> bool:
    """Whether a run goes the same way with every seed."""
    if not spec.is_predictable or spec.participation < 1.0:
        return False
    everyone = range(len(spec.problem.devices))
    return all(np.isinf(spec.channel.steps(device, 0.0, 1).end_s[0]) for device in everyone)


def rehearsed_plan(
    name: str, policy: RehearsingPolicy, problem: Problem, rehearser: Rehearser, world: Mapping[str, object]
) -> Plan:
    """What ``policy`` plans with rehearsals, checked; from the cache where it has decided before.

    ``world`` is all that the world follows from, fit for JSON. Raises what the policy raises, and PolicyError where
    its answer is no plan.
    """
    decide = partial(_decide, name, policy, problem, rehearser)
    described = part(POLICY, policy)
    if not described.lasting:
        return decide()
    key = address({"world": world, "policy": described.identity})
    return cache.remember(f"rehearsal-{key}.json", decide, _dump, _load)


def _decide(name: str, policy: RehearsingPolicy, problem: Problem, rehearser: Rehearser) -> Plan:
    start_s = time.process_time()
    with stage(f"{name} rehearses"):
        plan = check_plan(name, problem, calling(name, "plan", problem, policy, rehearser))
    if plan.rehearsal is None:
        return plan
    processor_s = time.process_time() - start_s
    return replace(plan, rehearsal=replace(plan.rehearsal, rounds=rehearser.rounds, processor_s=processor_s))


def _dump(plan: Plan) -> bytes:
    return json.dumps(asdict(plan), default=lambda array: array.tolist()).encode()


def _load(data: bytes) -> Plan:
    try:
        tree = json.loads(data)
        return Plan(**tree | _decisions(tree) | {"relaxed": _relaxed(tree["relaxed"]), "rehearsal": _table(tree)})
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError("damaged cache") from error


def _decisions(tree: Mapping[str, Any]) -> dict[str, Any]:
    return {"server": ServerPlan(**tree["server"]), "devices": DevicesPlan(**tree["devices"])}


def _relaxed(tree: Mapping[str, Any] | None) -> Relaxed | None:
    return None if tree is None else Relaxed(**{**tree, **_decisions(tree)})


def _table(tree: Mapping[str, Any]) -> RehearsalTable | None:
    table = tree["rehearsal"]
    return (
        None if table is None else RehearsalTable(**table | {"rows": tuple(Rehearsed(*row) for row in table["rows"])})
    )
