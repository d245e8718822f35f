"""What is seen of the model on the way: looked at after some rounds, worked out when somebody asks, or at the end."""

from collections.abc import Sequence

from prefine.emulator.records import RoundRecord
from prefine.emulator.types import Evaluation, Learner, LookingLearner


class AtOnce:
    """A learner that can only be evaluated at once, as one that can be looked at."""

    def __init__(self, learner: Learner) -> None:
        self.pretrain, self.finetune, self.evaluate = learner.pretrain, learner.finetune, learner.evaluate
        self._seen: list[Evaluation] = []

    def look(self) -> None:
        """See `LookingLearner`."""
        self._seen.append(self.evaluate())

    def seen(self) -> list[Evaluation]:
        """See `LookingLearner`."""
        seen, self._seen = self._seen, []
        return seen


class Curve:
    """Looks at ``learner`` before the first round and after ``every`` so many."""

    def __init__(self, learner: Learner, every: int) -> None:
        self._learner: LookingLearner = learner if isinstance(learner, LookingLearner) else AtOnce(learner)
        self._every = every
        self.untrained = learner.evaluate()
        self._found, self._after = [self.untrained], [0]

    def close_round(self, number: int) -> None:
        """Round ``number``, from 1 on, has ended."""
        if number % self._every == 0:
            self._look(number)

    def close(self, number: int) -> None:
        """Round ``number`` was the last: what it made is looked at in any case."""
        if self._after[-1] != number:
            self._look(number)

    def _look(self, number: int) -> None:
        self._learner.look()
        self._after.append(number)

    @property
    def latest(self) -> Evaluation:
        """What the last look found."""
        return self._all()[-1]

    def _all(self) -> list[Evaluation]:
        if len(self._found) < len(self._after):
            self._found += self._learner.seen()
        return self._found

    def written(self, rounds: Sequence[RoundRecord]) -> list[RoundRecord]:
        """``rounds`` with what was found after each, and with the squared norm that was found before each."""
        made = list(rounds)
        for number, found in zip(self._after, self._all(), strict=True):
            if number > 0:
                made[number - 1] = made[number - 1]._replace(
                    train_loss=found.train_loss,
                    test_accuracy=found.test_accuracy,
                    validation_loss=found.validation_loss,
                    validation_accuracy=found.validation_accuracy,
                )
            if number < len(made):
                made[number] = made[number]._replace(grad_norm_sq=found.grad_norm_sq)
        return made
