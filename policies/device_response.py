"""What devices do under given shares of the barrier's price: closed forms (docs/theory.md, section 3b, "Devices").

The state of device k is the SNR s_k at which it would transmit without its power limits; then its share is
r_k = rho_k ((1 + s) ln(1 + s) - s) with rho_k = N0 W_k / g_k, and everything else is explicit.
"""

from copy import copy
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
from numpy.typing import NDArray

from prefine.emulator.physics import LN2, compute_energy, compute_time, upload_time
from prefine.emulator.types import Devices, FloatArray, Radio
from prefine.policies.effort import MOST_RESPONSES, Effort

_SMALL_SNR = 0.03
"""Below it psi is summed as a series: larger needs more terms for the same accuracy, smaller cancels more digits."""

_BESIDE = 1e-9
"""Relative step past a breakpoint: larger overshoots it more, smaller may still find the limit binding by rounding."""

_BLOCK = 8192
"""Devices worked on at once: larger leaves the processor's cache, smaller spends more on NumPy's calls."""

_EVERYONE = slice(None)


@dataclass(frozen=True)
class Response:
    """What every device does under its share of the barrier's price; every field has shape (K,).

    ``share`` in W, ``nats`` = ln(1 + SNR). Slopes are d log(value) / d log(state), the state being the uncapped SNR.
    """

    share: FloatArray
    share_slope: FloatArray
    finish_s: FloatArray
    finish_slope: FloatArray
    batch: FloatArray
    frequency_hz: FloatArray
    nats: FloatArray


class PricedDevices:
    """The devices under shares of the barrier's price, without the search for the shares; ``noise`` (K,) is alpha_k.

    ``full_power`` pins every device to its maximum power. Raises PolicyError after `MOST_RESPONSES` responses, counted
    together with those of all that `at_batches` makes of it.
    """

    def __init__(self, devices: Devices, radio: Radio, noise: FloatArray, *, full_power: bool = False) -> None:
        self.devices, self.radio, self.noise = devices, radio, noise
        self._watts = radio.noise_psd_w_hz * devices.bandwidth_hz / devices.gain
        self._most_nats = np.log1p(devices.max_power_w / self._watts)
        self._least_nats = self._most_nats if full_power else np.zeros(len(devices))
        self._nat_seconds = radio.uplink_bits * LN2 / devices.bandwidth_hz
        self._effort = Effort(MOST_RESPONSES, "a plan")
        self._limit_batches(devices.min_batch, devices.max_batch)

    def _limit_batches(self, least: FloatArray, most: FloatArray) -> None:
        devices = self.devices
        self._least_batch, self._most_batch = least, most
        compute_s = compute_time(least, devices.cycles_per_sample, devices.max_frequency_hz)
        self._soonest_s = compute_s + self._nat_seconds / self._most_nats

    def at_batches(self, batch: FloatArray) -> Self:
        """The same devices with ``batch`` (K,) given, so that only energy and delay are priced."""
        fixed = copy(self)
        fixed.noise = np.zeros(len(batch))
        fixed._limit_batches(batch, batch)
        return fixed

    @property
    def soonest_s(self) -> float:
        """The soonest in s that everyone can finish: least batch, full speed, full power."""
        return float(np.max(self._soonest_s))

    def _respond(self, state: FloatArray, energy_price: float) -> Response:
        """Closed forms of section 3 at the uncapped SNR ``state`` (K,), in blocks that stay in the cache."""
        self._effort.spend()
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
        sample_price = cycles * (cycle_price + compute_energy(1.0, 1.0, frequency, capacitance))
        wanted = np.sqrt(self.noise[block] / (energy_price * sample_price))
        batch = np.clip(wanted, self._least_batch[block], self._most_batch[block])
        compute_s = compute_time(batch, cycles, frequency)
        compute_slope = np.where(frequency == free, 1.0 / 3.0, 0.0)
        compute_slope += np.where(batch == wanted, 0.5 * cycles * cycle_price / sample_price, 0.0)
        upload_slope = np.where(sent_nats == nats, state / ((1.0 + state) * nats), 0.0)
        finish_s = compute_s + upload_s
        finish_slope = (upload_s * upload_slope + compute_s * compute_slope * share_slope) / finish_s
        return share, share_slope, finish_s, finish_slope, batch, frequency, sent_nats

    def _state_of(self, share: FloatArray, which: NDArray[np.intp] | slice = _EVERYONE) -> FloatArray:
        """The states in which the devices ``which`` have ``share``: Newton's method in logarithms, from above."""
        target = share / self._watts[which]
        state = self._more_than_state_of(target)
        for _ in range(6):
            nats = np.log1p(state)
            psi = _psi(state, nats)
            state = state * np.exp(np.log(target / psi) * psi / (state * nats))
        return state

    def _next_breakpoints(
        self,
        flat: NDArray[np.intp],
        response: Response,
        faster: NDArray[np.bool_],
        low: FloatArray,
        high: FloatArray,
        energy_price: float,
    ) -> FloatArray:
        """The nearest breakpoints of the devices ``flat``, whose every limit binds, on the side they need.

        A breakpoint is a state at which a limit (on frequency, batch or power) starts or ceases to bind; between two of
        them with every limit binding, the finishing time is constant and Newton's method has no slope to follow.
        """
        devices = self.devices
        capacitance, frequency = devices.capacitance[flat], response.frequency_hz[flat]
        worth = self.noise[flat] / (energy_price * devices.cycles_per_sample[flat])
        cap, cycle_j = np.expm1(self._most_nats[flat]), compute_energy(1.0, 1.0, frequency, capacitance)
        ends = devices.min_frequency_hz, devices.max_frequency_hz
        shares = [2.0 * capacitance * limit[flat] ** 3 for limit in ends]
        shares += [frequency * (worth / limit[flat] ** 2 - cycle_j) for limit in (self._most_batch, self._least_batch)]
        shares.append(self._watts[flat] * _psi(cap, self._most_nats[flat]))
        breakpoints = np.array([self._state_of(np.maximum(share, np.finfo(float).tiny), flat) for share in shares])
        above = np.min(np.where(breakpoints > low * (1.0 + _BESIDE), breakpoints * (1.0 + _BESIDE), np.inf), axis=0)
        below = np.max(np.where(breakpoints < high * (1.0 - _BESIDE), breakpoints * (1.0 - _BESIDE), 0.0), axis=0)
        nearest: FloatArray = np.where(faster, np.minimum(above, high), np.maximum(below, low))
        return nearest

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
