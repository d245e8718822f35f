"""Power-of-choice: of some candidates, those whose losses are largest."""

from dataclasses import dataclass

import numpy as np

from prefine.emulator.types import IntArray, Observation
from prefine.policies.feasibility import require_at_least
from prefine.policies.selection.base import PLACE, Choice, Counted, own_draws


@dataclass(frozen=True, kw_only=True)
class PowerOfChoice(Counted):
    """Draws ``drawn`` devices by their shares of the task loss, without replacement, and takes the ``count`` worst off.

    The loss of a device is the one it reported last; who never reported comes first. All updates weigh the same, for
    the draw follows the shares already. Source: Cho, Wang, Joshi, "Client Selection in Federated Learning: Convergence
    Analysis and Power-of-Choice Selection Strategies", 2020 (arXiv 2010.01243), the variant rpow-d, which costs nothing
    on the air; their pow-d sends the model to all that are drawn first.
    """

    drawn: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(PLACE, "drawn", self.drawn, self.count)

    def choose(self, observation: Observation, candidates: IntArray) -> Choice:
        """See `Selection`."""
        share = observation.problem.devices.weight[candidates]
        drawn = min(self.drawn, len(candidates))
        order = own_draws(observation).choice(candidates, drawn, replace=False, p=share / share.sum())
        loss = np.nan_to_num(observation.facts.loss[order], nan=np.inf)
        devices = np.sort(order[np.argsort(-loss, kind="stable")[: self.count]])
        return Choice(devices, np.full(len(devices), 1.0 / len(devices)))
