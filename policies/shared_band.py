"""The devices' stage where a plan divides the band: a price for the band beside those of the shares (docs/access.md).

A second of the barrier costs ``ratio`` joules, of which device k pays the share r_k, and a hertz costs beta (J/Hz). At
these prices every device's answer is explicit (`prefine.policies.priced_band`); what is sought is where all finish
together, the shares sum to ``ratio`` and the bands to the whole. At given prices a round's cost is a sum of monomials
with positive coefficients, so it is convex in the logarithms of its variables: where all of that holds is its one
optimum, and the dual of docs/theory.md, section 3, holds as it stands (section 3f).
"""

import math
from collections.abc import Callable
from copy import copy
from typing import NamedTuple, Self

import numpy as np

from prefine.emulator.access import sending_s, whole_band_hz
from prefine.emulator.bound import planned_round
from prefine.emulator.physics import LN2, compute_energy
from prefine.emulator.types import Devices, DevicesPlan, FloatArray, Radio
from prefine.policies.device_barrier import DeviceStage
from prefine.policies.device_response import Response
from prefine.policies.finetuning_stage import LATE, BarrierRound, DeviceRound
from prefine.policies.finishing import TOLERANCE
from prefine.policies.given_bands import GivenBands
from prefine.policies.headway import Headway
from prefine.policies.priced_band import Banded, PricedBand
from prefine.policies.root import IncreasingRoot
from prefine.policies.uplinks import OwnBands, Sent

_LONGEST_STEP = 6.0
_FLATTEST = 1e-9
"""As in `prefine.policies.device_barrier`."""

_ROUGH = 1e-3
"""Relative error in shares and bands for a rough lower bound."""

_BARELY = 1e-12
"""How much longer than in an infinite band an upload takes at least, so that its band is finite."""

_RANGE = 60.0
"""How far the log of the band's price may lie from its first guess: wider costs nothing where the guess is fair."""


class _Answer(NamedTuple):
    """What everyone does at some prices: uploads, and computing beside them."""

    band: Banded
    all: Response


