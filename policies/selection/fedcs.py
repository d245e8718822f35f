"""FedCS: as many devices as possible within a deadline."""

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from prefine.emulator.access import sending_s
from prefine.emulator.physics import compute_time
from prefine.emulator.types import FloatArray, IntArray, Observation
from prefine.policies.feasibility import require_fraction, require_not_negative, require_one_of
from prefine.policies.selection.base import PLACE, Choice, Selection, own_draws, planned_round_s


@dataclass(frozen=True, kw_only=True)
class FedCS(Selection):
    """As many devices as a round of ``deadline_s`` holds (0: as long as the plan's round), doing what the plan says.

    ``share`` of the devices, drawn at random, are asked. ``uploads`` says how their uploads are reckoned: ``"in-turn"``
    as in the source, where each waits for the one before and devices are added greedily, the one that makes the round
    least longer first; ``"at-once"`` for bands of their own, where everyone who is quick enough takes part. Times are
    those of the plan's batches, frequencies and powers on the gains just seen. Where nobody is quick enough, the
    quickest takes part alone.

    Source: Nishio and Yonetani, "Client Selection for Federated Learning with Heterogeneous Resources in Mobile Edge",
    ICC 2019, algorithm 3. Its distribution time is the downlink's, the same whoever takes part.
    """

    deadline_s: float = 0.0
    share: float = 1.0
    uploads: Literal["in-turn", "at-once"] = "at-once"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_fraction(PLACE, "share", self.share)
        require_one_of(PLACE, "uploads", self.uploads, ("in-turn", "at-once"))
        require_not_negative(PLACE, "deadline_s", self.deadline_s)

    def choose(self, observation: Observation, candidates: IntArray) -> Choice:
        """See `Selection`."""
        count = max(1, math.ceil(self.share * len(candidates)))
        asked = np.sort(own_draws(observation).choice(candidates, count, replace=False))
        deadline_s = self.deadline_s or planned_round_s(observation)
        compute_s, upload_s = _times(observation, asked)
        left_s = deadline_s - observation.problem.radio.downlink_delay_s
        if self.uploads == "in-turn":
            fitting = greedy(compute_s, upload_s, left_s)
        else:
            fitting = np.flatnonzero(compute_s + upload_s <= left_s)
        if not len(fitting):
            return Choice(asked[[np.argmin(compute_s + upload_s)]])
        return Choice(asked[fitting], deadline_s=deadline_s)


def greedy(compute_s: FloatArray, upload_s: FloatArray, left_s: float) -> IntArray:
    """Who takes part, in rising order, where uploads follow each other and all must be over by ``left_s``.

    The next is whoever makes the round least longer: by its upload, and by what it still computes when those before it
    have sent. One that does not fit is dropped, and the next is tried. Source: algorithm 3 of `FedCS`.
    """
    left, chosen, elapsed_s = list(range(len(compute_s))), [], 0.0
    while left:
        ends_s = elapsed_s + upload_s[left] + np.maximum(0.0, compute_s[left] - elapsed_s)
        first = int(np.argmin(ends_s))
        device = left.pop(first)
        if ends_s[first] <= left_s:
            elapsed_s = float(ends_s[first])
            chosen.append(device)
    return np.array(sorted(chosen), dtype=np.int64)


def _times(observation: Observation, asked: IntArray) -> tuple[FloatArray, FloatArray]:
    """Seconds that those ``asked`` compute and send, doing what the plan says, on the gains seen."""
    plan, problem = observation.plan.devices.at(asked), observation.problem
    devices = replace(problem.devices.at(asked), gain=observation.gain[asked])
    compute_s = compute_time(plan.batch, devices.cycles_per_sample, plan.frequency_hz)
    return compute_s, sending_s(devices, problem.radio, plan.power_w, plan.bandwidth_hz)
