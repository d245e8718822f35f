"""The formulas of radio and processor against numbers worked out by hand, and each against its inverse.

In every case the inputs differ from one and from each other, so that no factor can change places unseen.
"""

import numpy as np
import pytest

from prefine.emulator import physics


def test_a_link_worked_out_by_hand() -> None:
    """4 Hz over noise 0.5 W/Hz is 2 W of noise; 0.25 W at gain 24 is 6 W: SNR 3, so 2 bit/s/Hz, 24 bits in 3 s."""
    band_hz, power_w, gain, noise = 4.0, 0.25, 24.0, 0.5
    assert physics.rate(band_hz, power_w, gain, noise) == pytest.approx(8.0, rel=1e-15)
    assert physics.gain_for_rate(8.0, band_hz, power_w, noise) == pytest.approx(gain, rel=1e-15)
    assert physics.upload_time(24.0, band_hz, power_w, gain, noise) == pytest.approx(3.0, rel=1e-15)
    assert physics.upload_power(24.0, band_hz, 3.0, gain, noise) == pytest.approx(power_w, rel=1e-15)


def test_a_computation_worked_out_by_hand() -> None:
    """6 samples of 5 cycles at 3 Hz; 0.5 J/(cycle Hz^2) make 4.5 J a cycle."""
    assert physics.compute_time(6.0, 5.0, 3.0) == pytest.approx(10.0, rel=1e-15)
    assert physics.compute_energy(6.0, 5.0, 3.0, 0.5) == pytest.approx(135.0, rel=1e-15)


def test_inverses_over_many_decades() -> None:
    generator = np.random.default_rng(0)
    band_hz, power_w, gain = (10.0 ** generator.uniform(*decades, 500) for decades in ((4, 8), (-3, 1), (-15, -7)))
    noise, bits = 4e-21, 1e5
    upload_s = physics.upload_time(bits, band_hz, power_w, gain, noise)
    assert np.allclose(physics.upload_power(bits, band_hz, upload_s, gain, noise), power_w, rtol=1e-9, atol=0.0)
    assert np.allclose(physics.gain_for_rate(bits / upload_s, band_hz, power_w, noise), gain, rtol=1e-9, atol=0.0)


def test_a_silent_link_carries_nothing() -> None:
    assert physics.rate(1e6, 0.1, 0.0, 4e-21) == 0.0