class SharedBand:
    """The devices' subproblem with the band to be divided, with the methods of `DeviceStage`.

    A state (K + 1,) is each device's share (W) of the price of a second, and the price of the band (J/Hz).
    """

    def __init__(self, devices: Devices, radio: Radio, noise: FloatArray, *, full_power: bool = False) -> None:
        self.devices, self.radio = devices, radio
        self._whole_hz, self._full_power = whole_band_hz(devices, radio), full_power
        self._priced = PricedBand(devices, radio, 1.0, full_power=full_power)
        self._stage = DeviceStage(devices, radio, noise, self._priced)
        self._fastest: tuple[float, FloatArray] | None = None

    def at_batches(self, batch: FloatArray) -> Self:
        """The same devices with ``batch`` (K,) given."""
        fixed = copy(self)
        fixed._stage, fixed._fastest = self._stage.at_batches(batch), None
        return fixed

    def divided_as(self, plan: DevicesPlan) -> "GivenBands":
        """The same with the bands of ``plan``: what is left to decide is each device's own."""
        assert plan.bandwidth_hz is not None  # noqa: S101 - every plan made here has bands
        nats = self.radio.uplink_bits * LN2 / (plan.bandwidth_hz * plan.upload_s)
        return self._with_bands(plan.bandwidth_hz, np.expm1(nats))

    def _with_bands(self, bands_hz: FloatArray, snr: FloatArray | None = None) -> "GivenBands":
        uplink = OwnBands(self.devices, self.radio, full_power=self._full_power, decided_hz=bands_hz)
        return GivenBands(self._stage.with_uplink(uplink), bands_hz, snr)

    # At prices

    def solve(
        self, ratio: float, energy_price: float, snr_state: FloatArray | None = None, tolerance: float = TOLERANCE
    ) -> DeviceRound:
        """The best round where a second costs ``ratio`` joules and a joule ``energy_price`` (both > 0)."""
        state = first = self._even(ratio) if snr_state is None else snr_state
        headway = Headway()
        while headway.goes_on:
            answer = self._answer(state, energy_price)
            share, finish_s = answer.all.share, answer.all.finish_s
            total = float(np.sum(share))
            idle = 1.0 - float(share @ finish_s) / (total * float(np.max(finish_s)))
            error = max(abs(total / ratio - 1.0), idle, abs(self._surplus(answer)))
            if error <= tolerance or headway.is_over(error):
                break
            state = self._newton(state, answer, ratio, headway.step(error))
        else:
            state, answer = self._nested(
                first, energy_price, lambda stage, shares: stage.settled(ratio, energy_price, shares)[0]
            )
        if error > tolerance:
            state = self._exact(state, answer, ratio)
            answer = self._answer(state, energy_price)
        return self._round(answer, state, ratio, energy_price)

    def _exact(self, state: FloatArray, answer: _Answer, ratio: float) -> FloatArray:
        """``state`` with shares that sum to ``ratio`` to the last digit: the rest is that of who can take it best.

        Whose finishing time hardly answers its share has a share that rounding blurs, and hardly notices the rest.
        """
        exact = state.copy()
        one = int(np.argmax(answer.band.share / self._slopes(answer)[2]))
        exact[one] = max(exact[one] + ratio - float(np.sum(exact[:-1])), 0.5 * exact[one])
        return exact

    def least_price(self, ratio: float, energy_price: float) -> float:
        """A lower bound on h1; any prices give one, these are nearly the best."""
        return self.solve(ratio, energy_price, tolerance=_ROUGH).price

    def _answer(self, state: FloatArray, energy_price: float) -> _Answer:
        self._stage.effort.spend()
        band = self._priced.at(float(state[-1])).answer(state[:-1])
        sent = Sent(band.share, np.ones_like(band.share), band.upload_s, -band.upload_by_share, band.nats)
        return _Answer(band, self._stage.priced.beside(sent, energy_price))

    def _surplus(self, answer: _Answer) -> float:
        """Relative excess of the bands asked for over the whole one."""
        return float(np.sum(answer.band.band_hz)) / self._whole_hz - 1.0

    def _even(self, ratio: float) -> FloatArray:
        """Even shares, and the price at which they would take even bands."""
        count = len(self.devices)
        bands_hz = np.full(count, self._whole_hz / count)
        uplink = OwnBands(self.devices, self.radio, full_power=self._full_power, decided_hz=bands_hz)
        share = np.full(count, ratio / count)
        upload_s = uplink.respond(uplink.state_of(share)).upload_s
        return np.append(share, float(np.exp(np.mean(np.log(share * upload_s / bands_hz)))))

    def _newton(self, state: FloatArray, answer: _Answer, ratio: float, length: float) -> FloatArray:
        """One step, or a part of its ``length``, of all devices, the barrier and the band's price: see the module."""
        band, log_finish, slope, by_price = self._slopes(answer)
        weight, taken = band.share / slope, band.band_hz * band.band_by_share / slope
        matrix = np.array(
            [
                [-np.sum(weight), weight @ by_price],
                [-np.sum(taken), taken @ by_price + band.band_hz @ band.band_by_price],
            ]
        )
        total, used_hz = float(np.sum(band.share)), float(np.sum(band.band_hz))
        missing = np.array([total * math.log(ratio / total), used_hz * math.log(self._whole_hz / used_hz)])
        wanted = missing - np.array([weight @ log_finish, taken @ log_finish])
        try:
            barrier, price = np.linalg.solve(matrix, wanted)
        except np.linalg.LinAlgError:
            return state
        return self._stepped(state, (log_finish - barrier + by_price * price) / slope, float(price), length)

    def _slopes(self, answer: _Answer) -> tuple[Banded, FloatArray, FloatArray, FloatArray]:
        """Uploads, log of the finishing times, how they fall in the share, and how they rise in the band's price."""
        band, finish_s = answer.band, answer.all.finish_s
        slope = np.maximum(answer.all.finish_slope, _FLATTEST)
        return band, np.log(finish_s), slope, band.upload_s * band.upload_by_price / finish_s

    def _stepped(self, state: FloatArray, shares: FloatArray, price: float, length: float) -> FloatArray:
        step = np.clip(np.append(shares, price), -_LONGEST_STEP, _LONGEST_STEP)
        stepped: FloatArray = state * np.exp(length * step)
        return stepped

    def _nested(
        self, state: FloatArray, energy_price: float, shares_at: Callable[[DeviceStage, FloatArray], FloatArray]
    ) -> tuple[FloatArray, _Answer]:
        """The state at which the bands sum to the whole, where ``shares_at`` finds the shares at each price tried."""
        shares, middle = state[:-1], math.log(float(state[-1]))
        root = IncreasingRoot(middle, middle - _RANGE, middle + _RANGE)
        while True:
            price = math.exp(root.next())
            shares = shares_at(self._stage.with_uplink(self._priced.at(price)), shares)
            state = np.append(shares, price)
            answer = self._answer(state, energy_price)
            surplus = self._surplus(answer)
            root.update(math.log(price), -math.log1p(surplus))
            if abs(surplus) <= TOLERANCE or root.exhausted:
                return state, answer

    def _round(self, answer: _Answer, state: FloatArray, ratio: float, energy_price: float) -> DeviceRound:
        plan, noise = self._plan(answer), float(np.sum(self._stage.priced.noise / answer.all.batch))
        cost = planned_round(self.devices, self.radio, plan)
        band, share = answer.band, answer.band.share
        total, price_hz = float(np.sum(share)), float(state[-1])
        energy_j = self.radio.downlink_energy_j + float(np.sum(self._energy_j(answer)))
        unshared = max(ratio - total, 0.0) * self._stage.soonest_s
        seconds = ratio * self.radio.downlink_delay_s + float(share @ answer.all.finish_s) + unshared
        bands = price_hz * (float(np.sum(band.band_hz)) - self._whole_hz)
        price = noise + energy_price * (energy_j + seconds + bands)
        return DeviceRound(plan, cost, noise, price * min(1.0, ratio / total), state)

    def _energy_j(self, answer: _Answer) -> FloatArray:
        devices, band = self.devices, answer.band
        compute_j = compute_energy(
            answer.all.batch, devices.cycles_per_sample, answer.all.frequency_hz, devices.capacitance
        )
        return compute_j + band.power_w * band.upload_s

    def _plan(self, answer: _Answer) -> DevicesPlan:
        """What everyone does, with all of the band and no more than that."""
        devices, band, scale = self.devices, answer.band, 1.0 / (1.0 + self._surplus(answer))
        bands_hz = band.band_hz * scale
        limited = (band.power_w == devices.max_power_w) | (band.power_w == devices.least_power_w)
        power = np.where(limited, band.power_w, band.power_w * scale)
        power = np.clip(power, devices.least_power_w, devices.max_power_w)
        upload_s = sending_s(devices, self.radio, power, bands_hz)
        return DevicesPlan(answer.all.batch, answer.all.frequency_hz, power, upload_s, bands_hz)

    # By a barrier

    @property
    def soonest_s(self) -> float:
        """The soonest in s that everyone can finish."""
        return self._soonest()[0]

    def _soonest(self) -> tuple[float, FloatArray]:
        """That time, and the bands (K,) that it takes: where full power in all of the band is just enough."""
        if self._fastest is None:
            ready_s, alone_s = self._stage.priced.least_compute_s, self._priced.soonest_s
            even_hz = np.full(len(ready_s), self._whole_hz / len(ready_s))
            high = float(np.max(ready_s + sending_s(self.devices, self.radio, self.devices.max_power_w, even_hz)))
            low = float(np.max(ready_s + alone_s))
            root = IncreasingRoot(math.log(high), math.log(low), math.log(high))
            bands_hz = even_hz
            while not root.exhausted and high > low:
                log_finish = root.next()
                left_s = np.maximum(math.exp(log_finish) - ready_s, alone_s * (1.0 + _BARELY))
                bands_hz = self._priced.widths_hz(left_s)
                excess = math.log(self._whole_hz / float(np.sum(bands_hz)))
                root.update(log_finish, excess)
                if abs(excess) <= TOLERANCE:
                    break
            bands_hz = bands_hz * (self._whole_hz / float(np.sum(bands_hz)))
            upload_s = sending_s(self.devices, self.radio, self.devices.max_power_w, bands_hz)
            self._fastest = float(np.max(ready_s + upload_s)), bands_hz
        return self._fastest

    def finish_by(self, finish_s: float, energy_price: float, snr_state: FloatArray | None = None) -> BarrierRound:
        """What everyone does to finish by ``finish_s``, at the least noise plus energy; all are late if nobody can."""
        soonest_s, bands_hz = self._soonest()
        if finish_s <= soonest_s * (1.0 + LATE):
            made = self._with_bands(bands_hz).finish_by(max(finish_s, soonest_s), energy_price)
            late = np.full(len(self.devices), finish_s < soonest_s * (1.0 - LATE))
            return BarrierRound(made.plan, made.energy_j, late, made.shares, self._even(made.share))
        found = None if snr_state is None else self._by_newton(snr_state, finish_s, energy_price)
        if found is None:
            first = self._first(finish_s, energy_price)
            found = self._by_newton(first, finish_s, energy_price) or self._nested(
                first, energy_price, lambda stage, shares: stage.states_at(finish_s, energy_price, shares)[0]
            )
        state, answer = found
        missed = answer.all.finish_s > finish_s * (1.0 + LATE)
        return BarrierRound(self._plan(answer), self._energy_j(answer), missed, answer.all.share, state)

    def _by_newton(self, state: FloatArray, finish_s: float, energy_price: float) -> tuple[FloatArray, _Answer] | None:
        """The state at which everyone finishes by ``finish_s``, searched from ``state``; None where that fails."""
        headway, log_barrier = Headway(), math.log(finish_s)
        while headway.goes_on:
            answer = self._answer(state, energy_price)
            excess, share = np.log(answer.all.finish_s) - log_barrier, answer.all.share
            idle = float(share @ np.abs(excess)) / float(np.sum(share))
            error, latest = max(idle, abs(self._surplus(answer))), float(np.max(excess))
            if latest <= TOLERANCE and (error <= TOLERANCE or headway.is_over(error)):
                return state, answer
            state = self._barrier_newton(state, answer, log_barrier, headway.step(max(error, latest)))
        return None

    def _first(self, finish_s: float, energy_price: float) -> FloatArray:
        """A state to start from: that with the bands of the soonest round."""
        bands_hz = self._soonest()[1]
        response = self._with_bands(bands_hz).states_at(finish_s, energy_price)
        upload_s = self.radio.uplink_bits * LN2 / (bands_hz * response.nats)
        price = float(response.share @ upload_s) / self._whole_hz
        return np.append(response.share, price)

    def _barrier_newton(self, state: FloatArray, answer: _Answer, log_barrier: float, length: float) -> FloatArray:
        """One step, or a part of its ``length``, of all devices and the band's price, the barrier being given."""
        band, log_finish, slope, by_price = self._slopes(answer)
        taken, late = band.band_hz * band.band_by_share / slope, log_finish - log_barrier
        used_hz = float(np.sum(band.band_hz))
        missing = used_hz * math.log(self._whole_hz / used_hz) - float(taken @ late)
        fall = float(taken @ by_price + band.band_hz @ band.band_by_price)
        price = missing / min(fall, -_FLATTEST * used_hz)
        return self._stepped(state, (late + by_price * price) / slope, price, length)
