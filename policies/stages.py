"""Both stages of a problem, ready to be priced."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from prefine.emulator.bound import BoundTerms
from prefine.emulator.physics import upload_time
from prefine.emulator.types import DevicesPlan, FloatArray, Problem
from prefine.policies.device_stage import DeviceStage
from prefine.policies.server_stage import ServerStage


@dataclass(frozen=True)
class Stages:
    """A problem with its bound's coefficients and the two closed-form responses.

    ``full_power`` pins every device to its maximum power.
    """

    problem: Problem
    full_power: bool = False

    @cached_property
    def terms(self) -> BoundTerms:
        """Coefficients of both bounds."""
        return BoundTerms.of(self.problem)

    @cached_property
    def server(self) -> ServerStage:
        """The server's response to prices."""
        return ServerStage(self.problem.server, self.terms.server_noise)

    @cached_property
    def devices(self) -> DeviceStage:
        """The devices' response to prices; ask only where `reachable`."""
        problem = self.problem
        return DeviceStage(problem.devices, problem.radio, self.terms.device_noise, full_power=self.full_power)

    @property
    def reachable(self) -> bool:
        """Whether every device has a link at all."""
        return bool(np.all(self.problem.devices.gain > 0.0))

    def idle(self, batch: FloatArray) -> DevicesPlan:
        """What a plan without fine-tuning rounds shows for the devices: ``batch`` (K,) at full speed and power."""
        devices, radio = self.problem.devices, self.problem.radio
        with np.errstate(divide="ignore"):
            upload_s = upload_time(
                radio.uplink_bits, devices.bandwidth_hz, devices.max_power_w, devices.gain, radio.noise_psd_w_hz
            )
        return DevicesPlan(batch, devices.max_frequency_hz, devices.max_power_w, upload_s)
