"""Rules that know the channel alone: random, round robin, best channel, proportional fair."""

from dataclasses import dataclass

import numpy as np

from prefine.emulator.types import FloatArray, IntArray, Observation
from prefine.policies.feasibility import require_flag
from prefine.policies.selection.base import PLACE, Choice, Counted, own_draws


@dataclass(frozen=True, kw_only=True)
class RandomK(Counted):
    """``count`` devices drawn uniformly without replacement.

    With ``unbiased`` an update's weight is its share of the task loss over the probability of being drawn, count / n
    of n candidates, and not scaled to a sum of one: the mean step is that of all candidates.
    Source: McMahan et al., AISTATS 2017 (FedAvg's client sampling); Horvitz and Thompson (1952) for the weights.
    """

    unbiased: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        require_flag(PLACE, "unbiased", self.unbiased)

    def choose(self, observation: Observation, candidates: IntArray) -> Choice:
        """See `Selection`."""
        count = min(self.count, len(candidates))
        devices = np.sort(own_draws(observation).choice(candidates, count, replace=False))
        if not self.unbiased:
            return Choice(devices)
        return Choice(devices, observation.problem.devices.weight[devices] * (len(candidates) / count))


@dataclass(frozen=True, kw_only=True)
class RoundRobin(Counted):
    """``count`` devices in turn, in the order of their numbers; who cannot take part is passed over.

    Source: Yang, Liu, Quek, Poor, "Scheduling Policies for Federated Learning in Wireless Networks", IEEE TCOM 2020.
    """

    def choose(self, observation: Observation, candidates: IntArray) -> Choice:
        """See `Selection`."""
        everyone = len(observation.gain)
        turn = (candidates - observation.finetune_rounds_done * self.count) % everyone
        return Choice(np.sort(candidates[np.argsort(turn)[: self.count]]))


@dataclass(frozen=True, kw_only=True)
class BestChannel(Counted):
    """The ``count`` devices whose gains are largest now.

    Source: Amiri, Gunduz, Kulkarni, Poor, "Convergence of Update Aware Device Scheduling for Federated Learning at the
    Wireless Edge", IEEE TWC 2021 (its policy BC).
    """

    def choose(self, observation: Observation, candidates: IntArray) -> Choice:
        """See `Selection`."""
        return Choice(largest(observation.gain[candidates], candidates, self.count))


@dataclass(frozen=True, kw_only=True)
class ProportionalFair(Counted):
    """The ``count`` devices whose signal-to-noise ratios stand highest over their own means so far.

    At a device's own power and band that is the ratio of its gain to its mean gain. Source: Yang, Liu, Quek, Poor,
    IEEE TCOM 2020 (PF), with the mean over the decisions so far.
    """

    def choose(self, observation: Observation, candidates: IntArray) -> Choice:
        """See `Selection`."""
        ratio = observation.gain[candidates] / observation.facts.mean_gain[candidates]
        return Choice(largest(ratio, candidates, self.count))


def largest(values: FloatArray, candidates: IntArray, count: int) -> IntArray:
    """The ``count`` of the ``candidates`` with the largest ``values`` (n,), in rising order; the first of equals."""
    order = np.argsort(-values, kind="stable")
    return np.sort(candidates[order[:count]])
