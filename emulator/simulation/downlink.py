"""The downlink: how the model reaches the devices, how long it takes and what it costs.

Computing starts when every device that takes part has the model, as in the planner's model (docs/theory.md).
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, NamedTuple, Self

import numpy as np
from pydantic import Tag, model_validator

from prefine.emulator.channel.base import Channel, Steps
from prefine.emulator.section import NonNegative, Positive, Section, member
from prefine.emulator.simulation.transfer import transfer_end


class Delivery(NamedTuple):
    """When each of the asked devices has the model, and the server's transmit energy."""

    end_s: tuple[float, ...]
    energy_j: float


class DownlinkSection(Section):
    """``[radio.downlink]``, whatever its mode. Each mode is a class; the keys are the same, so that modes can be swept.

    ``delay_s`` and ``energy_j`` a round are those of ``fixed``. The modes that transmit send ``payload_bits`` at
    ``power_w`` over ``bandwidth_hz``, at Shannon's rate.

    ``base = "sent"`` sends each device, when it first takes part, the ``base_bits`` of what fine-tuning leaves as it
    is; with ``"held"`` devices have that already.
    """

    transmits: ClassVar[bool] = True
    """Whether deliveries share one band, so that one waits for the other."""

    mode: str
    delay_s: NonNegative = 0.0
    energy_j: NonNegative = 0.0
    power_w: Positive = 1.0
    bandwidth_hz: Positive = 1e6
    payload_bits: Positive | None = None
    base: Literal["held", "sent"] = "held"
    base_bits: Positive | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.mode == "fixed" and self.base == "sent":
            raise ValueError('base = "sent" needs a mode that transmits: mode = "fixed" says what a round takes')
        if self.mode != "fixed" and (self.delay_s or self.energy_j):
            raise ValueError(f'delay_s and energy_j belong to mode = "fixed", mode is "{self.mode}"')
        return self

    def carrying(self, bits: float) -> Self:
        """The same with a payload of ``bits``, unless the section gives one."""
        return self if self.payload_bits is not None else self.model_copy(update={"payload_bits": bits})

    def bearing(self, bits: float) -> "DownlinkSection | None":
        """The delivery of the base model, of ``bits`` unless the section gives them; None where nothing is sent."""
        needed = self.base_bits or bits
        if self.base == "held" or not self.transmits or not needed:
            return None
        return self.model_copy(update={"payload_bits": needed})

    @property
    def bits(self) -> float:
        """The payload; known once `carrying` has said what the network needs."""
        return self.payload_bits or 0.0

    @abstractmethod
    def deliver(
        self, channel: Channel, devices: Sequence[int], start_s: float, noise_psd_w_hz: float, horizon_s: float
    ) -> Delivery:
        """The model's way to ``devices``, beginning at ``start_s``.

        Ends are in the order of ``devices`` and never before ``start_s``; ``inf`` for a device that does not get it by
        ``horizon_s``. The energy is what the server transmits until then.
        """


class FreeDownlink(DownlinkSection):
    """At once and at no energy."""

    transmits = False
    mode: Literal["free"] = "free"

    def deliver(
        self, channel: Channel, devices: Sequence[int], start_s: float, noise_psd_w_hz: float, horizon_s: float
    ) -> Delivery:
        """Everyone has it at ``start_s``."""
        return Delivery((start_s,) * len(devices), 0.0)


class FixedDownlink(DownlinkSection):
    """A given delay and energy a round, whatever the channel; without a barrier, a delivery."""

    transmits = False
    mode: Literal["fixed"] = "fixed"

    def deliver(
        self, channel: Channel, devices: Sequence[int], start_s: float, noise_psd_w_hz: float, horizon_s: float
    ) -> Delivery:
        """``delay_s`` for everyone, ``energy_j`` in all."""
        return Delivery((start_s + self.delay_s,) * len(devices), self.energy_j)


class Broadcast(DownlinkSection):
    """One transmission that all devices hear, at the rate of the weakest at each instant."""

    mode: Literal["broadcast"] = "broadcast"

    def deliver(
        self, channel: Channel, devices: Sequence[int], start_s: float, noise_psd_w_hz: float, horizon_s: float
    ) -> Delivery:
        """Everyone has it when the integral of W log2(1 + p min_k g_k(t) / (N0 W)) reaches the payload."""
        weakest = WeakestOf(channel, tuple(devices))
        end_s = transfer_end(weakest, 0, start_s, self.bits, self.power_w, self.bandwidth_hz, noise_psd_w_hz, horizon_s)
        return Delivery((end_s,) * len(devices), self.power_w * (min(end_s, horizon_s) - start_s))


class Unicast(DownlinkSection):
    """One copy after the other, each at full power over the whole downlink band."""

    mode: Literal["unicast"] = "unicast"

    def deliver(
        self, channel: Channel, devices: Sequence[int], start_s: float, noise_psd_w_hz: float, horizon_s: float
    ) -> Delivery:
        """In the order of ``devices``."""
        ends: list[float] = []
        now_s = start_s
        for device in devices:
            now_s = transfer_end(
                channel, device, now_s, self.bits, self.power_w, self.bandwidth_hz, noise_psd_w_hz, horizon_s
            )
            ends.append(now_s)
        return Delivery(tuple(ends), self.power_w * (min(now_s, horizon_s) - start_s))


Downlink = Annotated[
    Annotated[FreeDownlink, Tag("free")]
    | Annotated[FixedDownlink, Tag("fixed")]
    | Annotated[Broadcast, Tag("broadcast")]
    | Annotated[Unicast, Tag("unicast")],
    member("mode", "free"),
]
"""``[radio.downlink]``: the class of its mode."""


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
