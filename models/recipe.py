"""How a step is made from a gradient: step size, momentum, decay; and which model is kept: the last, an average, or
the best of those that were validated.

One recipe serves both stages and every policy of a comparison. The bound covers plain SGD with a step of at most 1/L;
momentum, decay, averaging and larger steps leave its proof.
"""

import math

import torch
from torch import Tensor

from prefine.emulator.types import Evaluation

KEPT = 64


def real_rate(recipe: float | str, bound_rate: float) -> float:
    """The step size of training, where the bound's is ``bound_rate``: a number as it is, ``"3/L"`` three times it."""
    return bound_rate * max(1.0, float(recipe.removesuffix("/L"))) if isinstance(recipe, str) else recipe


class Step:
    """Heavy-ball SGD (Polyak, 1964) on a flat vector: v <- momentum v + g, w <- w - rate v.

    The velocity is carried from pre-training into fine-tuning. Fine-tuning round m = 0, 1, ... uses
    rate / (1 + decay m).
    """

    def __init__(self, weights: Tensor, rate: float, momentum: float, decay: float) -> None:
        self.rate, self._momentum, self._decay = rate, momentum, decay
        self._velocity = torch.zeros_like(weights)

    def anew(self, weights: Tensor) -> "Step":
        """The same recipe for other ``weights``, from rest."""
        return Step(weights, self.rate, self._momentum, self._decay)

    def rate_at(self, finetune_round: int) -> float:
        """The step size of a fine-tuning round."""
        return self.rate / (1.0 + self._decay * finetune_round)

    def apply(self, weights: Tensor, gradient: Tensor, rate: float) -> None:
        """Move ``weights`` in place."""
        if self._momentum > 0.0:
            gradient = self._velocity.mul_(self._momentum).add_(gradient)
        weights.add_(gradient, alpha=-rate)


class LastIterate:
    """The model that is kept is the last one."""

    def add(self, weights: Tensor) -> None:
        """Nothing to note."""

    def restart(self) -> None:
        """Nothing to forget."""

    def kept(self, weights: Tensor) -> Tensor:
        """The present weights."""
        return weights


class TailAverage:
    """The model that is kept is the mean of the last ``share`` of the stage's iterates, at any time (Roux, 2019).

    Running sums are noted along the way and thinned by half when there are too many, so memory is bounded and the
    tail begins exactly where it should for up to 64 iterates, and within 1/32 of their number after that.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self.restart()

    def restart(self) -> None:
        """Begin anew, as at the hand-over: biased models of the first stage are not averaged into the second."""
        self._count, self._stride = 0, 1
        self._sum = torch.zeros(())
        self._noted: list[tuple[int, Tensor]] = []

    def add(self, weights: Tensor) -> None:
        """Note the model after a step."""
        if self._count % self._stride == 0:
            self._noted.append((self._count, self._sum))
        if len(self._noted) > KEPT:
            self._noted, self._stride = self._noted[::2], 2 * self._stride
        self._count += 1
        self._sum = self._sum + weights.double()

    def kept(self, weights: Tensor) -> Tensor:
        """The mean of the tail; the present weights before the first step."""
        if self._count == 0:
            return weights
        begin = self._count - max(1, round(self._share * self._count))
        count, earlier = min(self._noted, key=lambda noted: abs(noted[0] - begin))
        return ((self._sum - earlier) / (self._count - count)).to(weights.dtype)


class KeepLatest:
    """Of the models that were evaluated, the latest is kept."""

    def restart(self) -> None:
        """Nothing to forget."""

    def kept(self, latest: Tensor) -> Tensor:
        """``latest``, the model that `LastIterate` or `TailAverage` keep now."""
        return latest

    def evaluated(self, latest: Tensor, found: Evaluation) -> Evaluation:
        """What is known of the model that is kept, now that ``found`` is what was found of ``latest``."""
        return found


class KeepBest(KeepLatest):
    """Of the models that were evaluated in a stage, the one with the best score on the validation samples is kept.

    Of equal scores the lower loss counts, of equal losses the earlier model.
    """

    def __init__(self) -> None:
        self._best: tuple[Tensor, Evaluation] | None = None

    def restart(self) -> None:
        """Begin anew, as at the hand-over, from where on other parameters may be tuned."""
        self._best = None

    def kept(self, latest: Tensor) -> Tensor:
        """The best; ``latest`` where none was evaluated."""
        return latest if self._best is None else self._best[0]

    def evaluated(self, latest: Tensor, found: Evaluation) -> Evaluation:
        """The figures of the best; the gradient's are of the last iterate, whichever model is kept."""
        if self._best is None or _merit(found) > _merit(self._best[1]):
            self._best = latest.clone(), found
        return self._best[1]._replace(grad_norm_sq=found.grad_norm_sq)


def _merit(found: Evaluation) -> tuple[float, float]:
    """To be as large as possible; a model that has diverged has none, so any other is better."""
    merit = found.validation_accuracy, -found.validation_loss
    return (-math.inf, -math.inf) if any(map(math.isnan, merit)) else merit
