"""Each importer on small files worked out by hand, and on text that is not what it should be."""

import io
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefine.emulator.channel.trace import TraceChannel
from prefine.emulator.errors import InputError
from prefine.emulator.physics import rate
from prefine.emulator.simulation.transfer import delivered_bits, transfer_end
from prefine.traces.cooked import parse_cooked
from prefine.traces.formats import Imported, Reading, import_trace
from prefine.traces.gnettrack import CQI_EFFICIENCY, parse_gnettrack
from prefine.traces.mahimahi import TOLERANCE_S, parse_mahimahi
from prefine.traces.npz import parse_npz
from prefine.traces.options import Format
from prefine.traces.series import GapRule, Link, Series, gaps_of, to_trace
from prefine.traces.table import Columns, parse_table

LINK = Link(bandwidth_hz=10e6, power_w=0.2, noise_psd_w_hz=10.0**-20.4, reference_signal_dbm=15.0)
HOLD = GapRule()
LOG = "Timestamp,Speed,NetworkMode,RSRP,SNR,CQI,DL_bitrate"


def log(*rows: str) -> list[str]:
    return [LOG, *(f"2020.01.16_12.10.{row}" for row in rows)]


def imported(data: bytes, kind: Format = "auto", source: str = "file") -> Imported:
    return import_trace(data, source, Reading(format=kind), LINK, HOLD)


def rates(of: Imported, device: int = 0) -> np.ndarray:
    gain = 10.0 ** (of.trace.gain_db[device] / 10.0)
    return rate(LINK.bandwidth_hz, LINK.power_w, gain, LINK.noise_psd_w_hz)


def test_mahimahi_counts_packets_in_bins() -> None:
    series = parse_mahimahi(["0", "99", "100", "100", "100", "250", "300"], "f.up", 0.1)
    assert series.time_s.tolist() == pytest.approx([0.0, 0.1, 0.2])
    np.testing.assert_allclose(series.value, np.array([2, 3, 2]) * 12000.0 / 0.1)
    assert series.end_s == pytest.approx(0.3)


