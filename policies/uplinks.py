"""How a device's upload answers its share of the price of time: one class for each way to have a band.

A device has a *state* (K,), a number above 0 in which its share r_k (W) and everything that follows from it are
explicit; `prefine.policies.device_barrier` searches over states. Source: docs/theory.md, section 3b, "Devices".
"""

from copy import copy
from typing import NamedTuple, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from prefine.emulator.access import noise_psd_w_hz, planned_bands_hz, sending_s
from prefine.emulator.physics import LN2, Mixed
from prefine.emulator.types import Devices, FloatArray, Radio

_SMALL_SNR = 0.03
"""Below it psi is summed as a series: larger needs more terms for the same accuracy, smaller cancels more digits."""

Scalar = TypeVar("Scalar", bound=np.generic)

Index = tuple[slice | NDArray[np.intp], ...]
"""Some entries of arrays whose last axis is the devices, by slices or by numbers on every axis."""


def part(values: NDArray[Scalar], index: Index) -> NDArray[Scalar]:
    """The entries ``index`` of ``values``; an axis that is missing or of length 1 stands for one of any length."""
    chosen = index[-values.ndim :] if values.ndim else ()
    if 1 in values.shape:
        chosen = tuple(_first(each) if length == 1 else each for each, length in zip(chosen, values.shape, strict=True))
    some: NDArray[Scalar] = values[chosen]
    return some


def _first(index: slice | NDArray[np.intp]) -> slice | NDArray[np.intp]:
    return slice(0, 1) if isinstance(index, slice) else np.zeros_like(index)


class Sent(NamedTuple):
    """What devices do at their states: share of the price in W, upload time, and ln(1 + SNR); all (n,).

    Slopes are d log(value) / d log(state).
    """

    share: FloatArray
    share_slope: FloatArray
    upload_s: FloatArray
    upload_slope: FloatArray
    nats: FloatArray


