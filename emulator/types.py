"""The frozen records that pass between planner, clock and learner, and the protocols that join them.

Everything is SI and every name carries its unit. Per-device fields are read-only float64 arrays of shape (K,).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Literal, NamedTuple, NotRequired, Protocol, TypedDict, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


def frozen_array(values: ArrayLike) -> FloatArray:
    """A read-only float64 copy of ``values``."""
    array = np.array(values, dtype=np.float64)
    array.setflags(write=False)
    return array


Record = TypeVar("Record")


def own_copy(record: Record) -> Record:
    """A copy of a frozen ``record`` that shares nothing with it that can be changed: records and arrays are new."""
    if is_dataclass(record) and not isinstance(record, type):
        made: Record = type(record)(**{field.name: own_copy(getattr(record, field.name)) for field in fields(record)})
        return made
    return frozen_array(record) if isinstance(record, np.ndarray) else record  # type: ignore[return-value]  # as it is


class _ArrayFields:
    """Makes every array field of a frozen dataclass float64 and read-only."""

    def __post_init__(self) -> None:
        for field in fields(self):  # type: ignore[arg-type]  # every subclass is a dataclass
            values = getattr(self, field.name)
            if values is not None:
                object.__setattr__(self, field.name, frozen_array(values))


@dataclass(frozen=True)
class Budget:
    """What a whole training run, both stages together, may use."""

    delay_s: float
    energy_j: float


@dataclass(frozen=True)
class Learning:
    """Constants of the convergence bound (docs/theory.md): L, eta, F(w0) - F*, Delta^2; and of its fitted variant.

    The shift summed over N pre-training rounds is D(N) = ``discrepancy`` N - c (1 - exp(-r N)) with c =
    ``discrepancy_relief`` and r = ``discrepancy_rate`` per round (section 3d); c r <= ``discrepancy``, so that D never
    falls. ``pretrain_contraction`` (a) and ``pretrain_floor`` (G_floor) describe how pre-training closes the task gap;
    they are ``None`` where nobody measured them, and then Phi_FT cannot be evaluated. ``pretrain_noise`` (loss times
    samples) is what the noise of the server's batches adds to the gap in the end; ``None``: it adds up without end.
    ``effective_rate`` is how far a round of the recipe moves along a steady gradient, rate / (1 - momentum), which
    Phi_FT reckons with; ``None``: ``learning_rate``, the step of the bound.
    """

    smoothness: float
    learning_rate: float
    initial_gap: float
    discrepancy: float
    pretrain_contraction: float | None = None
    pretrain_floor: float | None = None
    discrepancy_relief: float = 0.0
    discrepancy_rate: float = 0.0
    pretrain_noise: float | None = None
    effective_rate: float | None = None


@dataclass(frozen=True)
class Server:
    """The edge server: cycles per sample, capacitance in J/(cycle Hz^2), gradient variance, and box limits.

    ``noise_curvature`` is the curvature of the task loss that its gradient noise meets (docs/theory.md, section 3d), in
    the unit of ``Learning.smoothness``; ``None`` is ``smoothness``, the largest it can be.
    """

    cycles_per_sample: float
    capacitance: float
    gradient_variance: float
    min_frequency_hz: float
    max_frequency_hz: float
    min_batch: float
    max_batch: float
    noise_curvature: float | None = None


@dataclass(frozen=True)
class Devices(_ArrayFields):
    """The K devices; every field has shape (K,). ``weight`` sums to one; ``gain`` is what a planner reckons with.

    ``noise_curvature`` is that of `Server`, for the noise of each device.
    """

    cycles_per_sample: FloatArray
    capacitance: FloatArray
    gradient_variance: FloatArray
    weight: FloatArray
    min_frequency_hz: FloatArray
    max_frequency_hz: FloatArray
    min_batch: FloatArray
    max_batch: FloatArray
    max_power_w: FloatArray
    gain: FloatArray
    bandwidth_hz: FloatArray
    noise_curvature: FloatArray | None = None

    def __len__(self) -> int:
        return len(self.gain)

    def at(self, index: IntArray) -> "Devices":
        """The devices with the numbers ``index`` (n,), which may repeat; their weights as they are."""
        columns: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        chosen: dict[str, Any] = {name: None if column is None else column[index] for name, column in columns.items()}
        return Devices(**chosen)


@dataclass(frozen=True)
class Radio:
    """Noise power spectral density, payload of one device and round, and what one round's downlink costs."""

    noise_psd_w_hz: float
    uplink_bits: float
    downlink_delay_s: float
    downlink_energy_j: float


