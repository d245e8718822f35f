"""One model in training: mini-batch SGD on the server, then rounds of a federated algorithm on the devices."""

import copy
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from prefine.emulator.randomness import stream
from prefine.emulator.types import ClientResults, Evaluation, FloatArray, IntArray, Reports, Validation
from prefine.models.algorithms.fedsgd import FedSGD
from prefine.models.algorithms.round import FusedRound, Round
from prefine.models.fairness import losses_of, scores_of
from prefine.models.federation import Federation
from prefine.models.looks import Snapshot, evaluations
from prefine.models.objective import Objective, evenly, one_thread
from prefine.models.recipe import KeepLatest, LastIterate, Step, TailAverage
from prefine.models.sampling import Drawing, Draws
from prefine.models.tuning import Tuning

MOST_UNSEEN = 16
"""Models that are put by, at most, before they are evaluated."""

PERSONAL_BATCH = 16
"""Samples of a step by which a device makes the model its own."""


class Learner:
    """Trains when told to; the same arguments give the same bytes, on any number of torch threads.

    ``tuning`` says what fine-tuning moves, ``finetuning`` makes the rounds of the federated algorithm on that;
    ``step``, ``average`` and ``choice`` are the recipe, ``seed`` fixes the samples that are drawn. The objective's
    weights are the model; they are moved in place.
    """

    def __init__(
        self,
        federation: Federation,
        objective: Objective,
        tuning: Tuning,
        finetuning: Callable[[Objective], Round],
        step: Step,
        average: LastIterate | TailAverage,
        seed: int,
        personal_epochs: int = 0,
        choice: KeepLatest = KeepLatest(),  # noqa: B008  # stateless
    ) -> None:
        self._data, self._tuning, self._finetuning, self._seed = federation, tuning, finetuning, seed
        self._step, self._average, self._choice = step, average, choice
        self.objective = objective
        """That of all parameters while pre-training, of those that are tuned once the model was handed over."""
        self._server = Draws(np.arange(len(federation.general)), stream(seed, "general samples"))
        self._devices: Sequence[Drawing] = [
            Draws(part, stream(seed, "task samples", device)) for device, part in enumerate(federation.parts)
        ]
        self._finetune_rounds, self._personal_epochs = 0, personal_epochs
        self._round: Round | None = None
        nothing = np.full(len(self._devices), np.nan)
        self._reported, self._unread = Reports(nothing, nothing.copy()), np.zeros(0, dtype=np.int64)
        self._chance_accuracy = objective.constant_score(federation.test)
        self._unseen: list[Snapshot] = []
        self._seen: list[Evaluation] = []

    def pretrain(self, batch: int) -> None:
        """One step of mini-batch SGD on ``batch`` samples of the general data, drawn with replacement."""
        self.pretrain_rounds(batch, 1)

    def pretrain_rounds(self, batch: int, rounds: int) -> None:
        """So many steps of `pretrain`."""
        share = torch.full((batch,), 1.0 / batch, dtype=self.objective.weights.dtype)
        with one_thread():
            for rows in self._server.take(rounds * batch).reshape(rounds, batch):
                self.objective.differentiate(self._data.general.take(torch.from_numpy(rows), share))
                self.objective.regularise(1.0)
                self._move(self.objective.gradient, self._step.rate)

    def hand_over(self) -> Round:
        """End pre-training, if it has not ended: from here on only what is tuned moves, in the rounds returned.

        The step's velocity goes along where everything is tuned; adapters and parts begin at rest.
        """
        if self._round is None:
            self._work_out()
            tuned = self._tuning.begin(self.objective, self._seed)
            if tuned is not self.objective:
                self._step = self._step.anew(tuned.weights)
            self.objective = tuned
            self._round = self._finetuning(tuned)
            self._average.restart()
            self._choice.restart()
        return self._round

    def finetune(self, batches: IntArray, weights: FloatArray) -> None:
        """One round of the algorithm: with one local step, the step along sum_k weights_k grad F_k(batches_k samples).

        ``batches`` and ``weights`` (K,); a device with weight 0 did not arrive and draws nothing. Each of several local
        steps has ``batches_k`` samples of its own. Raises InputError where a user's algorithm fails.
        """
        self.finetune_rounds(batches, weights, 1)

    def finetune_rounds(self, batches: IntArray, weights: FloatArray, rounds: int) -> None:
        """So many rounds of `finetune`, for which samples are drawn and shares worked out once."""
        round_, first = self.hand_over(), self._finetune_rounds
        self._finetune_rounds += rounds
        (here,) = weights.nonzero()
        if not len(here):
            return
        if len(here) < len(self._devices):  # who is in these rounds reports anew
            self._read_reports()
        counts = (round_.local_steps * batches[here]).tolist()
        drawn = [
            self._devices[device].take(rounds * count).reshape(rounds, count)
            for device, count in zip(here.tolist(), counts, strict=True)
        ]
        mean = round_.mean(here, batches[here], weights[here])
        with one_thread():
            for number, rows in enumerate(np.concatenate(drawn, axis=1), first):
                rate = self._step.rate_at(number)
                self._move(round_.direction(mean.of(rows, rate)), rate)
        self._unread = here

    def reports(self) -> Reports:
        """Losses (K,) that came with each device's last update: of its first mini-batch, at the model it received."""
        self._read_reports()
        return Reports(self._reported.loss.copy(), self._reported.rms_loss.copy())

    def _read_reports(self) -> None:
        if len(self._unread):
            for kept, new in zip(self._reported, self.hand_over().reports(), strict=True):
                kept[self._unread] = new
            self._unread = self._unread[:0]

    def _move(self, gradient: Tensor, rate: float) -> None:
        self._step.apply(self.objective.weights, gradient, rate)
        self._average.add(self.objective.weights)

    def evaluate(self) -> Evaluation:
        """Exact task loss and scores of the model that would be kept, squared task gradient at the last iterate.

        The two models differ only under tail averaging, and where the best is kept; the bound speaks of the iterates.
        """
        self.look()
        self._work_out()
        return self._seen.pop()

    def look(self) -> None:
        """What `evaluate` would answer now will be asked for; the model is put by."""
        own = self.objective.weights.clone()
        kept = self._average.kept(self.objective.weights)
        self._unseen.append(Snapshot(own, own if kept is self.objective.weights else kept))
        if len(self._unseen) == MOST_UNSEEN:
            self._work_out()

    def seen(self) -> list[Evaluation]:
        """What `evaluate` would have answered at each `look` since this was asked last, in their order."""
        self._work_out()
        seen, self._seen = self._seen, []
        return seen

    def _work_out(self) -> None:
        unseen, self._unseen = self._unseen, []
        with one_thread():
            for snapshot, found in zip(unseen, evaluations(self.objective, self._data, unseen), strict=True):
                known = found._replace(chance_accuracy=self._chance_accuracy)
                self._seen.append(self._choice.evaluated(snapshot.kept, known))

    def _kept(self) -> Tensor:
        self._work_out()
        return self._choice.kept(self._average.kept(self.objective.weights))

    def client_results(self) -> ClientResults:
        """The model that would be kept on each device's own samples and on held-out ones like them.

        Where the recipe personalises, also after so many epochs of plain SGD on the device's own samples, in even
        batches of at most `PERSONAL_BATCH` at the recipe's step size, of what is tuned.
        """
        data, nothing = self._data, np.zeros(0, dtype=np.int64)
        held = data.test_parts or (nothing,) * len(self._devices)
        with one_thread(), self.objective.at(self._kept()):
            return ClientResults(
                np.array([len(part) for part in data.parts], dtype=np.int64),
                losses_of(self.objective, data.task, data.parts),
                np.array([len(part) for part in held], dtype=np.int64),
                scores_of(self.objective, data.test, held),
                np.array([self._personal(own, test) for own, test in zip(data.parts, held, strict=True)]),
            )

    def _personal(self, own: IntArray, test: IntArray) -> float:
        """The score on ``test`` after training on ``own`` alone, from the present model, which is left as it is."""
        if not self._personal_epochs or not len(test):
            return np.nan
        objective, rate = self.objective, self._step.rate_at(self._finetune_rounds)
        with objective.at(objective.weights):
            for rows in np.array_split(own, -(-len(own) // PERSONAL_BATCH)) * self._personal_epochs:
                objective.differentiate(evenly(self._data.task, rows))
                objective.regularise(1.0)
                objective.weights.add_(objective.gradient, alpha=-rate)
            return objective.score(evenly(self._data.test, test))

    def continue_from(self, other: "Learner") -> None:
        """Fine-tune from where ``other``, on the same objective, has pre-trained to: with its velocity."""
        self._step = copy.deepcopy(other._step)

    def validate(self) -> Validation:
        """Loss and score on the test samples of the model that would be kept."""
        with one_thread(), self.objective.at(self._kept()):
            return Validation(self.objective.loss(self._data.test), self.objective.score(self._data.test))


def plain_sgd(federation: Federation, objective: Objective, tuning: Tuning, step: Step, seed: int) -> Learner:
    """A learner whose rounds are federated SGD, and which keeps its last iterate: the one that the bound is about."""
    return Learner(
        federation,
        objective,
        tuning,
        lambda tuned: FusedRound(FedSGD(), tuned, federation.task),
        step,
        LastIterate(),
        seed,
    )
