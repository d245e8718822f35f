"""The channel of places in which other clients sit from round to round."""

from collections.abc import Callable, Sequence

from prefine.emulator.channel.base import Channel, Steps
from prefine.emulator.types import FloatArray, IntArray


class SeatedChannel(Channel):
    """Device k is the client that sits in place k: the contract of `Channel` holds from one `seat` to the next.

    ``of`` gives the channel of clients with these numbers (K,); ``first`` sit there at the beginning. A client's gain
    at a time is the same whenever it is there, in whatever place.
    """

    def __init__(self, of: Callable[[Sequence[int]], Channel], first: Sequence[int]) -> None:
        self._of = of
        self.seat(first)

    def seat(self, clients: Sequence[int]) -> None:
        """From now on ``clients`` (K,) sit in the places."""
        self._now = self._of(clients)

    @property
    def undisturbed(self) -> Channel:
        """That of those who are there now."""
        return self._now.undisturbed

    def gain(self, device: int, time_s: float) -> float:
        """The gain of who is in place ``device``."""
        return self._now.gain(device, time_s)

    def steps(self, device: int, start_s: float, count: int) -> Steps:
        """The steps of who is in place ``device``."""
        return self._now.steps(device, start_s, count)

    def ahead(self, devices: IntArray, time_s: FloatArray, count: int) -> Steps:
        """The steps of those who are in places ``devices`` (n,)."""
        return self._now.ahead(devices, time_s, count)