@settings(max_examples=40)
@given(
    st.lists(st.integers(1, 40) | st.just(0) | st.integers(100, 150), min_size=2, max_size=12),
    st.integers(0, 4000),
    st.sampled_from([1, 3, 30]),
)
def test_an_upload_ends_with_its_last_packet(pauses_ms: list[int], start_ms: int, packets: int) -> None:
    """In the bins chosen, from any millisecond, by walking through the packets one by one."""
    at_ms = np.cumsum([*pauses_ms, 1])
    period_ms = int(at_ms[-1])
    series = parse_mahimahi([str(ms) for ms in at_ms], "f.up")
    of = TraceChannel(to_trace((series,), LINK, HOLD, "f"), np.zeros(1), "wrap")
    laps = period_ms * np.arange(2 + packets + start_ms // period_ms)[:, None]
    deliveries_ms = (laps + np.minimum(at_ms, period_ms - 1)).ravel()
    last_ms = deliveries_ms[deliveries_ms >= start_ms][packets - 1]
    link = (LINK.power_w, LINK.bandwidth_hz, LINK.noise_psd_w_hz)
    end_s = transfer_end(of, 0, start_ms / 1000.0 + 1e-9, (packets - 1e-3) * 12000.0, *link)
    assert end_s == pytest.approx(last_ms / 1000.0, abs=TOLERANCE_S)


@settings(max_examples=40)
@given(st.lists(st.integers(0, 3000), min_size=1, max_size=60).map(sorted).filter(lambda ms: ms[-1] > 0))
def test_one_repetition_of_a_mahimahi_trace_carries_all_its_packets(milliseconds: list[int]) -> None:
    found = imported("\n".join(map(str, milliseconds)).encode(), "mahimahi")
    of = TraceChannel(found.trace, np.zeros(1), "wrap")
    bits = delivered_bits(of, 0, 0.0, milliseconds[-1] / 1000.0, LINK.power_w, LINK.bandwidth_hz, LINK.noise_psd_w_hz)
    assert bits == pytest.approx(12000.0 * len(milliseconds), rel=1e-9)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "f.up:1: is empty"),
        (["5", "x"], "f.up:2: delivery time is 'x', must be a number"),
        (["5", "6.5"], "f.up:2: delivery time is '6.5', must be a whole number"),
        (["-5"], "f.up:1: delivery time is '-5', must be a whole number of milliseconds, at least 0"),
        (["5", "", "4"], "f.up:3: delivery time 4 is before 5, must not fall"),
        (["0", "0"], "f.up:2: the last delivery time, the period of the trace, is 0"),
        (["1000000000000000"], "f.up:1: 1e.12 s are too many bins; give --bin-s"),
        (["nan"], "f.up:1: delivery time is 'nan'"),
    ],
)
def test_mahimahi_says_what_is_wrong(lines: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_mahimahi(lines, "f.up")


def test_cooked_holds_a_rate_until_the_next_line() -> None:
    series = parse_cooked(["10.0\t1.5", "10.5 0", "12 2e0", ""], "f")
    assert series.time_s.tolist() == [0.0, 0.5, 2.0]
    assert series.value.tolist() == [1.5e6, 0.0, 2e6]
    assert series.end_s == 3.5


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "f:1: is empty"),
        (["0 1 2"], r"f:1: has 3 fields \('0 1 2'\), must have 2"),
        (["0 1", "0 2"], "f:2: time 0 follows 0, times must rise strictly"),
        (["0 1", "1 fast"], "f:2: rate is 'fast', must be a number"),
        (["0 1", "1 -3"], "f:2: rate is -3 Mbit/s, must be from 0 to"),
        (["0 1", "nan 3"], "f:2: time is nan"),
        (["0 inf"], "f:1: rate is inf"),
    ],
)
def test_cooked_says_what_is_wrong(lines: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_cooked(lines, "f")


def test_gnettrack_shares_repeated_seconds_and_skips_what_is_missing() -> None:
    series = parse_gnettrack(
        log("03,0,5G,-90,10.0,12,1", "03,0,5G,-90,-,12,1", "04,0,5G,-200,7,12,1", "07,0,5G,-90,2147483647,12,1"), "f"
    )
    assert series.quantity == "snr_db"
    assert series.time_s.tolist() == [0.0, 0.5, 1.0, 4.0]
    np.testing.assert_array_equal(series.value, [10.0, np.nan, 7.0, np.nan])
    assert series.end_s == 5.0
    assert "2 of 4 values missing" in series.notes


def test_gnettrack_turns_snr_and_cqi_into_the_same_links_rate() -> None:
    rows = log("03,0,5G,-90,10.0,12,1", "04,0,5G,-90,-3.0,0,1")
    data = "\n".join(rows).encode()
    expected = LINK.bandwidth_hz * np.log2(1.0 + 10.0 ** (np.array([10.0, -3.0]) / 10.0))
    np.testing.assert_allclose(rates(imported(data)), expected, rtol=1e-12)
    by_cqi = import_trace(data, "f", Reading(columns=Columns(("CQI",))), LINK, HOLD)
    np.testing.assert_allclose(rates(by_cqi), LINK.bandwidth_hz * np.array([CQI_EFFICIENCY[12], 0.0]), rtol=1e-12)
    by_power = import_trace(data, "f", Reading(columns=Columns(("RSRP",))), LINK, HOLD)
    assert by_power.trace.gain_db[0].tolist() == [-105.0, -105.0]


def test_gnettrack_falls_back_to_what_the_phone_did_measure() -> None:
    assert "column CQI" in parse_gnettrack(log("03,0,5G,-90,-,12,1", "04,0,5G,-90,-,11,1"), "f").notes
    assert "column RSRP" in parse_gnettrack(log("03,0,HSDPA,-90,-,-,1"), "f").notes
    assert "column CQI" in parse_gnettrack(log("03,0,5G,-90,5,12,1", *["04,0,5G,-90,-,11,1"] * 3), "f").notes


@pytest.mark.parametrize(
    ("lines", "column", "message"),
    [
        (log("03,0,5G,-,-,-,1"), None, "f: none of the columns SNR, CQI, RSRP has values"),
        (log("03,0,5G,-90,-,12,1"), "SNR", "f: column SNR has no values; others: CQI, RSRP"),
        (log("03,0,5G,-90,high,12,1"), None, "f:2: SNR is 'high', must be a number or one of ''"),
        (log("03,0,5G,-90,1,12,1", "0x,0,5G,-90,1,12,1"), None, "f:3: Timestamp is '2020.01.16_12.10.0x', must be as"),
        (log("03,0,5G"), None, "f:2: has 3 fields, the header has 7"),
        ([LOG], None, "f:1: has a header and no rows"),
        (
            [LOG, "2020.01.16_12.10.03,0,5G,1,1,1,1", "2020.01.16_11.10.03,0,5G,1,1,1,1"],
            None,
            "f:3: Timestamp is 3600 s",
        ),
        (["Time,SNR", "1,2"], None, "f:1: has no column 'Timestamp'"),
        ([], None, "f:1: is empty"),
    ],
)
def test_gnettrack_says_what_is_wrong(lines: list[str], column: str | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_gnettrack(lines, "f", column)  # type: ignore[arg-type]  # the test's table holds plain text


def test_a_clock_that_steps_back_a_little_stands_still() -> None:
    series = parse_gnettrack(log("03,0,5G,-90,1,12,1", "05,0,5G,-90,2,12,1", "04,0,5G,-90,3,12,1"), "f")
    assert series.time_s.tolist() == [0.0, 2.0, 2.5]
    assert "the clock stepped back 1 times" in series.notes


def test_named_columns_become_devices_and_units_come_from_names() -> None:
    one, two = parse_table(["seq_num;a_mbps;b_kbps;note", "4;1.5;20;x", "5;-;0;y", "7;2;40;z"], "f")
    assert one.time_s.tolist() == [4.0, 5.0, 7.0]
    np.testing.assert_array_equal(one.value, [1.5e6, np.nan, 2e6])
    assert two.value.tolist() == [20e3, 0.0, 40e3]
    (gain,) = parse_table(["t,g", "0,1e-9", "2,0"], "f", Columns(("g",), "gain"))
    assert gain.value.tolist() == [-90.0, -math.inf]
    (named,) = parse_table(["Time (s),Throughput (Mbps)", "0,1", "1,2"], "f")
    assert named.value.tolist() == [1e6, 2e6]
    (snr,) = parse_table(["x,SINR", "9,3", "9,4"], "f", Columns(step_s=0.5))
    assert (snr.quantity, snr.time_s.tolist()) == ("snr_db", [0.0, 0.5])


@pytest.mark.parametrize(
    ("lines", "arguments", "message"),
    [
        (["a,b_mbps", "1,2"], {}, "f:1: no column is called time_s.*--time-column"),
        (["time,b", "1,2"], {}, "f:1: no column ends in mbps.*columns: time, b"),
        (["time,b", "1,2"], {"values": ("c",)}, "f:1: has no column 'c'; columns: time, b|what column"),
        (["time,b", "1,2"], {"values": ("b",)}, "f: what column 'b' measures is not clear; give --unit"),
        (["time,b_mbps", "1,2", "1,3"], {}, "f:3: time 1 follows 1"),
        (["time,b_mbps", "-,2"], {}, "f:2: time is nan"),
        (["time,b_mbps,b_mbps", "1,2,3"], {}, "f:1: has 2 columns 'b_mbps'; rename all but one"),
        ([f"time,{'a' * 3000}_mbps", "1,2"], {"values": ("*a" * 20 + "*b",)}, "f:1: has no column"),
        (["time,b_mbps", "1,-2"], {}, "f:2: b_mbps is -2, must be from 0 to"),
        (["time,b_mbps", "1,2,3"], {}, "f:2: has 3 fields, the header has 2"),
        (["time,b_mbps", '1,"2'], {}, "f:2: is no CSV"),
        (["time,b_mbps"], {}, "f:1: has a header and no rows"),
    ],
)
def test_tables_say_what_is_wrong(lines: list[str], arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_table(lines, "f", Columns(**arguments))


def npz(**arrays: object) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]  # the test saves wrong things too
    return buffer.getvalue()


def test_npz_gains_amplitudes_and_decibels_are_the_same_trace() -> None:
    gain = np.array([[1e-9, 0.0], [2e-9, 3e-10]])
    with np.errstate(divide="ignore"):
        decibels = 10.0 * np.log10(gain)
    for data in (
        npz(gain=gain, time_s=np.array([5.0, 5.5])),
        npz(gain_db=decibels, step_s=0.5),
        npz(h=np.sqrt(gain) * np.exp(0.3j), step_s=np.array([0.5])),
    ):
        found = imported(data)
        assert found.format == "npz"
        assert len(found.trace) == 2
        for device in (0, 1):
            assert found.trace.time_s[device].tolist() == [0.0, 0.5]
            np.testing.assert_allclose(10.0 ** (found.trace.gain_db[device] / 10.0), gain[:, device], rtol=1e-12)
    assert len(parse_npz(npz(gain=np.ones(4)), "f", step_s=1.0)) == 1


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"PK\x03\x04 broken", "f: is no readable"),
        (npz(gain=np.array([object()]), step_s=1.0), "f: is no readable .*pickle"),
        (npz(other=np.ones(3)), "f: has arrays other; allowed"),
        (npz(gain=np.ones((2, 2, 2)), step_s=1.0), r"f: gain has shape \(2, 2, 2\)"),
        (npz(gain=np.ones((0, 2)), step_s=1.0), r"f: gain has shape \(0, 2\)"),
        (npz(gain=np.array([["a"]]), step_s=1.0), "f: gain has type <U1, must be numbers"),
        (npz(gain=np.array([[1.0, -2.0]]), step_s=1.0), r"f: gain\[0, 1\] is -2.0, must be finite and at least 0"),
        (npz(gain_db=np.array([[np.nan]]), step_s=1.0), r"f: gain_db\[0, 0\] is nan"),
        (npz(gain=np.ones((2, 1))), "f: has neither time_s nor step_s"),
        (npz(gain=np.ones((2, 1)), step_s=0.0), "f: step_s is"),
        (npz(gain=np.ones((2, 1)), time_s=np.array([0.0, 0.0])), r"f: time_s\[1\] is 0.0, times must"),
        (npz(gain=np.ones((2, 1)), time_s=np.zeros(3)), r"f: time_s has type float64 and shape \(3,\)"),
    ],
)
def test_npz_says_what_is_wrong(data: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_npz(data, "f")


@settings(max_examples=200)
@given(
    st.lists(st.floats(0.0, 150e6), min_size=1, max_size=8),
    st.floats(1e5, 1e8),
    st.floats(1e-3, 10.0),
)
def test_replaying_a_rate_at_the_reference_power_gives_it_back(
    rate_bit_s: list[float], bandwidth_hz: float, power_w: float
) -> None:
    """Down to rates at which the gain has no digits left beside 1 (1e-6 bit/s/Hz); up to 30 bit/s/Hz."""
    link = Link(bandwidth_hz, power_w, 10.0**-20.4, 15.0)
    values = np.minimum(np.array(rate_bit_s), 30.0 * bandwidth_hz)
    series = Series(np.arange(len(values), dtype=np.float64), values, "rate_bit_s", float(len(values)))
    trace = to_trace((series,), link, HOLD, "f")
    of = TraceChannel(trace, np.zeros(1), "wrap")
    for second, expected in enumerate(values):
        bits = delivered_bits(of, 0, float(second), second + 1.0, power_w, bandwidth_hz, link.noise_psd_w_hz)
        assert bits == pytest.approx(expected, rel=1e-9, abs=1e-6 * bandwidth_hz)


def test_gaps_are_held_silenced_or_refused() -> None:
    series = Series(np.array([0.0, 1.0, 2.0, 10.0]), np.array([np.nan, -90.0, -91.0, -92.0]), "gain_db", 11.0)
    assert gaps_of(series, 5.0) == [(2.0, 8.0)]
    hold = to_trace((series,), LINK, GapRule("hold"), "f")
    assert hold.time_s[0].tolist() == [0.0, 1.0, 9.0]
    assert hold.end_s == (10.0,)
    outage = to_trace((series,), LINK, GapRule("outage"), "f")
    assert outage.time_s[0].tolist() == [0.0, 1.0, 5.5, 9.0]
    assert outage.gain_db[0].tolist() == [-90.0, -91.0, -math.inf, -92.0]
    with pytest.raises(InputError, match="f: device 0: nothing measured for 8 s from 1 s"):
        to_trace((series,), LINK, GapRule("error"), "f")


def test_rates_beyond_what_the_band_can_carry_are_refused() -> None:
    with pytest.raises(
        InputError, match=r"f: device 0 at 0 s needs a gain of .* dB, the most is 200 dB; .*bandwidth-hz"
    ):
        import_trace(b"0 900\n1 2\n", "f", Reading(), Link(1e6, 0.2, 1e-20, 15.0), HOLD)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"time_s,device,gain_db\n0,0,-90\n", "canonical"),
        (b"# note\ntime_s, device, gain_db\n0,0,-90\n", "canonical"),
        (b"0\n3\n3\n", "mahimahi"),
        (b"0.0\t1.2\n1.0\t3\n", "cooked"),
        (b"0.0,1.2\n1.0,3\n", "cooked"),
        (b"time,x_mbps\n0,1\n", "csv"),
        ("\n".join(log("03,0,5G,-90,10.0,12,1")).encode(), "gnettrack"),
    ],
)
def test_formats_are_recognised(data: bytes, kind: str) -> None:
    assert imported(data).format == kind


