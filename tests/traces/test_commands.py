"""``prefine trace``: conversion, synthesis and inspection as a user types them."""

import hashlib
import shlex
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from prefine.emulator.channel.mobility import Site
from prefine.emulator.channel.models import RicianModel
from prefine.emulator.channel.trace import TraceChannel
from prefine.emulator.channel.tracefile import read_trace
from prefine.emulator.errors import InputError
from prefine.traces.commands import app
from prefine.traces.summary import QUANTILES, quantiles_of_many

BUNDLED = Path(__file__).parents[2] / "traces"


def prefine(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def refused(*words: object) -> str:
    error = prefine(*words).exception
    assert isinstance(error, InputError), error
    assert error.exit_status == 2
    assert "\n" not in str(error)
    return str(error)


def test_convert_joins_files_and_says_where_they_came_from(tmp_path: Path) -> None:
    (tmp_path / "bus").write_text("0 1\n1 2\n")
    (tmp_path / "tram.up").write_text("0\n100\n200\n")
    out = tmp_path / "city.csv"
    result = prefine("convert", tmp_path / "bus", tmp_path / "tram.up", "--bandwidth-hz", "1e6", "--out", out)
    assert result.exit_code == 0, result.exception
    trace = read_trace(out)
    assert len(trace) == 2
    text = out.read_text()
    assert text.startswith("# command: prefine trace convert bus tram.up --bandwidth-hz 1000000.0\n")
    assert f"# sha256 {hashlib.sha256(b'0 1' + bytes([10]) + b'1 2' + bytes([10])).hexdigest()}" in text
    assert "# source: tram.up (mahimahi, 1 device(s))" in text
    assert "# link: 1000000 Hz, 0.2 W, -174 dBm/Hz" in text
    assert str(tmp_path) not in text, "a trace does not carry its author's folders"


def test_convert_to_the_screen_is_the_file(tmp_path: Path) -> None:
    (tmp_path / "bus").write_text("0 1\n1 2\n")
    prefine("convert", tmp_path / "bus", "--out", tmp_path / "out.csv")
    assert prefine("convert", tmp_path / "bus").stdout == (tmp_path / "out.csv").read_text()


def test_converting_a_canonical_trace_changes_no_row(tmp_path: Path) -> None:
    source = tmp_path / "a.csv"
    source.write_text("time_s,device,gain_db\n0.0,0,-90.125\n0.1,0,-inf\n0.0,1,-80.0\n")
    prefine("convert", source, "--out", tmp_path / "b.csv")
    rows = [line for line in (tmp_path / "b.csv").read_text().splitlines() if not line.startswith("#")]
    assert rows == source.read_text().splitlines()


def test_synthesis_replays_as_the_channel_it_recorded(tmp_path: Path) -> None:
    out = tmp_path / "s.csv"
    words = ["synthesize", "--model", "rician", "--distance-m", "50,120", "--duration-s", "2", "--seed", "3"]
    result = prefine(*words, "--set", "speed_m_s=8", "--set", "shadowing_db=6.0", "--out", out)
    assert result.exit_code == 0, result.exception
    spec = RicianModel(speed_m_s=8.0, shadowing_db=6.0)
    of = spec.build(Site(np.array([50.0, 120.0]), 0), 3)
    replay = TraceChannel(read_trace(out), np.zeros(2), "error")
    for device in (0, 1):
        for time_s in np.linspace(0.0, 1.999, 41):
            assert replay.gain(device, time_s) == pytest.approx(of.gain(device, time_s), rel=1e-12)
    assert read_trace(out).end_s == (2.0, 2.0)
    first = out.read_bytes()
    prefine(*words, "--set", "speed_m_s=8", "--set", "shadowing_db=6.0", "--out", out)
    assert out.read_bytes() == first


@pytest.mark.parametrize("path", sorted(BUNDLED.glob("*.csv")), ids=lambda path: path.name)
def test_bundled_traces_are_what_their_command_makes(path: Path, tmp_path: Path) -> None:
    command = read_trace(path).provenance[0].removeprefix("command: prefine trace ")
    result = prefine(*shlex.split(command), "--out", tmp_path / "again.csv")
    assert result.exit_code == 0, result.exception
    again, bundled = read_trace(tmp_path / "again.csv"), read_trace(path)
    assert (again.provenance, again.end_s) == (bundled.provenance, bundled.end_s)
    assert bundled.provenance[1] == "synthetic"
    for device in range(len(bundled)):
        np.testing.assert_array_equal(again.time_s[device], bundled.time_s[device])
        np.testing.assert_allclose(again.gain_db[device], bundled.gain_db[device], rtol=0.0, atol=1e-6)


def test_inspect_shows_the_figures_and_a_plot(tmp_path: Path) -> None:
    (tmp_path / "bus").write_text("0 1\n1 0\n2 4\n12 2\n")
    result = prefine("inspect", tmp_path / "bus", "--bandwidth-hz", "1e6")
    assert result.exit_code == 0, result.exception
    shown = [line.split() for line in result.stdout.splitlines()]
    for line in (
        ["length", "s", "22"],
        ["rows", "4"],
        ["median", "step", "s", "5.5"],
        ["gaps", "over", "5", "s", "2", "(longest", "10", "s)"],
        ["no", "signal", "s", "1"],
        ["mean", "rate", "Mbit/s", "2.773"],
        ["50%", "quantile", "Mbit/s", "2"],
        ["95%", "quantile", "Mbit/s", "4"],
    ):
        assert line in shown
    assert "█" in result.stdout
    assert "22 s" in result.stdout


def test_doubtful_gains_are_warned_of_and_a_picture_has_all_devices(tmp_path: Path) -> None:
    (tmp_path / "w.csv").write_text("time,a_mbps,b_mbps\n0,1,300\n1,2,90\n")
    trace = tmp_path / "t.csv"
    result = prefine("convert", tmp_path / "w.csv", "--bandwidth-hz", "5e6", "--out", trace)
    said = result.stderr.replace(f"{tmp_path}/", "").splitlines()
    assert said[:2] == ["t.csv: 2 device(s), 4 rows", "w.csv: 2 columns in Mbit/s: a_mbps, b_mbps"]
    gain_db = read_trace(trace).gain_db[1][0]
    assert said[2].startswith(f"w.csv: warning: 1 of 2 devices have gains above 0 dB (device 1: {gain_db:.1f} dB)")
    picture = tmp_path / "t.svg"
    shown = prefine("inspect", trace, "--bandwidth-hz", "1e6", "--figure", picture)
    assert shown.exit_code == 0, shown.exception
    assert "for a band of 5e+06 Hz, and are not those measured in one of 1e+06 Hz" in shown.stderr
    first = picture.read_bytes()
    assert first.count(b'<g id="axes_') == 2
    prefine("inspect", trace, "--figure", picture)
    assert picture.read_bytes() == first
    assert "another" not in prefine("inspect", trace, "--bandwidth-hz", "5e6").stderr
    many = picture.with_suffix(".png")
    prefine("synthesize", "--distance-m", ",".join(["50"] * 13), "--duration-s", "1", "--out", trace)
    prefine("inspect", trace, "--figure", many)
    assert many.read_bytes().startswith(b"\x89PNG")
    assert "--figure t.bmp: must end in .svg, .pdf, .png" in refused("inspect", trace, "--figure", "t.bmp")


def test_wrong_words_are_one_clear_line(tmp_path: Path) -> None:
    good = tmp_path / "good"
    good.write_text("0 1\n1 2\n")
    assert "none.csv: cannot be read (No such file" in refused("inspect", tmp_path / "none.csv")
    assert "cannot be read (Is a directory)" in refused("convert", tmp_path)
    assert "has 1 devices, --device 3" in refused("inspect", good, "--device", "3")
    assert "--bandwidth-hz is -1, must be above 0" in refused("convert", good, "--bandwidth-hz", "-1")
    assert "--power-w is nan" in refused("convert", good, "--power-w", "nan")
    assert "--noise-dbm-hz is 1e+09" in refused("convert", good, "--noise-dbm-hz", "1e9")
    assert "the most is 200 dB" in refused("convert", good, "--bandwidth-hz", "1000")
    assert "--distance-m is 'near'" in refused("synthesize", "--distance-m", "near")
    assert "--distance-m is 0" in refused("synthesize", "--distance-m", "0,5")
    assert "--duration-s is 0" in refused("synthesize", "--duration-s", "0")
    assert "--set 'speed' must be KEY=VALUE" in refused("synthesize", "--set", "speed")
    assert "channel.speed: unknown key; allowed: model, " in refused("synthesize", "--set", "speed=1")
    assert "channel.model" in refused("synthesize", "--model", "awgn")
    assert "--model is trace" in refused("synthesize", "--model", "trace")
    assert "cannot be written" in str(prefine("convert", good, "--out", tmp_path).exception)


@given(st.lists(st.tuples(st.floats(1e-3, 1e3), st.integers(0, 5) | st.floats(0.0, 1e9)), min_size=1, max_size=40))
def test_quantiles_of_many_have_their_share_of_the_time_on_either_side(rows: list[tuple[float, float]]) -> None:
    duration_s, rate = np.array(rows, dtype=np.float64).T
    wanted = np.array(QUANTILES)
    found = quantiles_of_many(duration_s, rate, wanted)
    below, up_to = (np.array([duration_s[of(rate, value)].sum() for value in found]) for of in (np.less, np.less_equal))
    assert np.isin(found, rate).all()
    assert (below <= (wanted + 1e-9) * duration_s.sum()).all()
    assert (up_to >= (wanted - 1e-9) * duration_s.sum()).all()
