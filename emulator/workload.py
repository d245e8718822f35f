"""What is trained: data, model and recipe, as the clock and the planner see them."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, NotRequired, Protocol, TypedDict, runtime_checkable

from prefine.emulator.arrays import FloatArray, IntArray

Audience = Literal["task", "general"]
"""Whose samples a rehearsal trains and validates on: the devices' task samples, or the server's general ones alone."""


class Evaluation(NamedTuple):
    """The task as the model does now: loss and squared gradient norm on the training set, score on the test set.

    ``chance_accuracy`` is the test score of the best constant answer: the share of the commonest class, or 0 for a
    coefficient of determination; NaN where nobody knows. ``validation_loss`` and ``validation_accuracy`` are loss and
    score on the validation samples; NaN where there are none.
    """

    train_loss: float
    test_accuracy: float
    grad_norm_sq: float
    chance_accuracy: float = math.nan
    validation_loss: float = math.nan
    validation_accuracy: float = math.nan


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


Merge = Literal["differences", "models"]
"""How an arrival joins the model: by the difference it made, or as the model it is (`AsynchronousLearner.merge`)."""


@runtime_checkable
class AsynchronousLearner(Learner, Protocol):
    """A learner whose devices each train from a copy of the model that others have moved on from meanwhile."""

    def hand_out(self, devices: IntArray) -> None:
        """Each of ``devices`` (n,) has the present model from now on; one that had another forgets it."""
        ...

    def receive(self, device: int, batch: int) -> None:
        """What ``device`` made of the model it was handed, with ``batch`` samples, is in the buffer; it has none now.

        With several local steps each has ``batch`` samples of its own.
        """
        ...

    def merge(self, weights: FloatArray, by: Merge) -> None:
        """One server step of all n arrivals that are in the buffer, with ``weights`` (n,) in their order; empties it.

        Arrival i was handed the model s_i and made w_i of it. By ``differences``: w <- w + sum_i weights_i (w_i - s_i)
        (FedBuff); by ``models``: w <- w + sum_i weights_i (w_i - w) (FedAsync).
        """
        ...


class ClientResults(NamedTuple):
    """The model that would be kept, on each device's own data; every field (K,).

    ``train_loss`` is of the device's ``samples``, ``test_accuracy`` of its ``test_samples`` held-out ones, NaN where it
    has none; ``personal_accuracy`` after one epoch on its own samples, NaN unless asked for.
    """

    samples: IntArray
    train_loss: FloatArray
    test_samples: IntArray
    test_accuracy: FloatArray
    personal_accuracy: FloatArray


@runtime_checkable
class ClientLearner(Learner, Protocol):
    """A learner that knows how the model serves each device."""

    def client_results(self) -> ClientResults:
        """Of the present model; it is left as it is."""
        ...


@runtime_checkable
class PopulationLearner(Learner, Protocol):
    """A learner whose K devices are other clients of a population from round to round."""

    def seat(self, clients: Sequence[int]) -> None:
        """From now on device k is the client ``clients[k]``, (K,)."""
        ...

    def results_of(self, clients: IntArray) -> ClientResults:
        """Of the present model, for ``clients`` (n,), whether they are there or not; it is left as it is."""
        ...


class Told(NamedTuple):
    """One thing that a learner is told in fine-tuning: a method of `AsynchronousLearner` and its arguments."""

    method: Literal["finetune", "hand_out", "receive", "merge"]
    arguments: tuple[Any, ...]


class Schedule(NamedTuple):
    """All that one run makes a learner do.

    ``pretrain_rounds`` steps on ``server_batch`` general samples each, then ``finetuning``: what it is told, in order.
    """

    pretrain_rounds: int
    server_batch: int
    finetuning: Sequence[Told]

    @property
    def updates(self) -> int:
        """Server steps in fine-tuning."""
        return sum(told.method in ("finetune", "merge") for told in self.finetuning)


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
    round (local steps), payload bits of an upload, and bits of what a round downloads. A sample costs a device
    ``finetune_flops_per_sample`` where it trains less than the server does; NaN: as much. ``base_bits`` are those of
    what a device needs besides, once: the parameters that fine-tuning leaves as they are.
    """

    flops_per_sample: float
    local_steps: int
    uplink_bits: float
    model_bits: float
    finetune_flops_per_sample: float = math.nan
    base_bits: float = 0.0

    @property
    def device_flops_per_sample(self) -> float:
        """Operations of one sample on a device."""
        own = self.finetune_flops_per_sample
        return self.flops_per_sample if math.isnan(own) else own


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
    per device. ``warning`` is there where a constant is not to be relied on.
    """

    value: float | list[float]
    spread: float | list[float]
    least: NotRequired[float | list[float]]
    most: NotRequired[float | list[float]]
    definition: str
    warning: NotRequired[str]


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
class PopulationWorkload(Workload, Protocol):
    """A workload whose samples any number of clients can draw theirs from; its learners are `PopulationLearner`."""

    def of_population(self, clients: Sequence[int], samples: int) -> Workload:
        """The same, each client holding ``samples``; plans and constants are of ``clients`` (K,).

        What a client holds depends on its number alone. Raises ValueError where the data cannot be had so.
        """
        ...


@runtime_checkable
class EvaluatedWorkload(Workload, Protocol):
    """A workload that knows what looking at its model takes."""

    @property
    def evaluation_samples(self) -> float:
        """An evaluation takes as long as differentiating on so many samples."""
        ...


@runtime_checkable
class BoundedWorkload(Workload, Protocol):
    """A workload that measures its constants in as much work as it is given."""

    def within(self, effort: float) -> "Workload":
        """The same, whose constants are measured in at most ``effort`` samples times rounds."""
        ...


@runtime_checkable
class AsynchronousWorkload(Workload, Protocol):
    """A workload that can be trained without a barrier."""

    def asynchronous_learner(self, seed: int, learning_rate: float) -> AsynchronousLearner:
        """As `learner`. Raises InputError where the recipe cannot be followed from models of different ages."""
        ...


@runtime_checkable
class RehearsableWorkload(Workload, Protocol):
    """A workload on which policies can rehearse."""

    def rehearse(
        self, schedules: Sequence[Schedule], fold: Fold, seed: int, learning_rate: float
    ) -> tuple[list[Validation], int]:
        """Each schedule trained without ``fold`` and validated on it, and how many rounds that took.

        A workload with validation samples of its own validates on those instead of a fold of the task's. A schedule's
        numbers do not depend on the others beside it. Test samples are not touched. ``seed`` and
        ``learning_rate`` are as for `learner`. Raises InputError where there is too little data to hold out.
        """
        ...