@pytest.mark.parametrize("data", [b"", b"\n\n", b"hello", b"<html>", b"\x00\x01\xff\xfe", b"\x1f\x8b\x08\x00"])
def test_what_is_no_trace_is_one_clear_line(data: bytes) -> None:
    with pytest.raises(InputError, match=r"file:1: ") as caught:
        imported(data)
    assert "\n" not in str(caught.value)


SEEDS: list[tuple[str, Callable[[], bytes]]] = [
    ("canonical", lambda: b"time_s,device,gain_db\n0,0,-90\n1,0,-80\n2.5,0,-inf\n"),
    ("mahimahi", lambda: b"0\n3\n3\n70\n210\n"),
    ("cooked", lambda: b"0.0\t1.2\n1.0\t3\n2.5\t0\n"),
    ("csv", lambda: b"time,x_mbps,y_kbps\n0,1,2\n1,-,3\n"),
    ("gnettrack", lambda: "\n".join(log("03,0,5G,-90,10.0,12,1", "04,1,5G,-,-,-,1")).encode()),
    ("npz", lambda: npz(gain=np.ones((2, 2)), step_s=1.0)),
]


@pytest.mark.parametrize(("kind", "seed"), SEEDS, ids=[name for name, _ in SEEDS])
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_damaged_file_is_read_or_refused_in_one_line(
    kind: Format, seed: Callable[[], bytes], data: st.DataObject
) -> None:
    damaged = bytearray(seed())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(damaged)))
        cut = data.draw(st.integers(0, 6))
        damaged[at : at + cut] = data.draw(st.binary(max_size=4) | st.sampled_from([b"nan", b"inf", b"-", b",", b"\n"]))
    for chosen in (kind, "auto"):
        try:
            found = imported(bytes(damaged), chosen)
        except InputError as error:
            message = str(error)
        else:
            message = "file"
            for time_s, gain_db in zip(found.trace.time_s, found.trace.gain_db, strict=True):
                assert time_s[0] == 0.0
                assert np.all(np.diff(time_s) > 0.0)
                assert np.all(gain_db <= 200.0)
        assert message.startswith("file")
        assert "\n" not in message


