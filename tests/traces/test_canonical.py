"""The canonical format: what it accepts, what it refuses and how, and that writing and reading undo each other."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefine.emulator.channel.trace import Trace
from prefine.emulator.channel.tracefile import format_trace, parse_trace, plain_trace, read_trace, trace_of, write_trace
from prefine.emulator.errors import InputError

GOOD = ["# made by hand", "time_s,device,gain_db", "0,0,-90", "0.5,0,-inf", "0,1,-100.25", "2,0,-80", "", "3,1,-99"]


def test_rows_of_devices_may_be_mixed_and_the_last_step_is_as_long_as_the_one_before() -> None:
    trace = parse_trace(GOOD, "t.csv")
    assert [time_s.tolist() for time_s in trace.time_s] == [[0.0, 0.5, 2.0], [0.0, 3.0]]
    assert [gain_db.tolist() for gain_db in trace.gain_db] == [[-90.0, -math.inf, -80.0], [-100.25, -99.0]]
    assert trace.end_s == (3.5, 6.0)
    assert trace.provenance == ("made by hand",)


def test_the_end_can_be_said_for_all_or_each() -> None:
    assert parse_trace(["# end_s: 9", *GOOD], "t.csv").end_s == (9.0, 9.0)
    assert parse_trace(["# end_s: 9, 3.5", *GOOD], "t.csv").end_s == (9.0, 3.5)
    assert parse_trace(["time_s,device,gain_db", "0,0,-90"], "t.csv").end_s == (math.inf,)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], r"t.csv:1: is empty; a trace starts with the header time_s,device,gain_db"),
        (["# only", "", "# comments"], r"t.csv:1: is empty"),
        (
            ["time,device,gain_db", "0,0,-90"],
            r"t.csv:1: header is 'time,device,gain_db', must be time_s,device,gain_db",
        ),
        (["time_s,device,gain_db"], r"t.csv:1: has no rows"),
        (["time_s,device,gain_db", "0,0"], r"t.csv:2: has 2 fields \('0,0'\), must have 3"),
        (["time_s,device,gain_db", "0,0,-90,1"], r"t.csv:2: has 4 fields"),
        (["time_s,device,gain_db", "0,0,-90", "1,0,loud"], r"t.csv:3: gain_db is 'loud', must be a number"),
        (["time_s,device,gain_db", "0,0,nan"], r"t.csv:2: gain_db is nan, must be a number of dB up to 200, or -inf"),
        (["time_s,device,gain_db", "0,0,inf"], r"t.csv:2: gain_db is inf"),
        (["time_s,device,gain_db", "0,0,-90", "inf,0,-90"], r"t.csv:3: time_s is inf, must be from 0 to"),
        (["time_s,device,gain_db", "-1,0,-90"], r"t.csv:2: time_s is -1, must be from 0 to"),
        (["time_s,device,gain_db", "0,0.5,-90"], r"t.csv:2: device is 0.5, must be a whole number from 0"),
        (["time_s,device,gain_db", "0,-1,-90"], r"t.csv:2: device is -1"),
        (["time_s,device,gain_db", "0,0,-90", "0,2,-90"], r"t.csv: device 1 has no rows"),
        (["time_s,device,gain_db", "1,0,-90"], r"t.csv:2: device 0 starts at 1 s, must start at 0"),
        (
            ["time_s,device,gain_db", "0,0,-90", "2,0,-90", "# note", "2,0,-91"],
            r"t.csv:5: time_s of device 0 is 2 after 2, must rise strictly",
        ),
        (["# end_s: soon", "time_s,device,gain_db", "0,0,-90"], r"t.csv:1: end_s: is 'soon', must be a number"),
        (["# end_s: 1", "time_s,device,gain_db", "0,0,-90", "2,0,-9"], r"t.csv:1: end_s: 1 must be after the last row"),
        (["# end_s: 1,2", "time_s,device,gain_db", "0,0,-90"], r"t.csv:1: end_s: has 2 values, must have 1 or 1"),
        (["time_s,device,gain_db", "0,0,1_0"], r"t.csv:2: gain_db is '1_0', must be a number"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_what_is_wrong_is_said_in_one_line(lines: list[str], message: str) -> None:
    """Line by line, and from a file's bytes, which are tried in one go first: nothing else is printed."""
    with pytest.raises(InputError, match=message) as caught:
        parse_trace(lines, "t.csv")
    assert "\n" not in str(caught.value)
    assert caught.value.exit_status == 2
    with pytest.raises(InputError, match=message):
        trace_of("\n".join(lines).encode(), "t.csv")


gains = st.one_of(st.floats(-400.0, 200.0), st.just(-math.inf))


@st.composite
def traces(draw: st.DrawFn) -> Trace:
    times, levels, ends = [], [], []
    for _ in range(draw(st.integers(1, 3))):
        steps = draw(st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=5))
        corners = np.concatenate(([0.0], np.cumsum(steps)))
        times.append(corners[:-1])
        levels.append(np.array(draw(st.lists(gains, min_size=len(steps), max_size=len(steps)))))
        ends.append(float(corners[-1]))
    return Trace(tuple(times), tuple(levels), tuple(ends), provenance=("command: x", "sha256 y"))