@dataclass(frozen=True)
class Problem:
    """All a policy may know before a run starts."""

    budget: Budget
    learning: Learning
    server: Server
    devices: Devices
    radio: Radio
    name: str = ""

    @property
    def as_trained(self) -> "Problem":
        """The same with the recipe's effective rate as the step, as Phi_FT sees it (docs/theory.md, section 3d)."""
        rate = self.learning.effective_rate
        learning = self.learning if rate is None else replace(self.learning, learning_rate=rate, effective_rate=None)
        return replace(self, learning=learning)


@dataclass(frozen=True)
class ServerPlan:
    """What the server does in a pre-training round."""

    batch: float
    frequency_hz: float


@dataclass(frozen=True)
class DevicesPlan(_ArrayFields):
    """What the devices do in a fine-tuning round; every field has shape (K,)."""

    batch: FloatArray
    frequency_hz: FloatArray
    power_w: FloatArray
    upload_s: FloatArray


@dataclass(frozen=True)
class Relaxed:
    """A relaxed (real-valued) optimum with its certificate: ``gap`` is bound / lower_bound - 1, at least 0.

    ``bound`` and ``lower_bound`` are in the policy's own objective. ``delay_price`` and ``energy_price`` are the
    shadow prices: by how much the optimal bound falls per further second, per further joule (never negative).
    """

    pretrain_rounds: float
    finetune_rounds: float
    server: ServerPlan
    devices: DevicesPlan
    bound: float
    lower_bound: float
    gap: float
    delay_price: float
    energy_price: float


class Rehearsed(NamedTuple):
    """One candidate of a rehearsal: what it is called and plans, and how it did on validation samples.

    ``score`` is its mean score with the effect of the samples that all candidates shared taken out, ``score_ci95`` the
    half-width of its 95 % interval, ``smoothed_score`` what its neighbours make of it, ``loss`` its mean loss.
    """

    candidate: str
    pretrain_rounds: int
    server_batch: float
    finetune_rounds: int
    score: float
    score_ci95: float
    smoothed_score: float
    loss: float
    rehearsals: int


@dataclass(frozen=True)
class RehearsalTable:
    """What a policy saw in its rehearsals: all candidates, the chosen one first, and the ``rounds`` that were trained.

    ``on`` says whose samples were used. ``processor_s`` is how long it took; it alone differs from host to host.
    """

    on: "Audience"
    rows: tuple[Rehearsed, ...]
    rounds: int = 0
    processor_s: float = 0.0


@dataclass(frozen=True)
class Plan:
    """Integers N and M and what server and devices do in each of their rounds.

    ``objective`` names what ``relaxed`` and ``integer_gap`` are measured in: ``"bound"`` (Phi) or ``"bound_ft"``
    (Phi_FT). Policies without a certificate leave ``relaxed`` and ``integer_gap`` at ``None``.
    ``rehearsal`` is what a policy that rehearses found.
    """

    pretrain_rounds: int
    finetune_rounds: int
    server: ServerPlan
    devices: DevicesPlan
    relaxed: Relaxed | None = None
    integer_gap: float | None = None
    objective: Literal["bound", "bound_ft"] = "bound"
    rehearsal: RehearsalTable | None = None


Stage = Literal["pretrain", "finetune"]


@dataclass(frozen=True)
class Observation:
    """What an adaptive policy sees before each round.

    ``remaining`` is what is left of both budgets; ``gain`` (K,) the gains at this instant, ``available`` (K,) 1.0 for
    each device that can take part now, else 0.0; ``task_loss`` the last evaluated training loss of the task;
    ``problem`` and ``plan`` are what was planned at the start.
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


@dataclass(frozen=True)
class RoundDecision:
    """The next round: which stage, and what everyone does in it. ``stage="stop"`` ends the training."""

    stage: Stage | Literal["stop"]
    server: ServerPlan
    devices: DevicesPlan


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


Audience = Literal["task", "general"]
"""Whose samples a rehearsal trains and validates on: the devices' task samples, or the server's general ones alone."""


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


class Evaluation(NamedTuple):
    """The task as the model does now: loss and squared gradient norm on the training set, score on the test set.

    ``chance_accuracy`` is the test score of the best constant answer: the share of the commonest class, or 0 for a
    coefficient of determination; NaN where nobody knows.
    """

    train_loss: float
    test_accuracy: float
    grad_norm_sq: float
    chance_accuracy: float = math.nan


class Learner(Protocol):
    """One model in training. Learning happens only when the clock calls; nothing here knows of time."""

    def pretrain(self, batch: int) -> None:
        """One step of mini-batch SGD on ``batch`` samples of the general data."""
        ...

    def finetune(self, batches: IntArray, weights: FloatArray) -> None:
        """One round of federated SGD: the step along sum_k weights_k grad F_k(batches_k samples of device k).

        Both (K,); a device with weight 0 did not arrive and draws nothing.
        """
        ...

    def evaluate(self) -> Evaluation:
        """The exact task loss, test accuracy and squared norm of the full task gradient at the present model."""
        ...


class Schedule(NamedTuple):
    """All that one run makes a learner do.

    ``pretrain_rounds`` steps on ``server_batch`` general samples each, then ``finetuning``: a round's batches (K,) and
    weights (K,), as `Learner.finetune` takes them.
    """

    pretrain_rounds: int
    server_batch: int
    finetuning: Sequence[tuple[IntArray, FloatArray]]


class Validation(NamedTuple):
    """Loss and score on samples that were held out of the training."""

    loss: float
    score: float


class Fold(NamedTuple):
    """Which samples the rehearsal ``number`` holds out: fold ``number`` modulo ``folds``, of ``on``'s samples."""

    number: int
    folds: int
    on: Audience


