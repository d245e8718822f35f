"""An upload that pays for the band it uses, beside the time it takes: closed forms (docs/theory.md, section 3f).

With rho = N0 / g, Q' = Q ln 2 and x = ln(1 + SNR), Q bits in the band w and the time t need x w t = Q' and the power p
= rho w (e^x - 1). At the price r (W) of time and beta (J/Hz) of band, rho psi(x) = beta / t = r / w with psi = (1 + s)
ln(1 + s) - s: the last equation is that of a band of one's own. So psi(x)^2 / x = r beta / (rho^2 Q'). Where a power
limit P binds, s = P / (rho w) solves x^2 / (s^2 (x - s / (1 + s))) = (r + P) rho^2 Q' / (beta P^2) instead.
"""

from copy import copy
from functools import cache
from typing import NamedTuple

import numpy as np

from prefine.emulator.access import noise_psd_w_hz
from prefine.emulator.physics import LN2
from prefine.emulator.types import Devices, FloatArray, Radio
from prefine.policies.inverse import LogInverse
from prefine.policies.uplinks import Index, Sent, part, snr_price

_SMALL_SNR = 0.03
"""Below it differences that would cancel are summed as series."""

_MOST_NATS = 300.0
"""ln(1 + SNR) up to here: no link of this world has more."""

_LEAST_SNR = 1e-9
"""SNR at which a band counts as being as wide as can be: what is left to gain is this part."""

_WIDTH_STEPS = 8
"""Newton steps from above for an SNR: as many as the last digits need."""

_MOST_SHARE = 1e150
"""W: no share is larger, and its square is still a number."""


class Banded(NamedTuple):
    """Uploads at prices of time and band; all (n,). ``band_hz`` is the band taken, ``nats`` is ln(1 + SNR).

    Derivatives of logarithms: ``*_by_share`` by the log of the share, ``*_by_price`` by that of the band's price.
    """

    share: FloatArray
    upload_s: FloatArray
    band_hz: FloatArray
    power_w: FloatArray
    nats: FloatArray
    upload_by_share: FloatArray
    upload_by_price: FloatArray
    band_by_share: FloatArray
    band_by_price: FloatArray


