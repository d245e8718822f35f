"""Real traces, where PREFINE_REAL_TRACES says they are: every one imports, is sane and replays at its own rate."""

import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from prefine.emulator.channel.trace import TraceChannel
from prefine.emulator.channel.tracefile import format_trace, parse_trace
from prefine.emulator.simulation.transfer import delivered_bits, transfer_end
from prefine.traces.formats import Reading, import_trace
from prefine.traces.series import GapRule, Link

FOLDER = os.environ.get("PREFINE_REAL_TRACES")
NOT_TRACES = {"LICENSE", "COPYING", "SOURCES.md"}
FILES = sorted(p for p in Path(FOLDER).rglob("*") if p.is_file() and p.name not in NOT_TRACES) if FOLDER else []
LINK = Link(bandwidth_hz=40e6, power_w=0.2, noise_psd_w_hz=10.0**-20.4, reference_signal_dbm=15.0)

pytestmark = pytest.mark.skipif(not FILES, reason="PREFINE_REAL_TRACES is not set")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_real_trace_imports_and_replays(path: Path) -> None:
    found = import_trace(path.read_bytes(), path.name, Reading(), LINK, GapRule())
    trace = parse_trace(list(format_trace(found.trace)), path.name)
    of = TraceChannel(trace, np.zeros(len(trace)), "wrap")
    for device in range(len(trace)):
        assert 10.0 < trace.end_s[device] < 10_000.0
        assert len(trace.time_s[device]) > 10
        link = (LINK.power_w, LINK.bandwidth_hz, LINK.noise_psd_w_hz)
        period_s = trace.end_s[device]
        once, twice = (delivered_bits(of, device, 0.0, n * period_s, *link) for n in (1, 2))
        assert twice == pytest.approx(2.0 * once, rel=1e-9)
        assert 1e3 < once / period_s < 2e9
        for start_s in (0.0, 0.37 * period_s, 2.9 * period_s):
            end_s = transfer_end(of, device, start_s, 0.1 * once, *link)
            assert delivered_bits(of, device, start_s, end_s, *link) == pytest.approx(0.1 * once, rel=1e-9)


@pytest.mark.parametrize("path", [p for p in FILES if p.parent.name == "mahimahi"], ids=lambda path: path.name)
def test_a_real_mahimahi_trace_delivers_its_packets(path: Path) -> None:
    trace = import_trace(path.read_bytes(), path.name, Reading(), LINK, GapRule()).trace
    of = TraceChannel(trace, np.zeros(1), "wrap")
    packets = len(path.read_text().split())
    bits = delivered_bits(of, 0, 0.0, trace.end_s[0], LINK.power_w, LINK.bandwidth_hz, LINK.noise_psd_w_hz)
    assert bits == pytest.approx(packets * 12000.0, rel=1e-9)


@pytest.mark.parametrize(
    "path", [p for p in FILES if p.parent.name == "hsdpa-norway-cooked"], ids=lambda path: path.name
)
def test_a_real_cooked_trace_replays_each_rate(path: Path) -> None:
    trace = import_trace(path.read_bytes(), path.name, Reading(), LINK, GapRule()).trace
    of = TraceChannel(trace, np.zeros(1), "wrap")
    rows = np.loadtxt(path)
    for (start_s, mbit_s), (end_s, _) in pairwise(rows):
        bits = delivered_bits(
            of, 0, start_s - rows[0, 0], end_s - rows[0, 0], LINK.power_w, LINK.bandwidth_hz, LINK.noise_psd_w_hz
        )
        assert bits == pytest.approx(mbit_s * 1e6 * (end_s - start_s), rel=1e-9)
