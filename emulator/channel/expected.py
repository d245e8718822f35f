"""The expected upload of devices at rest under fading: one path of the fading, the same for all of them.

Fading has the same law for every device, so devices differ in their mean signal-to-noise ratio and in the bits they
send per hertz, and in nothing else. The path is drawn as the clock draws it; then its values are replaced, rank by
rank, by the quantiles of the law of |h|^2. What depends on the law alone, such as the ergodic rate, is exact from then
on; chance is left in how fades follow each other. Uploads begin evenly over the path, which closes on itself.
"""

import math
from dataclasses import dataclass

import numpy as np

from prefine.emulator.channel.base import Grid, Process
from prefine.emulator.channel.powerlaw import GOLDEN
from prefine.emulator.physics import LN2
from prefine.emulator.types import FloatArray, IntArray

DRAWS = 16
"""Independent draws that a path is joined of, so that no one draw of waves decides."""

LEAST_STEPS, MOST_STEPS = 2**15, 2**20
LATTICE = 0.1 * math.log(10.0)
"""Distance of the places at which expected uploads are worked out, in the logarithms of SNR and of bit/Hz: 1 dB."""


def path_steps(step_s: float, horizon_s: float) -> int:
    """How many steps a path has to average over ``horizon_s`` seconds: a power of two."""
    wanted = 1 << math.ceil(math.log2(max(horizon_s / step_s, 1.0)))
    return min(max(wanted, LEAST_STEPS), MOST_STEPS)


def path_of(fading: Process, law: FloatArray, step_s: float) -> "FadingPath":
    """The path with the values ``law`` (n,), which rise, in the order of `DRAWS` devices of ``fading``."""
    count = len(law)
    grid = Grid(0.5 * step_s, step_s, count // DRAWS)
    drawn = np.concatenate([fading.sample(device, grid) for device in range(DRAWS)])
    power = np.empty(count)
    power[np.argsort(drawn, kind="stable")] = law
    return FadingPath(power, step_s)


@dataclass(frozen=True, eq=False)
class FadingPath:
    """Fading ``power`` (n,) of mean 1, each value held for ``step_s`` seconds; after the last comes the first."""

    power: FloatArray
    step_s: float

    def upload_s(self, snr: float, bits_per_hz: FloatArray) -> FloatArray:
        """Mean durations (m,) of uploads of ``bits_per_hz`` (m,) at the mean signal-to-noise ratio ``snr``.

        One begins in each step, at places that fill the step evenly (multiples of the golden section).
        """
        count, step_s = len(self.power), self.step_s
        sent = np.log1p(snr * self.power) * (step_s / LN2)
        edge = np.concatenate(([0.0], np.cumsum(sent)))
        lap, edge_s = edge[-1], np.arange(2 * count + 1) * step_s
        twice = np.concatenate((edge, lap + edge[1:]))
        within = np.arange(count) * GOLDEN % 1.0
        begin_s, begin = edge_s[:count] + within * step_s, edge[:count] + within * sent
        laps, rest = np.divmod(bits_per_hz, lap)
        ends_s = [np.mean(np.interp(begin + left, twice, edge_s) - begin_s) for left in rest]
        mean_s: FloatArray = laps * count * step_s + np.array(ends_s)
        return mean_s

    def expected_upload_s(self, snr: FloatArray, bits_per_hz: FloatArray) -> FloatArray:
        """`upload_s` of many devices, each with its own ``snr`` (K,) > 0 and ``bits_per_hz`` (K,) > 0; shape (K,).

        By cubic interpolation of the logarithm, over what the same upload takes without fading, between places of a
        fixed lattice: a device's value does not depend on who else is asked for.
        """
        row, across = _around(np.log(snr))
        column, along = _around(np.log(bits_per_hz))
        rows, at_row = np.unique(row, return_inverse=True)
        columns, at_column = np.unique(column, return_inverse=True)
        known = self._log_delay(rows, columns)[at_row[:, :, None], at_column[:, None, :]]
        log_delay = np.einsum("ki,kj,kij->k", across, along, known)
        expected_s: FloatArray = bits_per_hz / np.log1p(snr) * LN2 * np.exp(log_delay)
        return expected_s

    def _log_delay(self, rows: IntArray, columns: IntArray) -> FloatArray:
        """The logarithm of how many times longer fading makes an upload, at places of the lattice, (rows, columns)."""
        found = np.empty((len(rows), len(columns)))
        bits_per_hz = np.exp(LATTICE * columns)
        for place, row in zip(found, rows.tolist(), strict=True):
            snr = math.exp(LATTICE * row)
            place[:] = np.log(self.upload_s(snr, bits_per_hz) * (math.log1p(snr) / LN2) / bits_per_hz)
        return found


def _around(value: FloatArray) -> tuple[IntArray, FloatArray]:
    """Four places of the lattice around each ``value`` (K,) and their weights in a cubic, (K, 4) both."""
    first = np.floor(value / LATTICE).astype(np.int64) - 1
    t = (value / LATTICE - first)[:, None] - np.arange(4)
    weights = np.stack(
        (
            -t[:, 1] * t[:, 2] * t[:, 3] / 6.0,
            t[:, 0] * t[:, 2] * t[:, 3] / 2.0,
            -t[:, 0] * t[:, 1] * t[:, 3] / 2.0,
            t[:, 0] * t[:, 1] * t[:, 2] / 6.0,
        ),
        axis=1,
    )
    return first[:, None] + np.arange(4), weights