@given(traces())
def test_reading_undoes_writing(trace: Trace) -> None:
    back = parse_trace(list(format_trace(trace)), "t.csv")
    assert [t.tolist() for t in back.time_s] == [t.tolist() for t in trace.time_s]
    assert [g.tolist() for g in back.gain_db] == [g.tolist() for g in trace.gain_db]
    assert back.end_s == trace.end_s
    assert list(format_trace(back)) == list(format_trace(trace))


@settings(max_examples=300)
@given(st.lists(st.text(alphabet="0123456789.,-+einfa#_ \t_sdgb", max_size=20), max_size=8), st.booleans())
def test_any_text_is_a_trace_or_one_clear_line(lines: list[str], header: bool) -> None:
    try:
        trace = parse_trace([*(["time_s,device,gain_db"] if header else []), *lines], "t.csv")
    except InputError as error:
        message = str(error)
    else:
        message = "t.csv:"
        assert all(t[0] == 0.0 and np.all(np.diff(t) > 0.0) for t in trace.time_s)
    assert message.startswith("t.csv:")
    assert "\n" not in message


def test_files_carry_their_checksum_and_bad_files_their_name(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    write_trace(path, parse_trace(GOOD, "t.csv"))
    trace = read_trace(path)
    assert len(trace.sha256) == 64
    assert trace.source == str(path)
    assert [p.name for p in tmp_path.iterdir()] == ["t.csv"]
    with pytest.raises(InputError, match=r"none.csv: cannot be read \(No such file"):
        read_trace(tmp_path / "none.csv")
    with pytest.raises(InputError, match="cannot be read"):
        read_trace(tmp_path)
    path.write_bytes(b"time_s,device,gain_db\n0,0,\xff\xfe\n")
    with pytest.raises(InputError, match=r"t.csv:2: is no UTF-8 text"):
        read_trace(path)
    path.write_bytes(b"\xef\xbb\xbftime_s,device,gain_db\r\n0,0,-90\r\n")
    assert read_trace(path).gain_db[0].tolist() == [-90.0]


TOKENS = (
    *(
        "0",
        "0.1",
        "1e-3",
        "5e-324",
        "1.7976931348623157e308",
        "-inf",
        "inf",
        "nan",
        "+1",
        " 2 ",
        "1_0",
        "0x10",
        "1d3",
        "'1'",
    ),
    *('"1"', "", "-", "True", "\u0661", "1\x0b", "\x001", "1\t", "1e999", "3.14159265358979311600"),
)


@given(st.data())
def test_a_file_read_at_once_is_what_it_is_line_by_line(data: st.DataObject) -> None:
    """Rows that rise, with a token, a separator, a comment or a line out of place here and there."""
    devices = data.draw(st.integers(1, 3))
    rows = [
        [repr(time_s), str(device), repr(data.draw(st.floats(-200.0, 200.0)))]
        for device in data.draw(st.permutations(range(devices)))
        for time_s in (0.0, *np.cumsum(data.draw(st.lists(st.floats(1e-3, 1e3), max_size=3))).tolist())
    ]
    for _ in range(data.draw(st.integers(0, 1))):
        data.draw(st.sampled_from(rows))[data.draw(st.integers(0, 2))] = data.draw(st.sampled_from(TOKENS))
    lines = ["# made", "# end_s: 1e5", "", "time_s,device,gain_db", *(",".join(row) for row in rows)]
    for _ in range(data.draw(st.integers(0, 1))):
        odd = data.draw(st.sampled_from(["", "  ", "# late", "1,2", "1,0,2,3", ",,", "end"]))
        lines.insert(data.draw(st.integers(0, len(lines))), odd)
    text = data.draw(st.sampled_from(["\n", "\r\n"])).join(lines) + data.draw(st.sampled_from(["", "\n", "\n\n"]))
    found = plain_trace(text.encode(), "file")
    try:
        slow = parse_trace(text.splitlines(), "file")
    except InputError:
        assert found is None
        return
    if found is not None:
        assert (found.end_s, found.provenance) == (slow.end_s, slow.provenance)
        for ours, theirs in ((found.time_s, slow.time_s), (found.gain_db, slow.gain_db)):
            assert [column.tobytes() for column in ours] == [column.tobytes() for column in theirs]


def test_a_plain_file_is_read_at_once() -> None:
    trace = Trace(
        (np.array([0.0, 0.1]), np.zeros(1)), (np.array([-90.0, -math.inf]), np.array([-80.5])), (0.2, math.inf)
    )
    text = "".join(f"{line}\n" for line in format_trace(trace))
    assert plain_trace(text.encode(), "file") is not None
    assert trace_of(text.encode(), "file").gain_db[0].tolist() == [-90.0, -math.inf]
