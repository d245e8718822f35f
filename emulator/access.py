"""Who has how much of the uplink band when, and what a round's uploads take under each access (docs/access.md).

A round on constant gains: device k has computed after ``ready_s[k]`` and then sends Q bits at a constant power.

| access | who sends |
|---|---|
| ``fdma`` | everyone, in a band of its own |
| ``tdma`` | one at a time in the whole band, as they get ready (slots do not change when the last upload ends) |
| ``ofdma`` | everyone; the bands of those who are not sending are shared out in proportion |

Bands that a plan decides on (`Radio.bandwidth`) are kept for the whole round. The clock simulates the same rules on
gains that vary (`prefine.emulator.simulation.radio`); on constant ones both agree (tests hold them to 1e-9).
"""

import numpy as np

from prefine.emulator.physics import LN2, Mixed, upload_time
from prefine.emulator.types import Devices, DevicesPlan, FloatArray, Radio


def whole_band_hz(devices: Devices, radio: Radio) -> float:
    """The band that all devices have together."""
    own: FloatArray = devices.bandwidth_hz
    return float(own.sum()) if radio.total_bandwidth_hz is None else radio.total_bandwidth_hz


def planned_bands_hz(devices: Devices, radio: Radio, decided_hz: FloatArray | None = None) -> FloatArray:
    """The band (K,) each device can count on while it sends: what a plan ``decided``, the whole one, or its own.

    Under OFDMA its own part of the whole, where nobody but ``devices`` sends.
    """
    if decided_hz is not None:
        return decided_hz
    if radio.access == "tdma":
        return np.full(len(devices), whole_band_hz(devices, radio))
    if radio.access == "ofdma" and radio.bandwidth == "given":
        return devices.bandwidth_hz * (whole_band_hz(devices, radio) / float(devices.bandwidth_hz.sum()))
    return devices.bandwidth_hz


def noise_psd_w_hz(devices: Devices, radio: Radio) -> Mixed:
    """Noise and interference at the server in W/Hz, one for all or (K,)."""
    if devices.interference_w is None:
        return radio.noise_psd_w_hz
    whole = radio.access == "tdma"
    return radio.noise_psd_w_hz + devices.interference_w / (
        whole_band_hz(devices, radio) if whole else devices.bandwidth_hz
    )


def sending_s(devices: Devices, radio: Radio, power_w: FloatArray, decided_hz: FloatArray | None = None) -> FloatArray:
    """How long (K,) each device sends at ``power_w`` in the band it can count on; infinite where the gain is 0."""
    bands_hz = planned_bands_hz(devices, radio, decided_hz)
    with np.errstate(divide="ignore"):
        return upload_time(radio.uplink_bits, bands_hz, power_w, devices.gain, noise_psd_w_hz(devices, radio))


def uploads(devices: Devices, radio: Radio, plan: DevicesPlan, ready_s: FloatArray) -> tuple[float, FloatArray]:
    """When the last upload of ``plan`` ends, and how long (K,) each device sends."""
    if radio.access == "ofdma" and radio.bandwidth == "given":
        end_s = _reshared_end_s(devices, radio, plan.power_w, ready_s)
        return float(np.max(end_s)), end_s - ready_s
    upload_s = sending_s(devices, radio, plan.power_w, plan.bandwidth_hz)
    if radio.access == "tdma":
        return queued_end_s(ready_s, upload_s), upload_s
    return float(np.max(ready_s + upload_s)), upload_s


def planned_end_s(radio: Radio, ready_s: FloatArray, upload_s: FloatArray) -> float:
    """When the last of ``upload_s`` (K,) ends as designs reckon (docs/access.md): never before it does on the clock.

    Under TDMA the first upload waits until everyone is ready; under OFDMA each device has its own band and no more.
    """
    if radio.access == "tdma":
        return float(np.max(ready_s)) + float(np.sum(upload_s))
    return float(np.max(ready_s + upload_s))


def queued_end_s(ready_s: FloatArray, upload_s: FloatArray) -> float:
    """When the last of ``upload_s`` (K,) ends, one at a time, each not before its ``ready_s`` (K,).

    Whoever gets ready as number j keeps the band busy, with all those after it, until the end; or the band was idle.
    """
    order = np.argsort(ready_s, kind="stable")
    from_then_on = np.cumsum(upload_s[order][::-1])[::-1]
    return float(np.max(ready_s[order] + from_then_on))


def _reshared_end_s(devices: Devices, radio: Radio, power_w: FloatArray, ready_s: FloatArray) -> FloatArray:
    """When each upload ends, (K,), where the band of all is shared among those sending in proportion to their own."""
    own_hz, whole_hz = devices.bandwidth_hz, whole_band_hz(devices, radio)
    snr_hz = power_w * devices.gain / noise_psd_w_hz(devices, radio)
    left, end_s = np.full(len(devices), radio.uplink_bits), np.full(len(devices), np.inf)
    arrivals = np.argsort(ready_s, kind="stable")
    sending, arrived, now_s = arrivals[:0], 0, 0.0
    while arrived < len(arrivals) or len(sending):
        next_s = float(ready_s[arrivals[arrived]]) if arrived < len(arrivals) else np.inf
        band_hz = whole_hz * own_hz[sending] / own_hz[sending].sum()
        rates = band_hz * np.log1p(snr_hz[sending] / band_hz) / LN2
        with np.errstate(divide="ignore"):
            needed_s = left[sending] / rates
        step_s = min(float(np.min(needed_s, initial=np.inf)), next_s - now_s)
        if not np.isfinite(step_s):
            break
        left[sending] -= rates * step_s
        if step_s == next_s - now_s:
            sending, arrived, now_s = np.append(sending, arrivals[arrived]), arrived + 1, next_s
            continue
        done, now_s = needed_s <= step_s, now_s + step_s
        end_s[sending[done]] = now_s
        sending = sending[~done]
    return end_s
