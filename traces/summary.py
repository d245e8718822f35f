"""A trace in figures."""

from dataclasses import dataclass

import numpy as np

from prefine.emulator.channel.planner import time_quantiles
from prefine.emulator.channel.trace import Trace
from prefine.emulator.physics import rate
from prefine.emulator.types import FloatArray
from prefine.traces.series import Link

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)

_BINS = 4096


@dataclass(frozen=True)
class Summary:
    """One device's column of a trace; rates are those of the link it is looked at through, weighted by time."""

    device: int
    length_s: float
    rows: int
    shortest_step_s: float
    median_step_s: float
    longest_step_s: float
    silent_s: float
    longest_outage_s: float
    lowest_gain_db: float
    highest_gain_db: float
    mean_rate_bit_s: float
    rate_quantiles_bit_s: tuple[float, ...]


def summarize(trace: Trace, device: int, link: Link) -> Summary:
    """The figures of ``device``."""
    step_s = _steps(trace, device)
    gain_db = trace.gain_db[device]
    rates = rate(link.bandwidth_hz, link.power_w, 10.0 ** (gain_db / 10.0), link.noise_psd_w_hz)
    silent = np.isneginf(gain_db)
    heard = gain_db[~silent] if not silent.all() else np.array([-np.inf])
    weight_s = np.where(np.isfinite(step_s), step_s, 1.0)
    return Summary(
        device=device,
        length_s=trace.end_s[device],
        rows=len(gain_db),
        shortest_step_s=float(step_s.min()),
        median_step_s=float(np.median(step_s)),
        longest_step_s=float(step_s.max()),
        silent_s=float(step_s[silent].sum()),
        longest_outage_s=_longest_outage_s(step_s, silent),
        lowest_gain_db=float(heard.min()),
        highest_gain_db=float(heard.max()),
        mean_rate_bit_s=float(np.average(rates, weights=weight_s)),
        rate_quantiles_bit_s=tuple(quantiles_of_many(weight_s, rates, np.array(QUANTILES)).tolist()),
    )


def _steps(trace: Trace, device: int) -> FloatArray:
    steps: FloatArray = np.diff(np.append(trace.time_s[device], trace.end_s[device]))
    return steps


def _longest_outage_s(step_s: FloatArray, silent: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> float:
    """The longest stretch of ``silent`` steps (n,)."""
    edges = np.flatnonzero(np.diff(silent, prepend=False, append=False))
    if not len(edges):
        return 0.0
    stretches = np.add.reduceat(np.append(step_s, 0.0), edges)[::2]  # every other stretch is one that is heard
    return float(stretches.max())


def quantiles_of_many(duration_s: FloatArray, value: FloatArray, quantiles: FloatArray) -> FloatArray:
    """`time_quantiles` of ``value`` (n,), all finite: counted in bins, and only a quantile's bin is sorted."""
    low, high = float(value.min()), float(value.max())
    place = ((value - low) / (high - low or 1.0) * (_BINS - 1)).astype(np.int64)
    share = np.cumsum(np.bincount(place, duration_s, minlength=_BINS))
    wanted = quantiles * share[-1]
    found = np.empty(len(quantiles))
    for at, number in enumerate(np.minimum(np.searchsorted(share, wanted), _BINS - 1).tolist()):
        inside = place == number
        before = share[number - 1] if number else 0.0
        left = (wanted[at] - before) / (share[number] - before)
        found[at] = time_quantiles(duration_s[inside], value[inside], np.clip([left], 0.0, 1.0))[0]
    return found
