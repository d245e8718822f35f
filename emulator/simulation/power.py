"""Power control: the transmit power of each device's upload, set when its round begins."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from prefine.emulator.channel.base import Channel
from prefine.emulator.physics import upload_power
from prefine.emulator.types import DevicesPlan, FloatArray, IntArray, Problem


class PowerControl(Protocol):
    """Sets powers."""

    def powers(
        self, problem: Problem, channel: Channel, plan: DevicesPlan, devices: IntArray, now_s: float
    ) -> FloatArray:
        """Watts (n,) for each of ``devices`` (n,)."""
        ...


@dataclass(frozen=True)
class FixedPower:
    """As planned."""

    def powers(
        self, problem: Problem, channel: Channel, plan: DevicesPlan, devices: IntArray, now_s: float
    ) -> FloatArray:
        """The plan's."""
        return plan.power_w[devices]


@dataclass(frozen=True)
class TargetPower:
    """What the gain at ``now_s`` needs for the planned upload time, at most the device's limit."""

    def powers(
        self, problem: Problem, channel: Channel, plan: DevicesPlan, devices: IntArray, now_s: float
    ) -> FloatArray:
        """The limit where the gain is zero."""
        radio, band_hz = problem.radio, problem.devices.bandwidth_hz[devices]
        gain = channel.ahead(devices, np.full(len(devices), now_s), 1).gain[:, 0]
        with np.errstate(divide="ignore", over="ignore"):
            needed_w = upload_power(radio.uplink_bits, band_hz, plan.upload_s[devices], gain, radio.noise_psd_w_hz)
        return np.minimum(needed_w, problem.devices.max_power_w[devices])