def test_wide_tables_are_read_by_pattern() -> None:
    names = [f"ue{k} UL (Mbps)" for k in range(20)]
    rows = [[float(100 * second + k) for k in range(20)] for second in range(3)]
    lines = [
        ",".join(["time", *names, "ue0 DL (Mbps)", "note*"]),
        *(",".join(map(str, [second, *row, 7.0, "x"])) for second, row in enumerate(rows)),
    ]
    found = parse_table(lines, "f", Columns(("ue*UL*",)))
    assert len(found) == 20
    np.testing.assert_array_equal([one.value for one in found], 1e6 * np.array(rows).T)
    assert found[0].notes == ("20 columns in Mbit/s: " + ", ".join(names),)
    assert len(parse_table(lines, "f", Columns(("ue? UL*",)))) == 10
    with pytest.raises(InputError, match=r"f:1: has no column 'ue\*XL\*'; columns: time, ue0 UL .*, and 3 more"):
        parse_table(lines, "f", Columns(("ue*XL*",)))
    with pytest.raises(InputError, match=r"f: what column 'note\*' measures is not clear"):
        parse_table(lines, "f", Columns(("note*",)))


def test_long_tables_have_a_device_for_each_that_is_named() -> None:
    """10 before 9 in the file and the alphabet, not in numbers; all keep the file's clock."""
    lines = ["t,UE,snr", "5,10,1", "5,9,2", "6,9,3", "8,10,-", "9,10,4", "15,11,5", "16,11,5"]
    found = import_trace("\n".join(lines).encode(), "f", Reading(), LINK, GapRule("outage"))
    np.testing.assert_allclose(rates(found, 0), LINK.bandwidth_hz * np.log2(1.0 + 10.0 ** np.array([0.2, 0.3])))
    assert [times.tolist() for times in found.trace.time_s] == [[0.0, 1.0], [0.0, 4.0], [0.0, 10.0, 11.0]]
    assert found.trace.gain_db[2][0] == -math.inf
    assert found.gaps == ((2, 0.0, 10.0),)
    assert found.notes[1:] == (
        "column snr in snr_db",
        "column UE names 3 device(s): 9, 10, 11",
        "column snr: 1 values missing",
    )
    held = import_trace("\n".join(lines).encode(), "f", Reading(), LINK, HOLD)
    assert held.trace.time_s[2].tolist() == [0.0, 11.0]
    with pytest.raises(InputError, match="f: device 2: nothing measured for 10 s from 0 s"):
        import_trace("\n".join(lines).encode(), "f", Reading(), LINK, GapRule("error"))
    words = ["node,time,x_mbps,y_mbps", "b,0,1,2", "a,0,3,4"]
    chosen = parse_table(words, "f", Columns(("y_mbps",), device="node"))
    assert [one.value.tolist() for one in chosen] == [[2e6], [4e6]]
    with pytest.raises(InputError, match="f:1: column 'node' names 2 devices, and there are 2 columns of values"):
        parse_table(words, "f", Columns(device="node"))
    with pytest.raises(InputError, match=r"f:3: time 0 follows 0, .*--device-column for rows of several devices"):
        parse_table(words, "f")
    with pytest.raises(InputError, match="f:3: ue is '', must name"):
        parse_table(["ue,time,x_mbps", "1,0,1", ",0,3"], "f")
    assert len(parse_table(["ue,time,x_mbps", "1,0,1", "2,1,3"], "f", Columns(device=""))) == 1
