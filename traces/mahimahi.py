"""Mahimahi packet-delivery traces: one line for each 1500-byte packet that may pass, the millisecond it may do so.

Netravali et al. (2015), "Mahimahi: Accurate Record-and-Replay for HTTP". A repeated number is several packets, a gap is
an outage, and the file starts over after its last number.
"""

from collections.abc import Iterable

import numpy as np

from prefine.emulator.text import first_bad, numbers, quoted, whole, wrong
from prefine.emulator.units import MILLISECOND
from prefine.traces.series import Series

PACKET_BITS = 1500 * 8
MAX_BINS = 10_000_000


def parse_mahimahi(lines: Iterable[str], source: str, bin_s: float = 0.1) -> Series:
    """The rate in bins of ``bin_s``; every packet counts, those at the very end in the last bin.

    The last bin takes up to half a bin more or less, so one repetition carries exactly the file's packets.
    Raises InputError at a line that is no whole number of milliseconds, or before the one above it.
    """
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
    period_s = float(millisecond[-1]) * MILLISECOND
    if period_s == 0.0:
        raise wrong(source, line[-1], "the last delivery time, the period of the trace, is 0; must be at least 1")
    bins = max(1, round(period_s / bin_s))
    if bins > MAX_BINS:
        raise wrong(source, line[-1], f"{period_s:g} s make {bins} bins of {bin_s:g} s, allowed are {MAX_BINS}")
    begin_s = bin_s * np.arange(bins, dtype=np.float64)
    width_s = np.diff(np.append(begin_s, period_s))
    packets = np.histogram(millisecond * MILLISECOND, np.append(begin_s, period_s))[0]
    note = f"{len(rows)} packets of 1500 bytes in {period_s:g} s, rate in bins of {bin_s:g} s"
    return Series(begin_s, packets * PACKET_BITS / width_s, "rate_bit_s", period_s, (note,))
