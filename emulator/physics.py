"""The formulas of radio and processor, each once: the planner and the clock both call these.

Every function is elementwise: give floats and get a float, give arrays of one shape (scalars mix in) and get an array.
Sources: Shannon (1949) for the rate; Burd and Brodersen (1996) for the energy of switched CMOS, in the form common in
edge learning (Tran et al., INFOCOM 2019; Yang et al., IEEE TWC 2021).
"""

from typing import Any, TypeVar

import numpy as np

from prefine.emulator.types import FloatArray

LN2 = float(np.log(2.0))

Number = TypeVar("Number", float, FloatArray)
"""The argument that decides whether a result is a float or an array."""

Mixed = FloatArray | float
"""An argument that may be a scalar beside arrays."""


def rate(bandwidth_hz: Mixed, power_w: Mixed, gain: Number, noise_psd_w_hz: Mixed) -> Number:
    """Shannon rate W log2(1 + p g / (N0 W)) in bit/s."""
    result: Any = bandwidth_hz * np.log1p(power_w * gain / (noise_psd_w_hz * bandwidth_hz)) / LN2
    return result  # type: ignore[no-any-return]  # NumPy's scalars are floats, its types do not say so


def gain_for_rate(rate_bit_s: Number, bandwidth_hz: Mixed, power_w: Mixed, noise_psd_w_hz: Mixed) -> Number:
    """Channel gain at which ``power_w`` reaches ``rate_bit_s``: (2^(r/W) - 1) N0 W / p, the inverse of `rate`."""
    result: Any = np.expm1(rate_bit_s / bandwidth_hz * LN2) * (noise_psd_w_hz * bandwidth_hz) / power_w
    return result  # type: ignore[no-any-return]  # as above


def upload_time(bits: float, bandwidth_hz: Mixed, power_w: Mixed, gain: Number, noise_psd_w_hz: Mixed) -> Number:
    """Seconds to send ``bits`` over a constant gain: Q / rate. Its energy is the power times this."""
    return bits / rate(bandwidth_hz, power_w, gain, noise_psd_w_hz)


def upload_power(bits: float, bandwidth_hz: Mixed, upload_s: Number, gain: Mixed, noise_psd_w_hz: Mixed) -> Number:
    """Transmit power in watts that sends ``bits`` in ``upload_s`` over a constant gain; inverse of `upload_time`.

    Power and gain enter the rate as a product, so this is `gain_for_rate` with their roles exchanged.
    """
    return gain_for_rate(bits / upload_s, bandwidth_hz, gain, noise_psd_w_hz)


def compute_time(samples: Number, cycles_per_sample: Mixed, frequency_hz: Mixed) -> Number:
    """Seconds to process ``samples``: b c / f."""
    result: Any = samples * cycles_per_sample / frequency_hz
    return result  # type: ignore[no-any-return]  # as above


def compute_energy(samples: Number, cycles_per_sample: Mixed, frequency_hz: Mixed, capacitance: Mixed) -> Number:
    """Joules to process ``samples``: kappa b c f^2, with kappa in J/(cycle Hz^2)."""
    result: Any = samples * cycles_per_sample * capacitance * frequency_hz**2
    return result  # type: ignore[no-any-return]  # as above
