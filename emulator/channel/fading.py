"""Small-scale fading with unit mean power: Rayleigh and Rician by sum of sinusoids, and block fading.

Clarke's model: the scattered field is many waves from all directions, each shifted by f_d cos(angle). Simulated as in
Xiao, Zheng and Beaulieu (2006), "Novel Sum-of-Sinusoids Simulation Models for Rayleigh and Rician Fading Channels",
IEEE Trans. Wireless Commun. 5(12): random phases, one random angle in each of N equal sectors. Over the draws the
autocorrelation is J0(2 pi f_d tau) exactly, for any N; over time each draw has mean power one.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from prefine.emulator.channel.base import ROW, Channel, Grid, Process
from prefine.emulator.channel.expected import DRAWS, FadingPath, path_of, path_steps
from prefine.emulator.channel.mobility import Site
from prefine.emulator.channel.section import ChannelSection
from prefine.emulator.randomness import stream
from prefine.emulator.types import FloatArray, IntArray

TWO_PI = 2.0 * np.pi

HORIZON_COHERENCE_TIMES = 4000.0
"""Over so many the fading averages out: what planners take their statistics from."""

AT_ONCE = 32
"""Rows that are summed up together: so many stay in a processor's cache."""

MOST_KEPT = 2**17
"""Waves of all devices whose turns are kept, 64 MB: those of 2,048 devices with 64 waves each."""

ComplexArray = NDArray[np.complex128]


class FadingSection(ChannelSection):
    """Small-scale fading on top of the large-scale gain."""

    @property
    @abstractmethod
    def natural_step_s(self) -> float:
        """How long a gain is held in seconds, where ``step_s`` does not say."""

    @property
    @abstractmethod
    def memory_s(self) -> float:
        """After so long the fading has forgotten itself."""

    @abstractmethod
    def fading(self, numbers: Sequence[int], seed: int) -> Process:
        """The fading |h_k(t)|^2, of mean 1, of the devices with these ``numbers`` (K,) in the run with ``seed``."""

    @abstractmethod
    def law(self, count: int) -> FloatArray:
        """The law of |h|^2 at any instant: ``count`` equally likely values, rising (`powerlaw` has some)."""

    def build(self, site: Site, seed: int) -> Channel:
        """Large scale x fading, held on steps."""
        return self.faded(self.large_scale(site), self.fading(site.numbers, seed), self.step_s or self.natural_step_s)

    def path(self, seed: int) -> FadingPath:
        """A path of the fading that planners take their expectation over, drawn with ``seed``."""
        step_s = self.step_s or self.natural_step_s
        law = self.law(path_steps(step_s, HORIZON_COHERENCE_TIMES * self.memory_s))
        return path_of(self.fading(range(DRAWS), seed), law, step_s)

    def horizon_s(self, site: Site, delay_s: float) -> FloatArray:
        """So long that the fading averages out; the run's length where devices move about."""
        still_s = HORIZON_COHERENCE_TIMES * self.memory_s
        return np.full(len(site), still_s if self.mobility == "fixed" else delay_s)


