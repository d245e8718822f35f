"""A channel whose steps are kept, for those who run the same time over and over."""

import numpy as np

from prefine.emulator.channel.base import Channel, Steps
from prefine.emulator.types import FloatArray, IntArray

MOST_STEPS = 4_000_000
"""Steps kept for all devices together, 64 MB: more would save their evaluation again, in longer or larger worlds."""

_AT_ONCE = 256
"""Steps asked for at a time."""


class RememberedChannel(Channel):
    """The same steps as ``channel``, each evaluated once; what is beyond `MOST_STEPS` is asked for again and again."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._kept: dict[int, Steps] = {}
        self._room = MOST_STEPS

    @property
    def undisturbed(self) -> Channel:
        """That of the channel; not remembered."""
        return self._channel.undisturbed

    def gain(self, device: int, time_s: float) -> float:
        """The gain of ``device`` at ``time_s``."""
        return float(self.steps(device, time_s, 1).gain[0])

    def steps(self, device: int, start_s: float, count: int) -> Steps:
        """Up to ``count`` steps of ``device`` from ``start_s`` on."""
        kept = self._until(device, start_s)
        first = int(np.searchsorted(kept.end_s, start_s, side="right"))
        if first == len(kept.end_s):  # no room was left for it
            return self._channel.steps(device, start_s, count)
        return Steps(kept.end_s[first : first + count], kept.gain[first : first + count])

    def ahead(self, devices: IntArray, time_s: FloatArray, count: int) -> Steps:
        """As many steps as an upload is likely to span, for they are at hand: at least ``count``, where there are."""
        return super().ahead(devices, time_s, max(count, _AT_ONCE))

    def _until(self, device: int, time_s: float) -> Steps:
        """What is kept of ``device``, to beyond ``time_s`` where there is room."""
        kept = self._kept.get(device) or self._channel.steps(device, 0.0, _AT_ONCE)
        while kept.end_s[-1] <= time_s and self._room > 0:
            more = self._channel.steps(device, float(kept.end_s[-1]), _AT_ONCE)
            self._room -= len(more.gain)
            kept = Steps(np.concatenate([kept.end_s, more.end_s]), np.concatenate([kept.gain, more.gain]))
        self._kept[device] = kept
        return kept
