"""The devices' stage under TDMA: everyone computes, then one after the other sends in the whole band (docs/access.md).

A round lasts until the slowest has computed, and then as long as all uploads together. A second of the one is worth
what a second of the other is, so at given prices both parts fall apart: the computing is that of
`prefine.policies.device_barrier` without uploads, and each upload pays for its own time. All of it is convex in the
stage totals of docs/theory.md, section 3, so the dual and its certificate are unchanged.
"""

import math
from copy import copy
from dataclasses import replace
from typing import NamedTuple, Self

import numpy as np

from prefine.emulator.bound import planned_round
from prefine.emulator.physics import compute_time
from prefine.emulator.types import Devices, DevicesPlan, FloatArray, Radio
from prefine.policies.device_barrier import DeviceStage
from prefine.policies.finetuning_stage import LATE, BarrierRound, DeviceRound
from prefine.policies.finishing import TOLERANCE
from prefine.policies.root import IncreasingRoot
from prefine.policies.uplinks import NoUpload, OwnBands

_RANGE = 60.0
"""How far below its ceiling the log of the price of a second is looked for: wider only costs a few more evaluations."""

_CLOSE = 1e-8
"""Relative error in that price: the energy is at its minimum there, so it errs by the square of this."""

_SOON = 1e-9
"""Relative distance to the soonest computing that counts as there: nearer, and its price would be any at all."""

_NO_TIME = 1e-9
"""Part of a round that counts as no time to compute in, whatever the device."""


class Uploads(NamedTuple):
    """Everyone's upload: power in W and time in s, (K,)."""

    power_w: FloatArray
    upload_s: FloatArray

    @property
    def energy_j(self) -> FloatArray:
        """Of each, (K,)."""
        return self.power_w * self.upload_s

    @property
    def total_s(self) -> float:
        """One after the other."""
        return float(np.sum(self.upload_s))

    def beside(self, computing: DevicesPlan) -> DevicesPlan:
        """These uploads after what devices compute."""
        return replace(computing, power_w=self.power_w, upload_s=self.upload_s)


