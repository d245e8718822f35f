"""What a replayed trace gives reason to doubt, and how it reaches the table of runs."""

from pathlib import Path

import numpy as np

from prefine.emulator.channel.doubts import doubts, link_text
from prefine.emulator.channel.trace import Trace
from prefine.emulator.scenario.source import read_source
from prefine.emulator.simulation.run import run
from tests.emulator.simulation.worlds import plan, problem, run_spec


def test_doubts_are_gains_above_0_db_and_other_bands() -> None:
    times = (np.array([0.0]),) * 2
    gains = (np.array([-90.0]), np.array([0.0]))
    trace = Trace(times, gains, (1.0, 1.0), provenance=("source: x", link_text(2e6, 0.2, -174.0), "link: ? Hz, "))
    assert doubts(trace, np.array([2e6, 2.01e6])) == ()
    (other,) = doubts(trace, np.array([2e6, 1e6]))
    assert other == (
        "trace of another band",
        "rates became gains for a band of 2e+06 Hz, and are not those measured in one of 1e+06 to 2e+06 Hz",
    )
    louder = Trace(times, (np.array([-90.0, 3.0]), np.array([12.5])), (1.0, 1.0))
    (above,) = doubts(louder, np.array([1e6]))
    assert above.word == "amplifying trace"
    assert above.line.startswith("2 of 2 devices have gains above 0 dB (device 1: 12.5 dB)")


def test_doubts_of_a_world_are_warnings_of_its_runs(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(f"# {link_text(5e5, 0.2, -174.0)}\ntime_s,device,gain_db\n0,0,-80\n1,0,3\n")
    keys = {"channel.model": "trace", "channel.trace": str(tmp_path / "t.csv")}
    world = read_source("both-stages", keys | {"radio.bandwidth_hz": 1e6}).world()
    words = tuple(doubt.word for doubt in world.doubts)
    assert words == ("amplifying trace", "trace of another band")
    assert len(read_source("both-stages", keys | {"radio.bandwidth_hz": 5e5}).world().doubts) == 1
    assert read_source("both-stages").world().doubts == ()
    posed = problem()
    ended = run(run_spec(posed, plan(posed), doubts=words), "any", 0)
    assert ended.run.warning.split(",")[-2:] == list(words)