class WorkloadCost(NamedTuple):
    """What one sample, one round, one upload and one download cost.

    Floating-point operations of a forward and backward pass, mini-batches a device processes in one fine-tuning
    round (local steps), payload bits of an upload, and bits of the model itself.
    """

    flops_per_sample: float
    local_steps: int
    uplink_bits: float
    model_bits: float


class CalibrationWork(NamedTuple):
    """The training that measured the constants: plain SGD, central, outside the run's clock.

    ``pretrain`` and ``finetune`` list (samples of a round, rounds): samples of the server, samples of each device. Of
    the ``runs``, all but ``searches`` (runs that only look for the step size) measured something.
    """

    runs: int = 0
    searches: int = 0
    pretrain: tuple[tuple[int, int], ...] = ()
    finetune: tuple[tuple[int, int], ...] = ()


class Constants(NamedTuple):
    """Measured constants of the bound; ``device_variance`` and ``device_curvature`` have one value per device.

    The names are those of `Learning`, and of the scenario's ``[learning]``. What has a default need not be measured:
    NaN, and no device curvature at all, are unknown. ``work`` is what measuring them took.
    """

    smoothness: float
    learning_rate: float
    initial_gap: float
    discrepancy: float
    server_variance: float
    device_variance: tuple[float, ...]
    pretrain_contraction: float
    pretrain_floor: float
    server_curvature: float = math.nan
    device_curvature: tuple[float, ...] = ()
    discrepancy_relief: float = 0.0
    discrepancy_rate: float = 0.0
    pretrain_noise: float = math.nan
    work: CalibrationWork = CalibrationWork()


class Calibrated(TypedDict):
    """One measured constant: ``value``, ``spread`` (its standard error), and its ``definition`` in one line.

    ``least`` and ``most`` are the extremes that were seen. Of what each device has, all four are lists with one number
    per device.
    """

    value: float | list[float]
    spread: float | list[float]
    least: NotRequired[float | list[float]]
    most: NotRequired[float | list[float]]
    definition: str


class Workload(Protocol):
    """Data, model and training recipe of a scenario: costs, constants, and a fresh learner for each run."""

    @property
    def weights(self) -> tuple[float, ...]:
        """Share rho_k of each device in the task loss; sums to one."""
        ...

    @property
    def cost(self) -> WorkloadCost:
        """Of the actual network."""
        ...

    def constants(self) -> Constants:
        """Measured by calibration runs on the actual data and model; the same arguments give the same bits."""
        ...

    def calibration(self) -> dict[str, Calibrated]:
        """What `constants` measured, by the name of the constant."""
        ...

    def learner(self, seed: int, learning_rate: float) -> Learner:
        """A new learner; the same seed gives the same initial model and the same order of samples.

        ``learning_rate`` is the step size of the bound (at most 1/L); the recipe says how far real steps go beyond.
        """
        ...

    def provenance(self) -> Mapping[str, str]:
        """What the manifest should say of the data: names, sizes, checksums."""
        ...


@runtime_checkable
class RehearsableWorkload(Workload, Protocol):
    """A workload on which policies can rehearse."""

    def rehearse(
        self, schedules: Sequence[Schedule], fold: Fold, seed: int, learning_rate: float
    ) -> tuple[list[Validation], int]:
        """Each schedule trained without ``fold`` and validated on it, and how many rounds that took.

        A schedule's numbers do not depend on the others beside it. Test samples are not touched. ``seed`` and
        ``learning_rate`` are as for `learner`. Raises InputError where there is too little data to hold out.
        """
        ...
