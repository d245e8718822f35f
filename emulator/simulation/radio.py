"""The radio side of a round: multiple access (who has how much of the uplink band when) and power control.

An access answers each coming and going with the bandwidths that change, in Hz, and until when its answer holds. Power
control sets each device's transmit power when its round begins. Rates follow Shannon (`prefine.emulator.physics.rate`).
Left out: guard bands and guard times, the granularity of resource blocks and power steps, and the signalling
that both need.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple, Protocol

import numpy as np

from prefine.emulator.access import noise_psd_w_hz, planned_bands_hz
from prefine.emulator.channel.base import Channel
from prefine.emulator.physics import upload_power
from prefine.emulator.types import DevicesPlan, FloatArray, IntArray, Problem


class Shares(NamedTuple):
    """The bandwidths that change now, by device, and when the discipline wants to be asked again."""

    bandwidth_hz: Mapping[int, float]
    until_s: float = math.inf


class Access(Protocol):
    """Shares the band sum(own_hz) among the devices that are sending.

    Contract: at any time the bandwidths in force are at least 0 and sum to at most the band (the audit checks it). They
    depend on who is sending, in order of arrival, and on the time alone: never on gains, payloads or what was asked
    before. A device whose bandwidth is 0 waits, at no energy.
    """

    @property
    def is_separate(self) -> bool:
        """Whether each device always has its own band, whoever else sends."""
        ...

    def share(self, sending: Collection[int], joined: int | None, now_s: float) -> Shares:
        """What changes from ``now_s`` on.

        ``sending`` holds at least one device, in order of arrival; ``joined`` is who has just come, ``None`` where
        somebody left or a slot is over. Devices that are not in the answer keep the bandwidth they have.
        """
        ...


@dataclass(frozen=True)
class Fdma:
    """Every device keeps its own band ``own_hz`` (K,), or the one that a plan gave it, whoever else sends."""

    own_hz: FloatArray

    is_separate = True

    def share(self, sending: Collection[int], joined: int | None, now_s: float) -> Shares:
        """Only a newcomer's band changes."""
        return Shares({} if joined is None else {joined: float(self.own_hz[joined])})


@dataclass(frozen=True)
class Ofdma:
    """The whole band, always, among those still sending: W own_hz[k] / (sum of own_hz over those sending)."""

    own_hz: FloatArray

    is_separate = False

    def share(self, sending: Collection[int], joined: int | None, now_s: float) -> Shares:
        """Everybody's band changes whenever somebody comes or goes."""
        scale = float(self.own_hz.sum()) / math.fsum(float(self.own_hz[device]) for device in sending)
        return Shares({device: scale * float(self.own_hz[device]) for device in sending})


@dataclass(frozen=True)
class Tdma:
    """One device at a time on the whole band, in slots of ``slot_s`` that go round among those sending.

    An infinite slot is first come, first served, each to its end.
    """

    own_hz: FloatArray
    slot_s: float = math.inf

    is_separate = False

    def share(self, sending: Collection[int], joined: int | None, now_s: float) -> Shares:
        """The whole band for whoever's slot it is, nothing for the others."""
        slot = self._slot(now_s)
        turn = next(islice(sending, slot % len(sending), None))
        total_hz = float(self.own_hz.sum())
        return Shares({device: total_hz * (device == turn) for device in sending}, (slot + 1) * self.slot_s)

    def _slot(self, now_s: float) -> int:
        if math.isinf(self.slot_s):
            return 0
        slot = math.floor(now_s / self.slot_s)
        return slot + 1 if (slot + 1) * self.slot_s <= now_s else slot


class PowerControl(Protocol):
    """Sets the power of each upload at the start of its round; it holds for the whole upload."""

    @property
    def is_fixed(self) -> bool:
        """Whether it is the same in every round of a plan."""
        ...

    def powers(
        self, problem: Problem, channel: Channel, plan: DevicesPlan, devices: IntArray, now_s: float
    ) -> FloatArray:
        """Watts (n,), above 0 and within the device's limits, for ``devices`` (n,) in a round from ``now_s`` on."""
        ...


@dataclass(frozen=True)
class FixedPower:
    """The power that the plan says, whatever the gain."""

    is_fixed = True

    def powers(
        self, problem: Problem, channel: Channel, plan: DevicesPlan, devices: IntArray, now_s: float
    ) -> FloatArray:
        """The plan's ``power_w`` of ``devices``."""
        return plan.power_w[devices]


@dataclass(frozen=True)
class TargetPower:
    """Open-loop control: p = (2^(Q / (t W)) - 1) N0 W / g, within the device's limits.

    Q bits in the planned upload time t over the gain g at the start of the round, in the band W that the plan counts
    on. What the gain does later in the round is not followed.
    """

    is_fixed = False

    def powers(
        self, problem: Problem, channel: Channel, plan: DevicesPlan, devices: IntArray, now_s: float
    ) -> FloatArray:
        """The formula above; the limit where the gain is zero."""
        radio = problem.radio
        band_hz = planned_bands_hz(problem.devices, radio, plan.bandwidth_hz)[devices]
        noise_psd = np.broadcast_to(noise_psd_w_hz(problem.devices, radio), len(problem.devices))[devices]
        gain = channel.ahead(devices, np.full(len(devices), now_s), 1).gain[:, 0]
        with np.errstate(divide="ignore", over="ignore"):
            needed_w = upload_power(radio.uplink_bits, band_hz, plan.upload_s[devices], gain, noise_psd)
        least_w, most_w = problem.devices.least_power_w[devices], problem.devices.max_power_w[devices]
        return np.clip(needed_w, least_w, most_w)
