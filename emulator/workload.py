"""What is trained: data, model and recipe, as the clock and the planner see them."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, NotRequired, Protocol, TypedDict, runtime_checkable

from prefine.emulator.learning import AsynchronousLearner, Learner

Audience = Literal["task", "general"]
"""Whose samples a rehearsal trains and validates on: the devices' task samples, or the server's general ones alone."""


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
