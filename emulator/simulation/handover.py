"""Deliveries of one run: a round's model, and before it the base model to who has never taken part.

What fine-tuning leaves as it is (docs/learning.md, "What is fine-tuned") travels once to each device.
"""

import math
from collections.abc import Sequence

from prefine.emulator.channel.base import Channel
from prefine.emulator.simulation.downlink import Delivery, DownlinkSection


class Deliveries:
    """Sends every round's model by ``downlink``; devices have all else already."""

    def __init__(self, downlink: DownlinkSection) -> None:
        self._downlink = downlink

    @property
    def transmits(self) -> bool:
        """Whether deliveries share one band, so that one waits for the other."""
        return self._downlink.transmits

    def have_served(self, devices: Sequence[int]) -> bool:
        """Whether none of ``devices`` is owed more than the round's model."""
        return True

    def deliver(
        self,
        channel: Channel,
        devices: Sequence[int],
        start_s: float,
        noise_psd_w_hz: float,
        horizon_s: float,
        limit_s: float = math.inf,
    ) -> Delivery:
        """See `DownlinkSection.deliver`; who lacks something at ``limit_s`` gives up, and begins anew next time."""
        return self._downlink.deliver(channel, devices, start_s, noise_psd_w_hz, horizon_s)


class HandedOver(Deliveries):
    """Sends ``base`` first to those of the ``devices`` who never got all of it; then every round's model to everyone.

    One after the other in one band: nobody is sent a round's model before the last has its base model.
    """

    def __init__(self, downlink: DownlinkSection, base: DownlinkSection) -> None:
        super().__init__(downlink)
        self._base, self._served = base, set[int]()

    def have_served(self, devices: Sequence[int]) -> bool:
        """Whether each has its base model."""
        return self._served.issuperset(devices)

    def deliver(
        self,
        channel: Channel,
        devices: Sequence[int],
        start_s: float,
        noise_psd_w_hz: float,
        horizon_s: float,
        limit_s: float = math.inf,
    ) -> Delivery:
        """The base model's way, then the model's; as `Deliveries.deliver`."""
        new = [device for device in devices if device not in self._served]
        if not new:
            return super().deliver(channel, devices, start_s, noise_psd_w_hz, horizon_s)
        until_s = min(horizon_s, limit_s)
        base = self._base.deliver(channel, new, start_s, noise_psd_w_hz, until_s)
        self._served |= {device for device, end_s in zip(new, base.end_s, strict=True) if end_s <= until_s}
        last_s = max(base.end_s)
        if last_s > until_s:
            return Delivery((math.inf,) * len(devices), base.energy_j)
        rest = super().deliver(channel, devices, last_s, noise_psd_w_hz, horizon_s)
        return Delivery(rest.end_s, base.energy_j + rest.energy_j)


def deliveries(downlink: DownlinkSection, base_bits: float) -> Deliveries:
    """Those of a new run, whose devices need ``base_bits`` besides what every round sends."""
    base = downlink.bearing(base_bits)
    return Deliveries(downlink) if base is None else HandedOver(downlink, base)
