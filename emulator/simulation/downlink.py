"""The downlink: how the model reaches the devices, how long it takes and what it costs.

Computing starts when every device that takes part has the model, as in the planner's model (docs/theory.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from prefine.emulator.channel.base import Channel, Steps
from prefine.emulator.simulation.transfer import transfer_end


class Delivery(NamedTuple):
    """When each of the asked devices has the model, and the server's transmit energy."""

    end_s: tuple[float, ...]
    energy_j: float


class Downlink(Protocol):
    """Delivers the model."""

    def deliver(self, channel: Channel, devices: Sequence[int], start_s: float) -> Delivery:
        """To ``devices``, beginning at ``start_s``; ends are ``inf`` for a device without signal."""
        ...


@dataclass(frozen=True)
class FixedDownlink:
    """A given delay and energy a round, whatever the channel; both 0 is a free downlink."""

    delay_s: float = 0.0
    energy_j: float = 0.0

    def deliver(self, channel: Channel, devices: Sequence[int], start_s: float) -> Delivery:
        """The given delay for everyone."""
        return Delivery((start_s + self.delay_s,) * len(devices), self.energy_j)


@dataclass(frozen=True)
class Broadcast:
    """One transmission that all devices hear, at the rate of the weakest at each instant."""

    bits: float
    power_w: float
    bandwidth_hz: float
    noise_psd_w_hz: float
    horizon_s: float

    def deliver(self, channel: Channel, devices: Sequence[int], start_s: float) -> Delivery:
        """Everyone has it at the same time."""
        weakest = WeakestOf(channel, tuple(devices))
        end_s = transfer_end(
            weakest, 0, start_s, self.bits, self.power_w, self.bandwidth_hz, self.noise_psd_w_hz, self.horizon_s
        )
        return Delivery((end_s,) * len(devices), self.power_w * (min(end_s, self.horizon_s) - start_s))


@dataclass(frozen=True)
class Unicast:
    """One copy after the other, each at full power over the whole downlink band."""

    bits: float
    power_w: float
    bandwidth_hz: float
    noise_psd_w_hz: float
    horizon_s: float

    def deliver(self, channel: Channel, devices: Sequence[int], start_s: float) -> Delivery:
        """In the order of ``devices``."""
        ends: list[float] = []
        now_s = start_s
        for device in devices:
            now_s = transfer_end(
                channel, device, now_s, self.bits, self.power_w, self.bandwidth_hz, self.noise_psd_w_hz, self.horizon_s
            )
            ends.append(now_s)
        return Delivery(tuple(ends), self.power_w * (min(now_s, self.horizon_s) - start_s))


@dataclass(frozen=True)
class WeakestOf(Channel):
    """A channel whose gain is the least among ``devices``; its own devices all look alike."""

    channel: Channel
    devices: tuple[int, ...]

    def gain(self, device: int, time_s: float) -> float:
        """The least gain at ``time_s``."""
        return min(self.channel.gain(member, time_s) for member in self.devices)

    def steps(self, device: int, start_s: float, count: int) -> Steps:
        """A new step wherever any member has one, as far as all of them are known."""
        members = [self.channel.steps(member, start_s, count) for member in self.devices]
        known_s = min(float(member.end_s[-1]) for member in members)
        ends = np.unique(np.concatenate([member.end_s for member in members]))
        ends = ends[ends <= known_s]
        gains = [member.gain[np.searchsorted(member.end_s, ends)] for member in members]
        return Steps(ends, np.min(gains, axis=0))
