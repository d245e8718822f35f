"""Who was to take part in each fine-tuning round, with what weights, and what that means for the bound."""

from operator import is_

import numpy as np
from numpy.typing import NDArray

from prefine.emulator.simulation.spec import WITHOUT_SOME
from prefine.emulator.types import FloatArray, IntArray, RoundDecision


class Choices:
    """Keeps what a policy has decided of participants and weights; ``share`` (K,) are the shares of the task loss."""

    def __init__(self, share: FloatArray) -> None:
        self._share = share
        self._own_weights = False
        self._everyone = np.ones(len(share), dtype=np.bool_)
        self._asked: tuple[object, ...] = (None, None, None)
        self._weights = np.zeros(len(share))
        self.made: dict[int, NDArray[np.bool_]] = {}
        """Whom the policy chose, (K,), by the number of the fine-tuning round; of rounds open to all, nothing."""

    def of(self, decision: RoundDecision, number: int) -> NDArray[np.bool_]:
        """Who may take part in round ``number``, (K,)."""
        if decision.participants is None:
            return self._everyone
        self.made[number] = decision.participants > 0.0
        return self.made[number]

    def weights(self, decision: RoundDecision, members: IntArray, arrived: IntArray) -> FloatArray:
        """Weights (K,) in the step: those of the ``members``, shared out among the ``arrived``, of whom one counts.

        All are zero where none of them counts.
        """
        asked = decision, members, arrived
        if not all(map(is_, asked, self._asked)):
            self._asked, self._weights = asked, self._shared_out(*asked)
        return self._weights.copy()

    def _shared_out(self, decision: RoundDecision, members: IntArray, arrived: IntArray) -> FloatArray:
        own, wanted = decision.weight is not None, self._wanted(decision)
        weights = np.zeros(len(wanted))
        weights[arrived] = wanted[arrived]
        present = weights.sum()
        if present == 0.0:
            return weights
        self._own_weights |= own
        whole: FloatArray = weights * (wanted[members].sum() / present) if own else weights / present
        return whole

    def begun(self, decision: RoundDecision, devices: IntArray) -> FloatArray:
        """What the work counts, (n,), that ``devices`` (n,) begin; without a barrier only the ratios matter."""
        self._own_weights |= decision.weight is not None
        return self._wanted(decision)[devices]

    def _wanted(self, decision: RoundDecision) -> FloatArray:
        return self._share if decision.weight is None else decision.weight

    @property
    def outside_proof(self) -> tuple[str, ...]:
        """What of all this the proof of the bound does not cover."""
        left_out = any(not chosen.all() for chosen in self.made.values())
        return (WITHOUT_SOME,) * left_out + ("weights of the policy's",) * self._own_weights
