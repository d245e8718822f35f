"""One model in training, as the clock sees it: what it can be told, and what it can be asked."""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol, runtime_checkable

from prefine.emulator.arrays import FloatArray, IntArray


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


@runtime_checkable
class LookingLearner(Learner, Protocol):
    """A learner that can be looked at now and asked later what was seen: many looks may be worked out as one."""

    def look(self) -> None:
        """What `evaluate` would answer now will be asked for."""
        ...

    def seen(self) -> list[Evaluation]:
        """What `evaluate` would have answered at each `look` since this was asked last, in their order."""
        ...


@runtime_checkable
class RepeatingLearner(Learner, Protocol):
    """A learner that can be told of several rounds at once, and makes of them what they make one after another."""

    def pretrain_rounds(self, batch: int, rounds: int) -> None:
        """``rounds`` times `Learner.pretrain`."""
        ...

    def finetune_rounds(self, batches: IntArray, weights: FloatArray, rounds: int) -> None:
        """``rounds`` times `Learner.finetune`."""
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
