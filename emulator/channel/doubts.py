"""What a trace gives reason to doubt: gains that amplify, and a band other than the one it was measured in."""

import re
from typing import NamedTuple

import numpy as np

from prefine.emulator.channel.trace import Trace
from prefine.emulator.types import FloatArray

MOST_GAIN_DB = 0.0
"""A passive channel delivers no more than was sent."""
SAME_BAND = 0.01
"""Bands that differ by less, relative, are the same."""
_LINK = re.compile(r"link: (\d+(?:\.\d+)?(?:e\+?\d+)?) Hz, ")


class Doubt(NamedTuple):
    """``word`` goes into tables, ``line`` says it all."""

    word: str
    line: str


def link_text(bandwidth_hz: float, power_w: float, noise_dbm_hz: float) -> str:
    """What a trace's header says of the link by which rates became gains; `doubts` reads it again."""
    return f"link: {bandwidth_hz:.12g} Hz, {power_w:.12g} W, {noise_dbm_hz:.12g} dBm/Hz"


def doubts(trace: Trace, band_hz: FloatArray) -> tuple[Doubt, ...]:
    """What to doubt where devices with the bands ``band_hz`` (K,) replay ``trace``."""
    return (*_amplified(trace), *_other_band(trace, band_hz))


def _amplified(trace: Trace) -> tuple[Doubt, ...]:
    highest_db = np.array([gain_db.max() for gain_db in trace.gain_db])
    above = np.flatnonzero(highest_db > MOST_GAIN_DB)
    if not len(above):
        return ()
    at = int(np.argmax(highest_db))
    return (
        Doubt(
            "amplifying trace",
            f"{len(above)} of {len(trace)} devices have gains above 0 dB (device {at}: {highest_db[at]:.1f} dB): more "
            "would arrive than was sent; was it converted for a band too narrow for its rates?",
        ),
    )


def _other_band(trace: Trace, band_hz: FloatArray) -> tuple[Doubt, ...]:
    measured_hz = [float(found[1]) for text in trace.provenance if (found := _LINK.match(text))]
    other = [hz for hz in measured_hz if np.any(np.abs(band_hz - hz) > SAME_BAND * hz)]
    if not other:
        return ()
    span = f"{band_hz.min():g}" if band_hz.min() == band_hz.max() else f"{band_hz.min():g} to {band_hz.max():g}"
    return (
        Doubt(
            "trace of another band",
            f"rates became gains for a band of {other[0]:g} Hz, and are not those measured in one of {span} Hz",
        ),
    )
