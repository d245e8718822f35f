"""Training without a barrier: each device works from a copy of the model as it was when the device was sent out."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from prefine.emulator.types import FloatArray, IntArray, Merge
from prefine.models.learner import Learner
from prefine.models.objective import one_thread


class Copy(NamedTuple):
    """The model (P,) that devices were handed, and the step size that came with it."""

    weights: Tensor
    rate: float


class Arrival(NamedTuple):
    """What is in the buffer of one device's work: the task rows of its mini-batches, and the model it began with."""

    device: int
    rows: IntArray
    start: Copy


class AsynchronousLearner(Learner):
    """A `Learner` that keeps the model each device was handed; see `prefine.emulator.types.AsynchronousLearner`.

    A device's gradients are computed when its update is merged, at the model that it was handed. Devices with the same
    model share a copy, and compute together.
    """

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self._handed: dict[int, Copy] = {}
        self._buffer: list[Arrival] = []
        self._present: tuple[Copy, ...] = ()

    def hand_out(self, devices: IntArray) -> None:
        """``devices`` (n,) have the present model from now on, and the step size of the next update."""
        self.hand_over()
        self._present = self._present or (
            Copy(self.objective.weights.clone(), self._step.rate_at(self._finetune_rounds)),
        )
        self._handed |= dict.fromkeys(devices.tolist(), self._present[0])

    def receive(self, device: int, batch: int) -> None:
        """The work of ``device`` is in the buffer; its samples are drawn now."""
        rows = self._devices[device].take(self.hand_over().local_steps * batch)
        self._buffer.append(Arrival(device, rows, self._handed.pop(device)))

    def merge(self, weights: FloatArray, by: Merge) -> None:
        """The server's step. Raises InputError where a user's algorithm fails.

        With the updates u_i = (s_i - w_i) / r_i of devices that were handed s_i and the step size r_i, the algorithm's
        server step makes a direction of sum_i weights_i r_i u_i / r, to which ``models`` adds sum_i weights_i (w - s_i)
        / r, and the recipe steps along it by its own r.
        """
        round_ = self.hand_over()
        rate = self._step.rate_at(self._finetune_rounds)
        self._finetune_rounds += 1
        arrivals, self._buffer, self._present = self._buffer, [], ()
        if not weights.any():
            return
        objective = self.objective
        with one_thread():
            total = torch.zeros_like(objective.weights)
            for index in _together(arrivals):
                group, share = [arrivals[i] for i in index], weights[index]
                start = group[0].start
                devices = np.array([arrival.device for arrival in group])
                if by == "models":
                    total += float(share.sum()) / rate * (objective.weights - start.weights)
                with objective.at(start.weights):
                    sizes = np.array([len(arrival.rows) for arrival in group]) // round_.local_steps
                    rows = np.concatenate([arrival.rows for arrival in group])
                    made = round_.mean(devices, sizes, share).of(rows, start.rate)
                    total += start.rate / rate * made
                self._unread = devices
                self._read_reports()
            self._move(round_.direction(total), rate)

    def _move(self, gradient: Tensor, rate: float) -> None:
        self._present = ()
        super()._move(gradient, rate)


def _together(arrivals: list[Arrival]) -> Iterator[list[int]]:
    """The arrivals that one computation serves: of one start, no device twice, each device's in their order."""
    groups: dict[tuple[int, int], list[int]] = {}
    seen: dict[int, int] = {}
    for i, arrival in enumerate(arrivals):
        seen[arrival.device] = seen.get(arrival.device, 0) + 1
        groups.setdefault((seen[arrival.device], id(arrival.start)), []).append(i)
    for _, group in sorted(groups.items(), key=lambda item: item[0][0]):
        yield group
