"""What a policy is, and what one that adapts or rehearses sees and says."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

from prefine.emulator.arrays import FloatArray, IntArray, frozen_array
from prefine.emulator.learning import Learner
from prefine.emulator.plan import DevicesPlan, Plan, ServerPlan
from prefine.emulator.problem import Budget, Problem
from prefine.emulator.workload import Audience

Stage = Literal["pretrain", "finetune"]


@dataclass(frozen=True)
class DeviceFacts:
    """What the server knows of each device from the rounds so far; every field has one entry a device.

    ``mean_gain`` is the mean of the gains at the decisions so far, this one included. ``rounds`` are those it took part
    in, whatever came of them, ``last_round`` is the number of the last of them (0: none yet) and ``last_outcome`` what
    came of it ("": none yet). ``duration_s`` is the time from the start of the download to the end of the upload in the
    last round that it delivered, ``loss`` and ``rms_loss`` are mean and root mean square of its samples' losses that
    came with that update: of its first mini-batch, at the model it received. All three are NaN before. ``energy_j`` is
    what it has spent.
    """

    mean_gain: FloatArray
    rounds: FloatArray
    last_round: FloatArray
    last_outcome: tuple[str, ...]
    duration_s: FloatArray
    energy_j: FloatArray
    loss: FloatArray
    rms_loss: FloatArray

    def at(self, index: IntArray) -> "DeviceFacts":
        """What is known of the devices with the numbers ``index`` (n,)."""
        columns = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "last_outcome"}
        chosen: dict[str, Any] = {name: frozen_array(column[index]) for name, column in columns.items()}
        return DeviceFacts(last_outcome=tuple(self.last_outcome[k] for k in index), **chosen)


@dataclass(frozen=True)
class Observation:
    """What an adaptive policy sees before each round.

    ``remaining`` is what is left of both budgets; ``gain`` (K,) the gains at this instant, ``available`` (K,) 1.0 for
    each device that can take part now, else 0.0; ``task_loss`` the last evaluated training loss of the task;
    ``problem`` and ``plan`` are what was planned at the start. ``facts`` is what is known of each device; how many
    samples each holds, the shares ``problem.devices.weight`` say. ``seed`` is for a policy's own draws: one number a
    run, the same for every policy, from which nothing else in the run can be told.
    """

    problem: Problem
    plan: Plan
    pretrain_rounds_done: int
    finetune_rounds_done: int
    time_s: float
    remaining: Budget
    gain: FloatArray
    available: FloatArray
    task_loss: float
    facts: DeviceFacts
    seed: int = 0


@dataclass(frozen=True)
class RoundDecision:
    """The next round: which stage, and what everyone does in it. ``stage="stop"`` ends the training.

    ``participants`` (K,) is 1.0 for each device that takes part in a fine-tuning round, else 0.0; ``None`` is all that
    are there. A device left out neither downloads, computes nor uploads. ``weight`` (K,) are the weights of their
    updates in the step; ``None`` is their shares of the task loss, scaled to a sum of one. The weight of a device that
    is lost is shared out among those that arrive.
    """

    stage: Stage | Literal["stop"]
    server: ServerPlan
    devices: DevicesPlan
    participants: FloatArray | None = None
    weight: FloatArray | None = None

    def __post_init__(self) -> None:
        for name in ("participants", "weight"):
            if (values := getattr(self, name)) is not None:
                object.__setattr__(self, name, frozen_array(values))


@runtime_checkable
class Policy(Protocol):
    """Decides from immutable data and never sees the engine.

    A policy is a class whose constructor takes only keyword parameters with defaults (the scenario's
    ``[policies.NAME]``). One that ignores the constants of the bound may say ``uses_constants = False``: it then pays
    nothing for measuring them (``[learning] charge_pilots``).
    """

    def plan(self, problem: Problem) -> Plan:
        """The plan before anything has happened.

        Raises InfeasibleError where the budgets do not allow one round.
        """
        ...


class Rehearsal(NamedTuple):
    """P plans rehearsed with S seeds: mean loss and score on validation samples, (P, S), and the rounds trained."""

    loss: FloatArray
    score: FloatArray
    rounds: int


class Rehearse(Protocol):
    """Trains plans on a part of the data and validates them on the rest. No run's seed and no test sample is used."""

    def __call__(
        self, plans: Sequence[Plan], seeds: Sequence[int], *, folds: int = 5, on: Audience = "task"
    ) -> Rehearsal:
        """Every plan with every seed.

        ``seeds`` number rehearsals 0, 1, ...: seed r holds out fold r modulo ``folds`` and each ``folds`` of them in
        a row hold out every sample once; then the folds are dealt anew. The same seed means the same samples, initial
        model, channel and faults for every plan. Raises PolicyError where a plan is none, InputError where there is
        too little data.
        """
        ...


@runtime_checkable
class RehearsingPolicy(Protocol):
    """A policy that tries plans out before it decides: one whose ``rehearses`` is true."""

    rehearses: bool

    def plan(self, problem: Problem, rehearse: Rehearse) -> Plan:
        """The plan before anything has happened; ``rehearse`` tells how plans do in training.

        Raises InfeasibleError as `Policy.plan`.
        """
        ...


@runtime_checkable
class AdaptivePolicy(Policy, Protocol):
    """A policy that also decides every round anew."""

    def adapt(self, observation: Observation) -> RoundDecision:
        """The next round, given what is left and what is seen now."""
        ...


@runtime_checkable
class CertifyingPolicy(Policy, Protocol):
    """A policy that can prove how good its plans are, at a price that runs need not pay: ``prefine plan`` asks it."""

    def certify(self, problem: Problem, plan: Plan) -> float | None:
        """What no plan of whole numbers for ``problem`` has less of: a lower bound in the unit of ``plan.objective``.

        ``plan`` is what `plan` made of ``problem``. None where it cannot be had.
        """
        ...


class Reports(NamedTuple):
    """Mean and root mean square of each device's sample losses, (K,), as in `DeviceFacts`; NaN where none came yet."""

    loss: FloatArray
    rms_loss: FloatArray


@runtime_checkable
class ReportingLearner(Learner, Protocol):
    """A learner that knows what losses the devices had in their last round."""

    def reports(self) -> Reports:
        """What came with each device's last update; costs no further pass over the samples."""
        ...
