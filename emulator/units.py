"""Physical constants and conversions; everything else in this project is plain SI."""

import math

MILLISECOND = 1e-3
SPEED_OF_LIGHT_M_S = 299_792_458.0
"""Exact by definition of the metre (SI, 1983)."""

THERMAL_NOISE_DBM_HZ = -174.0
"""Thermal noise power spectral density at 290 K, k_B T, rounded as in 3GPP link budgets."""


def from_db(value_db: float) -> float:
    """Linear power ratio of ``value_db`` decibels; ``-inf`` is 0.

    >>> from_db(30.0)
    1000.0
    """
    return float(10.0 ** (value_db / 10.0))


def to_db(ratio: float) -> float:
    """Decibels of a linear power ratio; 0 is ``-inf``.

    >>> to_db(100.0)
    20.0
    """
    return 10.0 * math.log10(ratio) if ratio > 0.0 else -math.inf


def dbm_to_watt(value_dbm: float) -> float:
    """Power in watts of ``value_dbm`` decibels above one milliwatt.

    >>> dbm_to_watt(0.0)
    0.001
    """
    return from_db(value_dbm) * 1e-3