class PricedBand:
    """Everyone's upload where a hertz costs ``band_price`` (J/Hz), as a `prefine.policies.uplinks.Uplink`.

    The state of a device is its share of the price of time. ``full_power`` pins every device to its maximum power.
    """

    def __init__(self, devices: Devices, radio: Radio, band_price: float, *, full_power: bool = False) -> None:
        self._rho = noise_psd_w_hz(devices, radio) / devices.gain
        self._nat_hz_s, self._price = radio.uplink_bits * LN2, band_price
        self._most_w = devices.max_power_w
        self._least_w = devices.max_power_w if full_power else devices.least_power_w
        self._full_power = full_power
        self.soonest_s = self._nat_hz_s * self._rho / self._most_w

    def at(self, band_price: float) -> "PricedBand":
        """The same at another price."""
        other = copy(self)
        other._price = band_price
        return other

    def part(self, index: Index) -> "PricedBand":
        """See `prefine.policies.uplinks.Uplink`."""
        some = copy(self)
        for name in ("_rho", "_most_w", "_least_w", "soonest_s"):
            setattr(some, name, part(getattr(self, name), index))
        return some

    def answer(self, share: FloatArray) -> Banded:
        """The upload of least energy plus ``share`` times its time plus the price of its band."""
        rho = self._rho
        scale = self._nat_hz_s / self._price * rho**2
        log_nats = _free_nats()(np.log(share) - np.log(scale))
        nats = np.exp(log_nats)
        snr = np.expm1(nats)
        psi = snr_price(snr, nats)
        power = scale * psi * snr / nats
        growth = nats**2 * (1.0 + snr) / psi
        per = 1.0 / (2.0 * growth - 1.0)
        free = growth * per
        upload_s, band_hz = self._price / (rho * psi), self._nat_hz_s * rho * psi / (self._price * nats)
        made = Banded(share, upload_s, band_hz, power, nats, -free, 1.0 - free, free - per, free - per - 1.0)
        over, under = power > self._most_w, power < self._least_w
        binds = over | under
        if self._full_power:
            return self._limited(share, self._most_w, rho)
        if not np.any(binds):
            return made
        limit = np.where(under, self._least_w, self._most_w)
        bound = self._limited(share, limit, rho)
        return Banded(*(np.where(binds, one, other) for one, other in zip(bound, made, strict=True)))

    def _limited(self, share: FloatArray, power: FloatArray, rho: FloatArray) -> Banded:
        """The same at a given ``power`` in W."""
        log_snr = _limited_snr()(np.log(self._price / self._nat_hz_s / (share + power)) + 2.0 * np.log(power / rho))
        snr = np.exp(log_snr)
        nats = np.log1p(snr)
        band_hz = power / (rho * snr)
        by_share = -(share / (share + power)) / _limited_slope(log_snr)
        by_price = 1.0 / _limited_slope(log_snr)
        slower = 1.0 - snr / ((1.0 + snr) * nats)
        upload_s = self._nat_hz_s / (band_hz * nats)
        return Banded(share, upload_s, band_hz, power, nats, slower * by_share, slower * by_price, -by_share, -by_price)

    def widths_hz(self, upload_s: FloatArray) -> FloatArray:
        """The bands (K,) in which full power takes ``upload_s``, longer than `soonest_s`: s = h ln(1 + s) by Newton."""
        longer = upload_s / self.soonest_s
        snr = 2.0 * (longer - 1.0) * (1.0 + np.log(longer))
        for _ in range(_WIDTH_STEPS):
            snr -= (snr - longer * np.log1p(snr)) / (1.0 - longer / (1.0 + snr))
        return self._most_w / (self._rho * snr)

    def respond(self, state: FloatArray) -> Sent:
        """See `prefine.policies.uplinks.Uplink`."""
        made = self.answer(state)
        return Sent(state, np.ones_like(state), made.upload_s, -made.upload_by_share, made.nats)

    def state_of(self, share: FloatArray) -> FloatArray:
        """The share."""
        return share

    def ceiling(self, share: FloatArray) -> FloatArray:
        """See `prefine.policies.uplinks.Uplink`: where the SNR in the band taken is next to nothing."""
        widest = self._price * self._most_w**2 * 2.0 / _LEAST_SNR**2 / (self._nat_hz_s * self._rho**2)
        most: FloatArray = np.maximum(share, np.minimum(widest, _MOST_SHARE))
        return most

    def limits(self) -> list[FloatArray]:
        """None: an upload that pays for band always answers its share."""
        return []

    def sending(self, nats: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Not asked: power and time depend on the band too."""
        raise NotImplementedError

    def joules(self, nats: FloatArray) -> FloatArray:
        """Not asked, as above."""
        raise NotImplementedError


def _free(log_nats: FloatArray) -> FloatArray:
    """2 log psi(x) - log x."""
    nats = np.exp(log_nats)
    result: FloatArray = 2.0 * _log_psi(nats) - log_nats
    return result


def _log_psi(nats: FloatArray) -> FloatArray:
    small = np.minimum(nats, 30.0)
    near = np.log(snr_price(np.expm1(small), small))
    result: FloatArray = np.where(nats > small, nats + np.log(np.maximum(nats, 2.0) - 1.0), near)
    return result


def _free_slope(log_nats: FloatArray) -> FloatArray:
    nats = np.exp(log_nats)
    return 2.0 * nats * np.exp(log_nats + nats - _log_psi(nats)) - 1.0


def _limited(log_snr: FloatArray) -> FloatArray:
    """log of s^2 (x - s / (1 + s)) / x^2, which rises in s."""
    snr = np.exp(log_snr)
    nats = np.log1p(snr)
    result: FloatArray = np.log(_excess(snr)) + 2.0 * (log_snr - np.log(nats))
    return result


def _limited_slope(log_snr: FloatArray) -> FloatArray:
    snr = np.exp(log_snr)
    nats, part = np.log1p(snr), snr / (1.0 + snr)
    result: FloatArray = 2.0 + part**2 / _excess(snr) - 2.0 * part / nats
    return result


def _excess(snr: FloatArray) -> FloatArray:
    """ln(1 + s) - s / (1 + s), by its series where the difference would cancel."""
    excess = np.log1p(snr) - snr / (1.0 + snr)
    small = np.minimum(snr, _SMALL_SNR)
    series = np.zeros_like(snr)
    for order in range(12, 1, -1):
        series = series * small + (-1.0) ** order * (1.0 - 1.0 / order)
    return np.where(snr < _SMALL_SNR, series * small**2, excess)


@cache
def _free_nats() -> LogInverse:
    return LogInverse(_free, _free_slope, np.log(1e-9), np.log(_MOST_NATS), 3.0)


@cache
def _limited_snr() -> LogInverse:
    return LogInverse(_limited, _limited_slope, np.log(1e-10), np.log(1e30), 2.0)