class TimeShared:
    """The devices' subproblem under TDMA, with the methods of `prefine.policies.device_barrier.DeviceStage`.

    A state (K,) is each device's share (W) of the price of a second of computing.
    """

    def __init__(self, devices: Devices, radio: Radio, noise: FloatArray, *, full_power: bool = False) -> None:
        self.devices, self.radio = devices, radio
        self.computing = DeviceStage(devices, radio, noise, NoUpload(len(devices)))
        self._uplink = OwnBands(devices, radio, full_power=full_power)

    @property
    def soonest_s(self) -> float:
        """The soonest in s that the last upload can end."""
        return self.computing.soonest_s + float(np.sum(self._uplink.soonest_s))

    def at_batches(self, batch: FloatArray) -> Self:
        """The same devices with ``batch`` (K,) given."""
        fixed = copy(self)
        fixed.computing = self.computing.at_batches(batch)
        return fixed

    def divided_as(self, plan: DevicesPlan) -> "AfterComputing":
        """The same with the uploads of ``plan``: what is left to decide is each device's own."""
        return AfterComputing(self.computing, Uploads(plan.power_w, plan.upload_s))

    def uploads(self, ratio: float) -> Uploads:
        """The uploads of least energy plus ``ratio`` (W) times the time they take."""
        state = self._uplink.state_of(np.full(len(self.devices), ratio))
        return Uploads(*self._uplink.sending(self._uplink.respond(state).nats))

    def uploads_price(self, ratio: float) -> float:
        """What these take in J, a second counting as ``ratio``."""
        uploads = self.uploads(ratio)
        return float(np.sum(uploads.energy_j)) + ratio * uploads.total_s

    def solve(
        self, ratio: float, energy_price: float, snr_state: FloatArray | None = None, tolerance: float = TOLERANCE
    ) -> DeviceRound:
        """The best round where a second costs ``ratio`` joules and a joule ``energy_price`` (both > 0)."""
        computed = self.computing.solve(ratio, energy_price, snr_state, tolerance)
        plan = self.uploads(ratio).beside(computed.plan)
        price = computed.price + energy_price * self.uploads_price(ratio)
        cost = planned_round(self.devices, self.radio, plan)
        return DeviceRound(plan, cost, computed.noise, price, computed.snr_state)

    def least_price(self, ratio: float, energy_price: float) -> float:
        """A lower bound on h1 after a few passes."""
        return self.computing.least_price(ratio, energy_price) + energy_price * self.uploads_price(ratio)

    def finish_by(self, finish_s: float, energy_price: float, snr_state: FloatArray | None = None) -> BarrierRound:
        """What everyone does for the last upload to end by ``finish_s``, at the least noise plus energy.

        The root is the price of a second at which the computing, in the time that the uploads leave, is worth that.
        All are late where nothing is soon enough.
        """
        top = math.log(self._most_ratio(energy_price))
        guess = top if snr_state is None else math.log(float(np.sum(snr_state)))
        root = IncreasingRoot(guess, top - _RANGE, top)
        found = self._after(finish_s, self.uploads(math.exp(top)), energy_price, snr_state)
        while finish_s > self.soonest_s and not root.exhausted:
            log_ratio = root.next()
            uploads = self.uploads(math.exp(log_ratio))
            if finish_s - uploads.total_s < self.computing.soonest_s:  # the least that leaves time to compute in
                log_ratio = self._slowest(finish_s - self.computing.soonest_s * (1.0 + _SOON), top)
                uploads = self.uploads(math.exp(log_ratio))
            found = self._after(finish_s, uploads, energy_price, found.snr_state)
            error = log_ratio - math.log(found.share)
            if error > 0.0 and self._busy_s(found) < (finish_s - uploads.total_s) * (1.0 - _CLOSE):
                log_ratio = self._slowest(finish_s - self._busy_s(found) * (1.0 - _SOON), top)
                found = self._after(finish_s, self.uploads(math.exp(log_ratio)), energy_price, found.snr_state)
                error = max(log_ratio - math.log(found.share), 0.0)
            soonest = finish_s - uploads.total_s <= self.computing.soonest_s * (1.0 + 2.0 * _SOON)
            if abs(error) <= _CLOSE or (error > 0.0 and (soonest or log_ratio <= top - _RANGE)):
                break
            root.update(log_ratio, error)
            if root.width <= _CLOSE:  # the computing's worth jumps here
                break
        return found

    def _busy_s(self, found: BarrierRound) -> float:
        """When the slowest has computed, which may be before it has to: then less time cannot cost more."""
        plan = found.plan
        return float(np.max(compute_time(plan.batch, self.devices.cycles_per_sample, plan.frequency_hz)))

    def _slowest(self, total_s: float, top: float) -> float:
        """The log of the price of a second at which all uploads take ``total_s``; the least where that is too long."""
        root = IncreasingRoot(top - 0.5 * _RANGE, top - _RANGE, top)
        while not root.exhausted:
            log_ratio = root.next()
            error = math.log(total_s / self.uploads(math.exp(log_ratio)).total_s)
            if abs(error) <= TOLERANCE or (error > 0.0 and log_ratio <= top - _RANGE):
                break
            root.update(log_ratio, error)
        return log_ratio

    def _after(
        self, finish_s: float, uploads: Uploads, energy_price: float, snr_state: FloatArray | None
    ) -> BarrierRound:
        """The computing in the time that ``uploads`` leave, or at the soonest; where that is too long, all are late."""
        left_s = max(finish_s - uploads.total_s, self.computing.soonest_s)
        made = AfterComputing(self.computing, uploads).finish_by(left_s + uploads.total_s, energy_price, snr_state)
        late = self.computing.soonest_s + uploads.total_s > finish_s * (1.0 + LATE)
        return replace(made, late=np.full(len(self.devices), late))

    def _most_ratio(self, energy_price: float) -> float:
        """A price of a second beyond which nothing gets any faster."""
        return 2.0 * max(self.computing.priced.most_ratio(energy_price), float(np.max(self._uplink.limits()[0])))


class AfterComputing:
    """The devices with given uploads, which begin once everyone has computed."""

    def __init__(self, computing: DeviceStage, uploads: Uploads) -> None:
        self._computing, self._uploads = computing, uploads

    def at_batches(self, batch: FloatArray) -> "AfterComputing":
        """The same devices with ``batch`` (K,) given."""
        return AfterComputing(self._computing.at_batches(batch), self._uploads)

    def finish_by(self, finish_s: float, energy_price: float, snr_state: FloatArray | None = None) -> BarrierRound:
        """What every device does for the last upload to end by ``finish_s``; all are late where no time is left."""
        left_s = finish_s - self._uploads.total_s
        computed = self._computing.finish_by(max(left_s, _NO_TIME * finish_s), energy_price, snr_state)
        plan, energy_j = self._uploads.beside(computed.plan), computed.energy_j + self._uploads.energy_j
        return replace(computed, plan=plan, energy_j=energy_j)
