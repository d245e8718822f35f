"""The devices under prices: the cheapest synchronous round (docs/theory.md, section 3, "barrier").

Let a second of the barrier cost ``ratio`` joules and a joule ``energy_price``. Device k reacts to its own share r_k
of ``ratio`` (W): sum_k r_k = ratio, and every device finishes at the barrier. The state of the search is the SNR s_k
at which device k would transmit without its power limits; then r_k = rho_k ((1 + s) ln(1 + s) - s) with
rho_k = N0 W_k / g_k, and everything else is explicit. All devices and the barrier take Newton steps together.
"""

from copy import copy
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from emulator.physics import LN2, compute_energy, upload_time
from emulator.prediction import RoundCost, device_round
from emulator.types import Devices, DevicesPlan, FloatArray, Radio
from policies.root import IncreasingRoot

PASSES = 16
"""Newton passes before the search falls back to bisection."""

TOLERANCE = 1e-12
"""Relative error left in the barrier and in the sum of the shares."""

_LONGEST_STEP = 3.0
_SMALL_SNR = 0.03
_FLATTEST = 1e-9
_NEGLIGIBLE_STATE = 1e-20
_ATTEMPTS = 300
_LATE = 1e-11
_PROGRESS = 0.7
_ROUGH_PASSES = 4
_HURRY = 5
_HURRIED = 1e-3
_BESIDE = 1e-9
_EVERYONE = slice(None)
_BLOCK = 8192


@dataclass(frozen=True)
class Response:
    """What every device does under its share, shape (K,) each, with logarithmic slopes in the SNR state."""

    share: FloatArray
    share_slope: FloatArray
    finish_s: FloatArray
    finish_slope: FloatArray
    batch: FloatArray
    frequency_hz: FloatArray
    nats: FloatArray


@dataclass(frozen=True)
class DeviceRound:
    """A fine-tuning round: the decision, its cost, its noise sum_k alpha_k / b_k, and the search's state.

    ``price`` is h1 at the prices asked for, less what the search left open: a lower bound.
    """

    plan: DevicesPlan
    cost: RoundCost
    noise: float
    price: float
    snr_state: FloatArray


@dataclass(frozen=True)
class Meeting:
    """A round with a given finishing time.

    ``energy_j`` and ``late`` (K,) are per device; late is who cannot make it. ``share`` is what one more second would
    save, in joules.
    """

    plan: DevicesPlan
    energy_j: FloatArray
    late: NDArray[np.bool_]
    share: float
    snr_state: FloatArray


