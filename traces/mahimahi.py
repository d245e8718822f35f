"""Mahimahi packet-delivery traces: one line for each 1500-byte packet that may pass, the millisecond it may do so.

Netravali et al. (2015), "Mahimahi: Accurate Record-and-Replay for HTTP". A repeated number is several packets, a gap is
an outage, and the file starts over after its last number.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from prefine.emulator.text import first_bad, numbers, quoted, whole, wrong
from prefine.emulator.types import FloatArray
from prefine.emulator.units import MILLISECOND
from prefine.traces.series import Series

PACKET_BITS = 1500 * 8
MAX_BINS = 10_000_000
TOLERANCE_S = 0.02
"""Bins are chosen so that an upload ends at most so long before or after its last packet."""
WIDTHS_S = (0.1, 0.05, 0.02, 0.01, 0.005, 0.002, MILLISECOND)
"""Of these, widest first: within bins of the file's own resolution nothing can be misplaced."""
UPLOADS = (1, 3, 10, 30, 100, 300, 1000)
"""Packets of the uploads that are tried."""
STARTS = 2000
"""Instants they are tried from; every millisecond of a file that is not longer."""
GOLDEN = (np.sqrt(5.0) - 1.0) / 2.0
"""Multiples of it, modulo 1, are spread evenly and in step with no bins."""


class Bins(NamedTuple):
    """Packets counted in bins: ``edge_s`` (n + 1,), ``packets`` (n,)."""

    edge_s: FloatArray
    packets: FloatArray


def parse_mahimahi(lines: Iterable[str], source: str, bin_s: float | None = None) -> Series:
    """The rate in bins of ``bin_s``; every packet counts, those at the very end in the last bin.

    Left out, ``bin_s`` is the widest of `WIDTHS_S` that keeps uploads within `TOLERANCE_S`. The last bin takes up to
    half a bin more or less, so one repetition carries exactly the file's packets. Neighbours with the same rate are one
    row. Raises InputError at a line that is no whole number of milliseconds, or before the one above it.
    """
    line, millisecond = _deliveries(lines, source)
    packet_s = millisecond * MILLISECOND
    period_s = float(packet_s[-1])
    if period_s == 0.0:
        raise wrong(source, line[-1], "the last delivery time, the period of the trace, is 0; must be at least 1")
    if bin_s is not None and period_s / bin_s > MAX_BINS:
        count = round(period_s / bin_s)
        raise wrong(source, line[-1], f"{period_s:g} s make {count} bins of {bin_s:g} s, allowed are {MAX_BINS}")
    widths_s = (bin_s,) if bin_s else tuple(width_s for width_s in WIDTHS_S if period_s / width_s <= MAX_BINS)
    if not widths_s:
        raise wrong(source, line[-1], f"{period_s:g} s are too many bins; give --bin-s")
    for width_s in widths_s:
        bins = _counted(packet_s, width_s)
        off_s = upload_error_s(packet_s, bins)
        if off_s.max() <= TOLERANCE_S:
            break
    note = f"{len(packet_s)} packets of 1500 bytes in {period_s:g} s, rate in bins of {width_s:g} s"
    error = (
        f"an upload of {UPLOADS[0]} to {UPLOADS[-1]} packets ends up to {off_s.max() / MILLISECOND:.4g} ms, on average "
        f"{off_s.mean() / MILLISECOND:.2g} ms, before or after its last packet ({off_s.shape[1]} starts each)"
    )
    rate_bit_s = bins.packets * PACKET_BITS / np.diff(bins.edge_s)
    begins = np.append(True, rate_bit_s[1:] != rate_bit_s[:-1])
    return Series(bins.edge_s[:-1][begins], rate_bit_s[begins], "rate_bit_s", period_s, (note, error))


def upload_error_s(packet_s: FloatArray, bins: Bins) -> FloatArray:
    """How long after or before its last packet an upload ends in ``bins``, (uploads, starts).

    Uploads of `UPLOADS` packets begin at `STARTS` whole milliseconds all over the file; ``packet_s`` (n,) repeats after
    its last entry, as the bins do.
    """
    period_s, count = float(packet_s[-1]), len(packet_s)
    milliseconds = round(period_s / MILLISECOND)
    spread = np.floor(milliseconds * (GOLDEN * np.arange(STARTS) % 1.0))
    start_s = (spread if milliseconds > STARTS else np.arange(milliseconds, dtype=np.float64)) * MILLISECOND
    carried = np.append(0.0, np.cumsum(bins.packets))
    asked = np.array(UPLOADS)[:, None]
    lap, last = np.divmod(np.searchsorted(packet_s, start_s - MILLISECOND / 2) + asked - 1, count)
    packet_end_s = lap * period_s + packet_s[last]
    begun = np.round(np.interp(start_s, bins.edge_s, carried), 9)  # a start at an edge is not a little after it
    lap, within = np.divmod(begun + asked, count)
    after = np.clip(np.searchsorted(carried, within), 1, len(carried) - 1)
    share = (within - carried[after - 1]) / np.maximum(carried[after] - carried[after - 1], 1.0)
    bin_end_s = lap * period_s + bins.edge_s[after - 1] + share * (bins.edge_s[after] - bins.edge_s[after - 1])
    off_s: FloatArray = np.abs(bin_end_s - packet_end_s)
    return off_s


def _deliveries(lines: Iterable[str], source: str) -> tuple[FloatArray, FloatArray]:
    """The lines that say something (n,), and what they say, in milliseconds (n,)."""
    rows = [(number, text) for number, line in enumerate(lines, 1) if (text := line.strip())]
    if not rows:
        raise wrong(source, 1, "is empty; a Mahimahi trace has one whole number of milliseconds a line")
    line = np.array([number for number, _ in rows], dtype=np.float64)
    millisecond = numbers((text for _, text in rows), "delivery time", line, source)
    at = first_bad(~(whole(millisecond) & (millisecond >= 0.0)))
    if at is not None:
        text = quoted(rows[at][1])
        raise wrong(source, line[at], f"delivery time is {text}, must be a whole number of milliseconds, at least 0")
    at = first_bad(np.diff(millisecond) < 0.0)
    if at is not None:
        earlier, later = millisecond[at], millisecond[at + 1]
        raise wrong(source, line[at + 1], f"delivery time {later:.0f} is before {earlier:.0f}, must not fall")
    return line, millisecond


def _counted(packet_s: FloatArray, bin_s: float) -> Bins:
    period_s = float(packet_s[-1])
    edge_s = np.append(bin_s * np.arange(max(1, round(period_s / bin_s)), dtype=np.float64), period_s)
    # Half a millisecond on, no delivery stands on an edge, where rounding would decide; the last one stays inside.
    return Bins(edge_s, np.histogram(np.minimum(packet_s + MILLISECOND / 2, period_s), edge_s)[0].astype(np.float64))