class Uplink(Protocol):
    """The uploads of K devices under shares of the price of time; states and shares are (..., K)."""

    soonest_s: FloatArray
    """The least upload time (K,)."""

    def part(self, index: Index) -> "Uplink":
        """The uploads of some devices, for whom `sending` is not asked."""
        ...

    def respond(self, state: FloatArray) -> Sent:
        """The upload of least energy plus price of the time it takes."""
        ...

    def state_of(self, share: FloatArray) -> FloatArray:
        """The states in which devices have ``share``."""
        ...

    def ceiling(self, share: FloatArray) -> FloatArray:
        """States from which on nobody's share is below ``share`` and nobody's upload is any faster."""
        ...

    def limits(self) -> list[FloatArray]:
        """The shares at which a limit of an upload starts to bind."""
        ...

    def sending(self, nats: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Transmit power in W and upload time in s at ln(1 + SNR) = ``nats``; exact where a limit binds."""
        ...

    def joules(self, nats: FloatArray) -> FloatArray:
        """The energy of an upload at ln(1 + SNR) = ``nats``."""
        ...


class OwnBands:
    """Each device sends in the band it can count on (`planned_bands_hz`); its state is the SNR without power limits.

    Then r = rho ((1 + s) ln(1 + s) - s) with rho = N0 W / g. ``full_power`` pins every device to its maximum power,
    ``decided_hz`` (K,) are bands that a plan has decided on.
    """

    def __init__(
        self, devices: Devices, radio: Radio, *, full_power: bool = False, decided_hz: FloatArray | None = None
    ) -> None:
        self._devices, self._radio, self._decided_hz = devices, radio, decided_hz
        bands_hz = planned_bands_hz(devices, radio, decided_hz)
        self._watts = noise_psd_w_hz(devices, radio) * bands_hz / devices.gain
        self._nat_seconds = radio.uplink_bits * LN2 / bands_hz
        self._most_nats = np.log1p(devices.max_power_w / self._watts)
        self._least_nats = self._most_nats if full_power else np.log1p(devices.least_power_w / self._watts)
        self._least_binds = bool(np.any(devices.least_power_w > 0.0))
        self.soonest_s = self._nat_seconds / self._most_nats

    def part(self, index: Index) -> Self:
        """See `Uplink`."""
        some = copy(self)
        for name in ("_watts", "_nat_seconds", "_most_nats", "_least_nats", "soonest_s"):
            setattr(some, name, part(getattr(self, name), index))
        return some

    def respond(self, state: FloatArray) -> Sent:
        """See `Uplink`."""
        nats = np.log1p(state)
        psi = snr_price(state, nats)
        sent_nats = between(nats, self._least_nats, self._most_nats)
        return Sent(
            self._watts * psi,
            state * nats / psi,
            self._nat_seconds / sent_nats,
            np.where(sent_nats == nats, state / ((1.0 + state) * nats), 0.0),
            sent_nats,
        )

    def state_of(self, share: FloatArray) -> FloatArray:
        """Newton's method in logarithms, from above."""
        target = share / self._watts
        state = _more_than_state_of(target)
        for _ in range(6):
            nats = np.log1p(state)
            psi = snr_price(state, nats)
            state = state * np.exp(np.log(target / psi) * psi / (state * nats))
        return state

    def ceiling(self, share: FloatArray) -> FloatArray:
        """See `Uplink`."""
        most: FloatArray = np.maximum(_more_than_state_of(share / self._watts), np.expm1(self._most_nats))
        return most

    def limits(self) -> list[FloatArray]:
        """Maximum power, and least power where there is one."""
        ends = [self._most_nats, self._least_nats] if self._least_binds else [self._most_nats]
        return [self._watts * snr_price(np.expm1(nats), nats) for nats in ends]

    def sending(self, nats: FloatArray) -> tuple[FloatArray, FloatArray]:
        """See `Uplink`."""
        devices = self._devices
        power = np.clip(self._watts * np.expm1(nats), devices.least_power_w, devices.max_power_w)
        if self._least_binds:
            power = np.where(nats == self._least_nats, np.minimum(devices.least_power_w, devices.max_power_w), power)
        power = np.where(nats == self._most_nats, devices.max_power_w, power)
        return power, sending_s(devices, self._radio, power, self._decided_hz)

    def joules(self, nats: FloatArray) -> FloatArray:
        """See `Uplink`."""
        return self._watts * np.expm1(nats) * self._nat_seconds / nats


class NoUpload:
    """Nothing is sent: for the part of a round before the first upload. The state is the share itself."""

    def __init__(self, count: int) -> None:
        self.soonest_s = np.zeros(count)

    def part(self, index: Index) -> "NoUpload":
        """See `Uplink`."""
        return NoUpload(len(part(self.soonest_s, index)))

    def respond(self, state: FloatArray) -> Sent:
        """See `Uplink`."""
        ones = np.ones_like(state)
        return Sent(state, ones, 0.0 * state, ones, ones)

    def state_of(self, share: FloatArray) -> FloatArray:
        """The share."""
        return share

    def ceiling(self, share: FloatArray) -> FloatArray:
        """The share."""
        return share

    def limits(self) -> list[FloatArray]:
        """None."""
        return []

    def sending(self, nats: FloatArray) -> tuple[FloatArray, FloatArray]:
        """No power for no time."""
        return 0.0 * nats, 0.0 * nats

    def joules(self, nats: FloatArray) -> FloatArray:
        """None."""
        return 0.0 * nats


def between(values: FloatArray, low: Mixed, high: Mixed) -> FloatArray:
    """`numpy.clip`, at a third of what a call of it costs."""
    result: FloatArray = np.minimum(np.maximum(values, low), high)
    return result


def snr_price(snr: FloatArray, nats: FloatArray) -> FloatArray:
    """psi = (1 + s) ln(1 + s) - s at ``nats`` = ln(1 + s), by its series where the difference would cancel."""
    psi = (1.0 + snr) * nats - snr
    few = snr < _SMALL_SNR
    if few.any():
        small = snr[few]
        series = np.zeros_like(small)
        for order in range(11, 1, -1):
            series = series * small + (-1.0) ** order / (order * (order - 1))
        psi[few] = series * small**2
    return psi


def _more_than_state_of(target: FloatArray) -> FloatArray:
    """An SNR s with (1 + s) ln(1 + s) - s >= ``target``, since the left side is at least s^2 / (2 + 2 s / 3)."""
    state: FloatArray = target / 3.0 + np.sqrt(target**2 / 9.0 + 2.0 * target)
    return state