class DeviceStage:
    """Finds the devices' round of least noise plus cost; ``noise`` (K,) is alpha_k.

    ``full_power`` pins every device to its maximum power.
    """

    def __init__(self, devices: Devices, radio: Radio, noise: FloatArray, *, full_power: bool = False) -> None:
        self.devices, self.radio, self.noise = devices, radio, noise
        self._watts = radio.noise_psd_w_hz * devices.bandwidth_hz / devices.gain
        self._most_nats = np.log1p(devices.max_power_w / self._watts)
        self._least_nats = self._most_nats if full_power else np.zeros(len(devices))
        self._nat_seconds = radio.uplink_bits * LN2 / devices.bandwidth_hz
        self._limit_batches(devices.min_batch, devices.max_batch)

    def _limit_batches(self, least: FloatArray, most: FloatArray) -> None:
        devices = self.devices
        self._least_batch, self._most_batch = least, most
        compute_s = least * devices.cycles_per_sample / devices.max_frequency_hz
        self._soonest_s = compute_s + self._nat_seconds / self._most_nats

    def at_batches(self, batch: FloatArray) -> "DeviceStage":
        """The same devices with ``batch`` (K,) given, so that only energy and delay are priced."""
        fixed = copy(self)
        fixed.noise = np.zeros(len(batch))
        fixed._limit_batches(batch, batch)
        return fixed

    @property
    def soonest_s(self) -> float:
        """The soonest everyone can finish: least batch, full speed, full power."""
        return float(np.max(self._soonest_s))

    def solve(self, ratio: float, energy_price: float, snr_state: FloatArray | None = None) -> DeviceRound:
        """The best round at these prices (both > 0); ``snr_state`` of a similar round saves passes."""
        state, patience = (self._even_shares(ratio), _HURRY) if snr_state is None else (snr_state, 0)
        for attempt in range(PASSES):
            response = self._respond(state, energy_price)
            barrier_s = float(np.max(response.finish_s))
            total = float(np.sum(response.share))
            idle = barrier_s * total - float(response.share @ response.finish_s)
            if abs(total - ratio) <= TOLERANCE * ratio and idle <= TOLERANCE * total * barrier_s:
                return self._round(response, state, ratio, energy_price)
            if attempt >= patience and barrier_s <= self.soonest_s * (1.0 + _HURRIED):
                break
            state = self._newton(state, response, ratio)
        state = self._bisect(state, ratio, energy_price)
        return self._round(self._respond(state, energy_price), state, ratio, energy_price)

    def least_price(self, ratio: float, energy_price: float) -> float:
        """A lower bound on h1 after a few passes: any shares give one."""
        state = self._even_shares(ratio)
        for _ in range(_ROUGH_PASSES):
            state = self._newton(state, self._respond(state, energy_price), ratio)
        return self._round(self._respond(state, energy_price), state, ratio, energy_price).price

    def _newton(self, state: FloatArray, response: Response, ratio: float) -> FloatArray:
        """One step of all devices and the barrier: z_k(s_k) = Z for each, shares summing to ``ratio``."""
        step = np.log(response.finish_s)
        slope = np.maximum(response.finish_slope, _FLATTEST)
        weight = response.share * response.share_slope
        weight /= slope
        excess = float(np.sum(response.share)) - ratio
        step -= (float(weight @ step) + excess) / float(np.sum(weight))
        step /= slope
        np.clip(step, -_LONGEST_STEP, _LONGEST_STEP, out=step)
        np.exp(step, out=step)
        step *= state
        return step

    def _respond(self, state: FloatArray, energy_price: float) -> Response:
        """Closed forms of section 3 at the uncapped SNR ``state`` (K,), in blocks that stay in the cache."""
        count = len(state)
        if count <= _BLOCK:
            return Response(*self._respond_block(state, energy_price, _EVERYONE))
        columns = np.empty((len(fields(Response)), count))
        for first in range(0, count, _BLOCK):
            block = slice(first, first + _BLOCK)
            for column, values in zip(columns, self._respond_block(state[block], energy_price, block), strict=True):
                column[block] = values
        return Response(*columns)

    def _respond_block(self, state: FloatArray, energy_price: float, block: slice) -> tuple[FloatArray, ...]:
        """`_respond` for the devices ``block``, in the order of `Response`'s fields."""
        devices = self.devices
        cycles, capacitance = devices.cycles_per_sample[block], devices.capacitance[block]
        nats = np.log1p(state)
        psi = _psi(state, nats)
        share = self._watts[block] * psi
        share_slope = state * nats / psi
        sent_nats = np.clip(nats, self._least_nats[block], self._most_nats[block])
        upload_s = self._nat_seconds[block] / sent_nats
        free = np.cbrt(share / (2.0 * capacitance))
        frequency = np.clip(free, devices.min_frequency_hz[block], devices.max_frequency_hz[block])
        cycle_price = share / frequency
        sample_price = cycles * (cycle_price + capacitance * frequency**2)
        wanted = np.sqrt(self.noise[block] / (energy_price * sample_price))
        batch = np.clip(wanted, self._least_batch[block], self._most_batch[block])
        compute_s = batch * cycles / frequency
        compute_slope = np.where(frequency == free, 1.0 / 3.0, 0.0)
        compute_slope += np.where(batch == wanted, 0.5 * cycles * cycle_price / sample_price, 0.0)
        upload_slope = np.where(sent_nats == nats, state / ((1.0 + state) * nats), 0.0)
        finish_s = compute_s + upload_s
        finish_slope = (upload_s * upload_slope + compute_s * compute_slope * share_slope) / finish_s
        return share, share_slope, finish_s, finish_slope, batch, frequency, sent_nats

    def _round(self, response: Response, state: FloatArray, ratio: float, energy_price: float) -> DeviceRound:
        devices, radio = self.devices, self.radio
        power, upload_s = self._sending(response)
        plan = DevicesPlan(response.batch, response.frequency_hz, power, upload_s)
        cost = device_round(devices, radio, plan)
        noise = float(np.sum(self.noise / response.batch))
        total = float(np.sum(response.share))
        unshared = max(ratio - total, 0.0) * self.soonest_s
        seconds_price = ratio * radio.downlink_delay_s + float(response.share @ response.finish_s) + unshared
        price = noise + energy_price * (cost.energy_j + seconds_price)
        return DeviceRound(plan, cost, noise, price * min(1.0, ratio / total), state)

    def _even_shares(self, ratio: float) -> FloatArray:
        return self._state_of(np.full(len(self.devices), ratio / len(self.devices)))

    def _state_of(self, share: FloatArray, which: NDArray[np.intp] | slice = _EVERYONE) -> FloatArray:
        """The states in which the devices ``which`` have ``share``: Newton's method in logarithms, from above."""
        target = share / self._watts[which]
        state = self._more_than_state_of(target)
        for _ in range(6):
            nats = np.log1p(state)
            psi = _psi(state, nats)
            state = state * np.exp(np.log(target / psi) * psi / (state * nats))
        return state

    def _bisect(self, state: FloatArray, ratio: float, energy_price: float) -> FloatArray:
        """The state found by bracketing the barrier, and every device's state at each trial barrier.

        Where the shares jump at the barrier (devices whose every limit binds for a range of shares) the two sides
        are mixed so that the shares sum to ``ratio``.
        """
        over = self._meet(self.soonest_s, energy_price, state)[0]
        hurried = self._hurried(over, ratio, energy_price)
        if hurried is not None:
            return hurried
        even = self._respond(self._even_shares(ratio), energy_price)
        log_soonest, log_latest = np.log(self.soonest_s), np.log(np.max(even.finish_s))
        everything = self._state_of(np.full(len(self.devices), ratio))
        over = np.minimum(over, everything)
        under = self._meet(np.exp(log_latest + TOLERANCE), energy_price, state)[0]
        root = IncreasingRoot(log_latest, log_soonest, log_latest)
        while not root.exhausted:
            log_barrier = root.next()
            state = np.minimum(self._meet(np.exp(log_barrier), energy_price, state)[0], everything)
            total = float(np.sum(self._shares(state)))
            root.update(log_barrier, np.log(ratio / total))
            if abs(total - ratio) <= TOLERANCE * ratio:
                return state
            over, under = (state, under) if total > ratio else (over, state)
        most, least = self._shares(over), self._shares(under)
        jump = float(np.sum(most) - np.sum(least))
        mix = (ratio - float(np.sum(least))) / jump if jump > 0.0 else 1.0
        return self._state_of(mix * most + (1.0 - mix) * least)

    def _hurried(self, state: FloatArray, ratio: float, energy_price: float) -> FloatArray | None:
        """``state`` with the rest of ``ratio`` for the slowest devices, if these then finish at the soonest."""
        slowest = np.flatnonzero(self._soonest_s >= self.soonest_s * (1.0 - TOLERANCE))
        share = self._shares(state)
        rest = ratio - (float(np.sum(share)) - float(np.sum(share[slowest])))
        if rest <= 0.0:
            return None
        hurried = state.copy()
        hurried[slowest] = self._state_of(np.full(len(slowest), rest / len(slowest)), slowest)
        finish_s = self._respond(hurried, energy_price).finish_s
        return hurried if np.max(finish_s) <= self.soonest_s * (1.0 + 2.0 * TOLERANCE) else None

    def meet(self, finish_s: float, energy_price: float, snr_state: FloatArray | None = None) -> Meeting:
        """What every device does to finish by ``finish_s`` at the least noise plus energy."""
        state = self._ceiling(energy_price) if snr_state is None else snr_state
        state, response = self._meet(finish_s, energy_price, state)
        devices = self.devices
        power, upload_s = self._sending(response)
        compute_j = compute_energy(
            response.batch, devices.cycles_per_sample, response.frequency_hz, devices.capacitance
        )
        plan = DevicesPlan(response.batch, response.frequency_hz, power, upload_s)
        late = response.finish_s > finish_s * (1.0 + _LATE)
        return Meeting(plan, compute_j + power * upload_s, late, float(np.sum(response.share)), state)

    def _meet(self, finish_s: float, energy_price: float, state: FloatArray) -> tuple[FloatArray, Response]:
        """The states (K,) at which every device finishes at ``finish_s``, or as near as it can."""
        log_finish, high = np.log(finish_s), self._ceiling(energy_price)
        low = np.where(self._soonest_s >= finish_s * (1.0 - TOLERANCE), high, high * _NEGLIGIBLE_STATE)
        state, before = np.clip(state, low, high), np.full(len(state), np.inf)
        for _ in range(_ATTEMPTS):
            response = self._respond(state, energy_price)
            error = np.log(response.finish_s) - log_finish
            low, high = np.where(error > 0.0, state, low), np.where(error <= 0.0, state, high)
            there = (np.abs(error) <= TOLERANCE) | (high <= low * (1.0 + TOLERANCE))
            if np.all(there):
                break
            newton = state * np.exp(np.clip(error / np.maximum(response.finish_slope, _FLATTEST), -50.0, 50.0))
            trusted = (newton > low) & (newton < high) & (np.abs(error) < _PROGRESS * before)
            before = np.abs(error)
            state = np.where(there, state, np.where(trusted, newton, np.sqrt(low * high)))
            flat = np.flatnonzero((response.finish_slope <= _FLATTEST) & ~there)
            if len(flat):
                state[flat] = self._next_kinks(flat, response, error[flat] > 0.0, low[flat], high[flat], energy_price)
        return state, response

    def _next_kinks(
        self,
        flat: NDArray[np.intp],
        response: Response,
        faster: NDArray[np.bool_],
        low: FloatArray,
        high: FloatArray,
        energy_price: float,
    ) -> FloatArray:
        """Where the devices ``flat``, held by all their limits, are let go by the next one on the side they need."""
        devices = self.devices
        capacitance, frequency = devices.capacitance[flat], response.frequency_hz[flat]
        worth = self.noise[flat] / (energy_price * devices.cycles_per_sample[flat])
        cap = np.expm1(self._most_nats[flat])
        ends = devices.min_frequency_hz, devices.max_frequency_hz
        shares = [2.0 * capacitance * limit[flat] ** 3 for limit in ends]
        shares += [
            frequency * (worth / limit[flat] ** 2 - capacitance * frequency**2)
            for limit in (self._most_batch, self._least_batch)
        ]
        shares.append(self._watts[flat] * _psi(cap, self._most_nats[flat]))
        kinks = np.array([self._state_of(np.maximum(share, np.finfo(float).tiny), flat) for share in shares])
        above = np.min(np.where(kinks > low * (1.0 + _BESIDE), kinks * (1.0 + _BESIDE), np.inf), axis=0)
        below = np.max(np.where(kinks < high * (1.0 - _BESIDE), kinks * (1.0 - _BESIDE), 0.0), axis=0)
        kink: FloatArray = np.where(faster, np.minimum(above, high), np.maximum(below, low))
        return kink

    def _ceiling(self, energy_price: float) -> FloatArray:
        """States (K,) beyond which nobody can be any faster: full speed, full power and least batch."""
        devices = self.devices
        cubed = devices.capacitance * devices.max_frequency_hz**3
        for_batch = (
            self.noise * devices.max_frequency_hz / (energy_price * devices.cycles_per_sample * self._least_batch**2)
        )
        fastest = self._more_than_state_of(np.maximum(2.0 * cubed, for_batch) / self._watts)
        return np.maximum(fastest, np.expm1(self._most_nats)) * 2.0

    @staticmethod
    def _more_than_state_of(target: FloatArray) -> FloatArray:
        """An SNR s with (1 + s) ln(1 + s) - s >= ``target``, since the left side is at least s^2 / (2 + 2 s / 3)."""
        state: FloatArray = target / 3.0 + np.sqrt(target**2 / 9.0 + 2.0 * target)
        return state

    def _shares(self, state: FloatArray) -> FloatArray:
        return self._watts * _psi(state, np.log1p(state))

    def _sending(self, response: Response) -> tuple[FloatArray, FloatArray]:
        """Transmit power and upload time (K,); exactly the maximum power where that limit binds."""
        devices, radio = self.devices, self.radio
        power = np.minimum(self._watts * np.expm1(response.nats), devices.max_power_w)
        power = np.where(response.nats == self._most_nats, devices.max_power_w, power)
        return power, upload_time(radio.uplink_bits, devices.bandwidth_hz, power, devices.gain, radio.noise_psd_w_hz)


def _psi(snr: FloatArray, nats: FloatArray) -> FloatArray:
    """(1 + s) ln(1 + s) - s, by its series where the difference would cancel."""
    psi = (1.0 + snr) * nats - snr
    if np.min(snr) < _SMALL_SNR:
        series = np.zeros_like(snr)
        small = np.minimum(snr, _SMALL_SNR)
        for order in range(11, 1, -1):
            series = series * small + (-1.0) ** order / (order * (order - 1))
        psi = np.where(snr < _SMALL_SNR, series * small**2, psi)
    return psi
