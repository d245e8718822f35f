"""A shared uplink: uploads under way, and what happens to their rates when others come and go."""

import math
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Protocol

import simpy

from prefine.emulator.channel.base import Channel
from prefine.emulator.simulation.energy import Battery, BatteryEmptyError, EnergyExhaustedError
from prefine.emulator.simulation.radio import Access
from prefine.emulator.simulation.transfer import delivered_bits, transfer_end
from prefine.emulator.types import FloatArray

Passing = Generator[simpy.Event, Any, None]
"""What a device does while time passes."""


class Booking(Protocol):
    """Where it is written down what an upload has used and delivered."""

    uplink_energy_j: float
    delivered_bits: float


@dataclass(eq=False)
class Transfer:
    """One upload: what it has delivered and used so far, and how it goes on at present."""

    device: int
    bits: float
    power_w: float
    limit_s: float
    battery: Battery
    done: simpy.Event
    """Succeeds when everything is delivered; fails with what `Battery.hold` raises where a stretch is not covered."""
    delivered_bits: float = 0.0
    energy_j: float = 0.0
    bandwidth_hz: float = 0.0
    since_s: float = 0.0
    held_j: float = 0.0
    version: int = 0
    """Counts changes of rate: a completion planned before the last change is stale."""


class Uplink:
    """Carries transfers at the rates that its access allows, each change of rate integrated exactly."""

    def __init__(
        self,
        env: simpy.Environment,
        channel: Channel,
        access: Access,
        noise_psd_w_hz: FloatArray,
    ) -> None:
        """``noise_psd_w_hz`` (K,) is what each device's signal meets at the server."""
        self._env = env
        self._channel = channel
        self._access = access
        self._noise_psd_w_hz = noise_psd_w_hz
        self._transfers: dict[int, Transfer] = {}
        self._slot = 0
        self._band_hz = 0.0
        self.peak_band_hz = 0.0
        """The widest sum of bands in use at once, for the audit."""

    def foresee(self, *_: object) -> None:
        """Nothing: how fast each is depends on who else sends."""

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
        """As `prefine.emulator.simulation.ownband.Carrier` says; ``own_hz`` does not count."""
        transfer = self.send(device, bits, power_w, limit_s, battery)
        try:
            yield transfer.done
        finally:
            self.abort(transfer)
            booked.uplink_energy_j += transfer.energy_j
            booked.delivered_bits = transfer.delivered_bits

    def send(self, device: int, bits: float, power_w: float, limit_s: float, battery: Battery) -> Transfer:
        """Start an upload of ``bits`` at ``power_w``; wait for its ``done``. It will be aborted by ``limit_s``."""
        transfer = Transfer(device, bits, power_w, limit_s, battery, self._env.event())
        self._transfers[device] = transfer
        self._share(joined=device)
        return transfer

    def abort(self, transfer: Transfer) -> None:
        """End an upload before its time; what it delivered and used stays booked on it."""
        transfer.done.defused = True
        if self._transfers.get(transfer.device) is transfer:
            self._leave(transfer)

    def _share(self, joined: int | None) -> None:
        if not self._transfers:
            return
        shares = self._access.share(self._transfers.keys(), joined, self._env.now)
        changed = [(self._transfers[device], band_hz) for device, band_hz in shares.bandwidth_hz.items()]
        for transfer, band_hz in changed:
            self._settle(transfer)
            self._band_hz += band_hz - transfer.bandwidth_hz
            transfer.bandwidth_hz = band_hz
        self.peak_band_hz = max(self.peak_band_hz, self._band_hz)
        ends_s = [self._end_s(transfer) for transfer, _ in changed]
        everyone = len(changed) == len(self._transfers)  # then all are asked again when the first one ends
        until_s = min([shares.until_s, *ends_s]) if everyone else shares.until_s
        covered = [
            self._proceeds(transfer, end_s, until_s) for (transfer, _), end_s in zip(changed, ends_s, strict=True)
        ]
        if not all(covered):
            self._share(joined=None)
            return
        self._slot += 1
        if math.isfinite(shares.until_s):
            self._after(shares.until_s, self._slot_over, self._slot)

    def _slot_over(self, slot: int) -> None:
        if slot == self._slot:
            self._share(joined=None)

    def _end_s(self, transfer: Transfer) -> float:
        """When ``transfer`` ends if nothing changes any more; infinite where it waits."""
        if transfer.bandwidth_hz == 0.0:
            return math.inf
        return transfer_end(
            self._channel,
            transfer.device,
            self._env.now,
            transfer.bits - transfer.delivered_bits,
            transfer.power_w,
            transfer.bandwidth_hz,
            float(self._noise_psd_w_hz[transfer.device]),
            transfer.limit_s,
        )

    def _proceeds(self, transfer: Transfer, end_s: float, until_s: float) -> bool:
        """Plan the completion at ``end_s``, and hold the energy needed until then or until shares may change.

        False where that energy is not there: the transfer is over.
        """
        if transfer.bandwidth_hz == 0.0:
            return True
        busy_until_s = min(end_s, until_s, transfer.limit_s)
        try:
            transfer.held_j = transfer.battery.hold(transfer.power_w * (busy_until_s - self._env.now))
        except (BatteryEmptyError, EnergyExhaustedError) as error:
            self._drop(transfer)
            transfer.done.fail(error)
            return False
        if end_s <= until_s and math.isfinite(end_s):
            self._after(end_s, self._complete, transfer, transfer.version)
        return True

    def _complete(self, transfer: Transfer, version: int) -> None:
        if transfer.version == version:
            self._leave(transfer)
            transfer.done.succeed()

    def _leave(self, transfer: Transfer) -> None:
        self._settle(transfer)
        self._drop(transfer)
        self._share(joined=None)

    def _drop(self, transfer: Transfer) -> None:
        self._band_hz -= transfer.bandwidth_hz
        transfer.version += 1
        del self._transfers[transfer.device]

    def _settle(self, transfer: Transfer) -> None:
        """Book what has happened since the last change of this transfer's rate."""
        now_s = self._env.now
        energy_j = 0.0
        if transfer.bandwidth_hz > 0.0 and now_s > transfer.since_s:
            energy_j = transfer.power_w * (now_s - transfer.since_s)
            transfer.delivered_bits += delivered_bits(
                self._channel,
                transfer.device,
                transfer.since_s,
                now_s,
                transfer.power_w,
                transfer.bandwidth_hz,
                float(self._noise_psd_w_hz[transfer.device]),
            )
        transfer.battery.settle("uplink", transfer.held_j, energy_j)
        transfer.energy_j += energy_j
        transfer.held_j = 0.0
        transfer.since_s = now_s
        transfer.version += 1

    def _after(self, time_s: float, call: Callable[..., None], *arguments: object) -> None:
        timeout = self._env.timeout(max(0.0, time_s - self._env.now))
        timeout.callbacks.append(lambda _: call(*arguments))
