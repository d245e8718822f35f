"""Uploads that each have a band of their own: nothing changes their rate, so each is one stretch and one event."""

import math
from typing import Protocol

import numpy as np
import simpy

from prefine.emulator.channel.base import Channel
from prefine.emulator.errors import TraceEndError
from prefine.emulator.simulation.energy import Battery, BatteryEmptyError, EnergyExhaustedError
from prefine.emulator.simulation.radio import Access
from prefine.emulator.simulation.transfer import delivered_bits, transfer_end
from prefine.emulator.simulation.uplink import Booking, Passing, Uplink
from prefine.emulator.simulation.uploads import Uploads
from prefine.emulator.types import FloatArray, IntArray

Foreseen = tuple[float, float, float]
"""An upload as it will be, where nothing cuts it off: when it begins and ends, and what it has delivered by then."""

NOT_FORESEEN: Foreseen = math.nan, math.nan, math.nan


class Carrier(Protocol):
    """Carries the uploads of a run."""

    peak_band_hz: float
    """The widest sum of bands in use at once, for the audit."""

    def foresee(
        self,
        devices: IntArray,
        start_s: FloatArray,
        bits: float,
        power_w: FloatArray,
        own_hz: FloatArray,
        limit_s: float,
    ) -> None:
        """The next uploads of ``devices`` (n,) are these, if they begin at ``start_s`` (n,) at all: a hint, no more."""
        ...

    def carry(
        self,
        device: int,
        bits: float,
        power_w: float,
        limit_s: float,
        battery: Battery,
        own_hz: float,
        booked: Booking,
    ) -> Passing:
        """Send ``bits`` at ``power_w``; whoever waits will be interrupted by ``limit_s``. All of it is ``booked``.

        ``own_hz`` is the device's own band in this round, which counts where the access is one band for each.
        Raises BatteryEmptyError and EnergyExhaustedError where the next stretch is not covered.
        """
        ...


class OwnBands:
    """The `Carrier` of an access with a band for each device."""

    def __init__(self, env: simpy.Environment, channel: Channel, noise_psd_w_hz: FloatArray) -> None:
        """``noise_psd_w_hz`` (K,) is what each device's signal meets at the server."""
        self._env = env
        self._channel = channel
        self._noise_psd_w_hz = noise_psd_w_hz
        self._noises_w_hz: list[float] = noise_psd_w_hz.tolist()
        self._foreseen: dict[int, Foreseen] = {}
        self._devices, self._own_hz = np.arange(0), np.empty(0)
        self._uploads = Uploads(channel, self._devices, 0.0, self._own_hz, self._own_hz)
        self._band_hz = 0.0
        self.peak_band_hz = 0.0

    def foresee(
        self,
        devices: IntArray,
        start_s: FloatArray,
        bits: float,
        power_w: FloatArray,
        own_hz: FloatArray,
        limit_s: float,
    ) -> None:
        """Worked out for all at once, which takes a fraction of one by one."""
        self._foreseen.clear()
        if (devices is not self._devices) or (own_hz is not self._own_hz):
            self._devices, self._own_hz = devices, own_hz
            self._uploads = Uploads(self._channel, devices, bits, own_hz, self._noise_psd_w_hz[devices])
        try:
            ends = self._uploads.exactly(start_s, power_w, limit_s)
        except TraceEndError:  # not everybody may come so far
            return
        columns = (column.tolist() for column in (start_s, *ends))
        self._foreseen = dict(zip(devices.tolist(), zip(*columns, strict=True), strict=True))

    def carry(
        self,
        device: int,
        bits: float,
        power_w: float,
        limit_s: float,
        battery: Battery,
        own_hz: float,
        booked: Booking,
    ) -> Passing:
        """As `Carrier` says."""
        env, link = self._env, (power_w, own_hz, self._noises_w_hz[device])
        since_s = env.now
        start_s, end_s, delivered = self._foreseen.pop(device, NOT_FORESEEN)
        if start_s != since_s:
            end_s, delivered = transfer_end(self._channel, device, since_s, bits, *link, limit_s), math.nan
        try:
            held_j = battery.hold(power_w * (min(end_s, limit_s) - since_s))
        except (BatteryEmptyError, EnergyExhaustedError) as error:
            refusal = env.event().fail(error)
            refusal.defused = True
            yield refusal
            raise
        self._band_hz += own_hz
        self.peak_band_hz = max(self.peak_band_hz, self._band_hz)
        try:
            yield env.timeout(end_s - since_s) if math.isfinite(end_s) else env.event()
        finally:
            now_s = env.now
            self._band_hz -= own_hz
            if now_s != end_s or math.isnan(delivered):
                delivered = delivered_bits(self._channel, device, since_s, now_s, *link) if now_s > since_s else 0.0
            energy_j = power_w * (now_s - since_s)
            battery.settle("uplink", held_j, energy_j)
            booked.uplink_energy_j += energy_j
            booked.delivered_bits = delivered


def carrier_of(env: simpy.Environment, channel: Channel, access: Access, noise_psd_w_hz: FloatArray) -> Carrier:
    """What carries uploads under ``access``."""
    if access.is_separate:
        return OwnBands(env, channel, noise_psd_w_hz)
    return Uplink(env, channel, access, noise_psd_w_hz)