class Rician:
    """A wave of constant strength beside a scattered field, with K = ``k_factor`` times its power; 0 is Rayleigh."""

    def __init__(
        self, numbers: Sequence[int], doppler_hz: float, seed: int, k_factor: float = 0.0, sinusoids: int = 64
    ) -> None:
        """Each of the K devices draws its waves by its own of the ``numbers`` (K,)."""
        draws = [_waves(stream(seed, "fading", number), sinusoids) for number in numbers]
        angle, self._phase = (np.stack(parts) for parts in zip(*draws, strict=True))
        self._shift = TWO_PI * doppler_hz * np.cos(angle)
        scattered = np.full(sinusoids, np.sqrt(1.0 / (sinusoids * (k_factor + 1.0))))
        self._amplitude = np.append(np.sqrt(k_factor / (k_factor + 1.0)), scattered)
        if k_factor == 0.0:
            self._amplitude, self._phase, self._shift = self._amplitude[1:], self._phase[:, 1:], self._shift[:, 1:]
        self._kept: _Kept | None = None

    def sample(self, device: int, grid: Grid) -> FloatArray:
        """|h|^2 at the instants of ``grid``."""
        h = self.amplitude(device, grid)
        power: FloatArray = h.real**2 + h.imag**2
        return power

    def amplitude(self, device: int, grid: Grid) -> ComplexArray:
        """Complex amplitude h at the instants of ``grid``.

        The grid is split into rows of instants, exp(j w (a + b)) = exp(j w a) exp(j w b). Rows, and instants in a row,
        are reached by repeated turns: few exponentials, and rounding grows only with the root of ``count``.
        """
        columns = max(1, int(np.sqrt(grid.count)))
        rows = -(-grid.count // columns)
        shift = self._shift[device]
        start = self._amplitude * np.exp(1j * (self._phase[device] + grid.start_s * shift))
        coarse = _turns(rows, grid.step_s * columns * shift) * start
        fine = _turns(columns, grid.step_s * shift)
        h: ComplexArray = np.einsum("rn,cn->rc", coarse, fine).ravel()[: grid.count]
        return h

    def rows(self, devices: IntArray, start_s: FloatArray, step_s: float, which: IntArray, row: IntArray) -> FloatArray:
        """As `sample`: the products and sums are the same, in the same order."""
        power = np.empty((len(row), ROW))
        if self._shift.size > MOST_KEPT:
            order = np.argsort(which, kind="stable")  # a device's rows together: its turns are worked out once
            for first in range(0, len(row), AT_ONCE):
                some = order[first : first + AT_ONCE]
                few, at = np.unique(which[some], return_inverse=True)
                turns = self._tables(self._shift[devices[few]], step_s)
                power[some] = _power(self._begun(devices[few], start_s[few]), *turns, at, row[some])
            return power
        kept = self._up_to_date(devices, start_s, step_s)
        for first in range(0, len(row), AT_ONCE):
            part = slice(first, first + AT_ONCE)
            power[part] = _power(kept.start, kept.coarse, kept.fine, devices[which[part]], row[part])
        return power

    def _up_to_date(self, devices: IntArray, start_s: FloatArray, step_s: float) -> "_Kept":
        """What is kept of all; of those of ``devices`` that were last asked for with another start, worked out anew."""
        kept = self._kept
        if kept is None or kept.step_s != step_s:
            never, start = np.full(len(self._shift), np.nan), np.empty_like(self._phase, np.complex128)
            kept = self._kept = _Kept(step_s, never, start, *self._tables(self._shift, step_s))
        other = np.flatnonzero(kept.start_s[devices] != start_s)
        if len(other):
            kept.start[devices[other]] = self._begun(devices[other], start_s[other])
            kept.start_s[devices[other]] = start_s[other]
        return kept

    def _begun(self, devices: IntArray, start_s: FloatArray) -> ComplexArray:
        """The waves (n, sinusoids) of ``devices`` (n,), each at its ``start_s`` (n,)."""
        waves: ComplexArray = self._amplitude * np.exp(
            1j * (self._phase[devices] + start_s[:, None] * self._shift[devices])
        )
        return waves

    def _tables(self, shift: FloatArray, step_s: float) -> tuple[ComplexArray, ComplexArray]:
        return _turns(ROW, step_s * ROW * shift), _turns(ROW, step_s * shift)


class _Kept(NamedTuple):
    """Of each device, on a grid of ``step_s``: the start (K,) it was last asked for with, and its waves then."""

    step_s: float
    start_s: FloatArray
    start: ComplexArray
    coarse: ComplexArray
    fine: ComplexArray


def _power(start: ComplexArray, coarse: ComplexArray, fine: ComplexArray, of: IntArray, row: IntArray) -> FloatArray:
    """|h|^2 (m, `ROW`) in row ``row`` of each of the devices ``of``, both (m,), from all waves and turns."""
    h = np.einsum("pn,pcn->pc", coarse[of, row] * start[of], fine[of])
    power: FloatArray = h.real**2 + h.imag**2
    return power


def _turns(count: int, angle: FloatArray) -> ComplexArray:
    """exp(j i angle) for i < ``count``, (..., count, sinusoids), for ``angle`` (..., sinusoids)."""
    factor = np.ones((*angle.shape[:-1], count, angle.shape[-1]), dtype=np.complex128)
    factor[..., 1:, :] = np.exp(1j * angle)[..., None, :]
    return np.cumprod(factor, axis=-2, out=factor)


def _waves(random: np.random.Generator, sinusoids: int) -> tuple[FloatArray, FloatArray]:
    """Angles of arrival and phases, (1 + sinusoids,) each; the first wave is the constant one."""
    sector = np.arange(sinusoids)
    angle = TWO_PI * np.append(random.random(), (sector + random.random(sinusoids)) / sinusoids)
    return angle, TWO_PI * random.random(1 + sinusoids)


class BlockFading:
    """Gain constant over blocks of ``block_s``, independent from block to block; Rician with ``k_factor``."""

    BLOCKS = 256

    def __init__(self, numbers: Sequence[int], block_s: float, seed: int, k_factor: float = 0.0) -> None:
        self._block_s = block_s
        self._line = np.sqrt(k_factor / (k_factor + 1.0))
        self._spread = np.sqrt(0.5 / (k_factor + 1.0))
        self._key = [int(stream(seed, "fading", number).integers(2**63)) for number in numbers]

    def sample(self, device: int, grid: Grid) -> FloatArray:
        """|h|^2 at the instants of ``grid``."""
        block = np.floor(grid.times() / self._block_s).astype(np.int64)
        chunks, row = np.unique(block // self.BLOCKS, return_inverse=True)
        power = np.stack([self._draw(device, int(chunk)) for chunk in chunks])
        return power[row, block % self.BLOCKS]

    def _draw(self, device: int, chunk: int) -> FloatArray:
        """Blocks [chunk BLOCKS, (chunk + 1) BLOCKS): Philox counts, so any stretch of it can be had directly."""
        random = np.random.Generator(np.random.Philox(key=self._key[device], counter=[0, 0, 0, chunk]))
        real, imaginary = self._spread * random.standard_normal((2, self.BLOCKS))
        power: FloatArray = (self._line + real) ** 2 + imaginary**2
        return power
