"""Uploads that each have a band of their own: nothing changes their rate, so each is one stretch and one event."""

import math
from functools import partial
from typing import Protocol

import numpy as np
import simpy

from prefine.emulator.channel.base import Channel
from prefine.emulator.errors import TraceEndError
from prefine.emulator.simulation.energy import Battery, BatteryEmptyError, EnergyExhaustedError
from prefine.emulator.simulation.radio import Access
from prefine.emulator.simulation.transfer import Uploads, delivered_bits, transfer_end
from prefine.emulator.simulation.uplink import Transfer, Uplink
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

    def send(
        self, device: int, bits: float, power_w: float, limit_s: float, battery: Battery, own_hz: float
    ) -> Transfer:
        """Start an upload of ``bits`` at ``power_w``; wait for its ``done``. It will be aborted by ``limit_s``.

        ``own_hz`` is the device's own band in this round, which counts where the access is one band for each.
        """
        ...

    def abort(self, transfer: Transfer) -> None:
        """End an upload before its time; what it delivered and used stays booked on it."""
        ...


class OwnBands:
    """The `Carrier` of an access with a band for each device."""

    def __init__(self, env: simpy.Environment, channel: Channel, noise_psd_w_hz: FloatArray) -> None:
        """``noise_psd_w_hz`` (K,) is what each device's signal meets at the server."""
        self._env = env
        self._channel = channel
        self._noise_psd_w_hz = noise_psd_w_hz
        self._foreseen: dict[int, Foreseen] = {}
        self._devices, self._own_hz = np.arange(0), np.empty(0)
        self._uploads = Uploads(channel, self._devices, 0.0, self._own_hz, self._own_hz)
        self._under_way: dict[int, Transfer] = {}
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

    def send(
        self, device: int, bits: float, power_w: float, limit_s: float, battery: Battery, own_hz: float
    ) -> Transfer:
        """As `Carrier` says."""
        now_s, foreseen = self._env.now, self._foreseen.pop(device, NOT_FORESEEN)
        start_s, end_s, _ = foreseen
        if start_s != now_s:
            link = power_w, own_hz, float(self._noise_psd_w_hz[device])
            end_s = transfer_end(self._channel, device, now_s, bits, *link, limit_s)
        done = self._env.timeout(end_s - now_s) if math.isfinite(end_s) else self._env.event()
        transfer = Transfer(device, bits, power_w, limit_s, battery, done, bandwidth_hz=own_hz, since_s=now_s)
        try:
            transfer.held_j = battery.hold(power_w * (min(end_s, limit_s) - now_s))
        except (BatteryEmptyError, EnergyExhaustedError) as error:
            transfer.done = self._env.event().fail(error)
            return transfer
        self._under_way[device] = transfer
        self._band_hz += own_hz
        self.peak_band_hz = max(self.peak_band_hz, self._band_hz)
        done.callbacks.append(partial(self._settle, transfer, foreseen))
        return transfer

    def abort(self, transfer: Transfer) -> None:
        """As `Carrier` says."""
        transfer.done.defused = True
        self._settle(transfer)

    def _settle(self, transfer: Transfer, foreseen: Foreseen = NOT_FORESEEN, *_: object) -> None:
        """Book what an upload under way has done."""
        if self._under_way.get(transfer.device) is not transfer:
            return
        del self._under_way[transfer.device]
        self._band_hz -= transfer.bandwidth_hz
        now_s, since_s, device = self._env.now, transfer.since_s, transfer.device
        if foreseen[:2] == (since_s, now_s):
            transfer.delivered_bits = foreseen[2]
        elif now_s > since_s:
            link = transfer.power_w, transfer.bandwidth_hz, float(self._noise_psd_w_hz[device])
            transfer.delivered_bits = delivered_bits(self._channel, device, since_s, now_s, *link)
        transfer.energy_j = transfer.power_w * (now_s - since_s)
        transfer.battery.settle("uplink", transfer.held_j, transfer.energy_j)


def carrier_of(env: simpy.Environment, channel: Channel, access: Access, noise_psd_w_hz: FloatArray) -> Carrier:
    """What carries uploads under ``access``."""
    if access.is_separate:
        return OwnBands(env, channel, noise_psd_w_hz)
    return Uplink(env, channel, access, noise_psd_w_hz)
