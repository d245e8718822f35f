"""A user's own channel: the example of docs/channels.md runs, and each wrong answer is one clear line."""

from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import numpy as np
import pytest

from prefine.emulator import loading
from prefine.emulator.channel import plugin
from prefine.emulator.channel.base import Channel
from prefine.emulator.channel.mobility import Site
from prefine.emulator.channel.models import channel_model
from prefine.emulator.channel.planner import planning_channel
from prefine.emulator.channel.section import ChannelSection
from prefine.emulator.errors import InputError
from prefine.emulator.scenario.source import read_source
from prefine.emulator.simulation.run import run
from tests.emulator.channel.test_docs import blocks
from tests.emulator.scenario.small import SMALL

DISTANCE_M = np.array([50.0, 100.0])

FADING = """
import numpy as np

class Halves:
    def __init__(self, distance_m, seed):
        self.distance_m = distance_m

    def sample(self, device, grid):
        return np.full(grid.count, 0.5)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(blocks("channels.md", "python")[1] + FADING)
    return tmp_path


def own(folder: Path, name: str, **keys: object) -> Channel:
    section: ChannelSection = channel_model({"model": f"mine.py:{name}", **keys})
    return section.build(Site(DISTANCE_M, 3, folder), 5)


def test_the_example_of_the_documentation(folder: Path) -> None:
    of = own(folder, "TwoState", parameters={"bad_db": -115.0})
    gains = {of.gain(k, float(t)) for k in (0, 1) for t in range(60)}
    assert gains == {10.0**-9.0, 10.0**-11.5}
    steps = of.steps(1, 7.25, 4)
    assert steps.end_s.tolist() == [8.0, 9.0, 10.0, 11.0]
    assert steps.gain.tolist() == [of.gain(1, t) for t in (7.25, 8.0, 9.0, 10.0)]
    section = channel_model({"model": "mine.py:TwoState"})
    planned = planning_channel(section, Site(DISTANCE_M, 3, folder))
    assert [planned.gain(0, t) for t in range(60)] != [of.gain(0, t) for t in range(60)]
    assert section.horizon_s(Site(DISTANCE_M, 3, folder), 8.0).tolist() == [8.0, 8.0]


def test_a_fading_process_goes_with_the_sections_large_scale(folder: Path) -> None:
    of, alone = own(folder, "Halves"), channel_model({}).build(Site(DISTANCE_M, 3), 5)
    assert [of.gain(k, 2.0) for k in (0, 1)] == pytest.approx([0.5 * alone.gain(k, 2.0) for k in (0, 1)], rel=1e-12)
    assert own(folder, "Halves", step_s=0.25).steps(0, 0.0, 2).end_s.tolist() == [0.25, 0.5]
    with pytest.raises(InputError, match="needs step_s, or speed_m_s > 0"):
        own(folder, "Halves", speed_m_s=0.0)


def test_an_installed_channel_goes_by_its_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "installed_channel.py").write_text(FADING)
    monkeypatch.syspath_prepend(str(folder))
    found = EntryPoint("halves", "installed_channel:Halves", plugin.CHANNELS)
    monkeypatch.setattr(loading, "entry_points", lambda: EntryPoints([found]))
    monkeypatch.setattr(plugin, "installed", lambda _: ("halves",))
    of = channel_model({"model": "halves"}).build(Site(DISTANCE_M, 3), 5)
    assert of.gain(0, 0.0) == pytest.approx(0.5 * channel_model({}).build(Site(DISTANCE_M, 3), 5).gain(0, 0.0))


GOOD = "class Own(Channel):\n    def __init__(self, distance_m, seed, depth=1.0): self.k = len(distance_m)\n"
GAIN = "    def gain(self, device, time_s): return 1e-9\n"


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("class Own:\n    def __init__(self, d, s): pass\n", r"is no Channel and has no sample\(device, grid\)"),
        (
            "class Own(Channel):\n    def __init__(self, d, s): pass\n",
            r"raised TypeError: Can't instantiate .* when it",
        ),
        ("class Own(Channel):\n    def __init__(self, d): pass\n" + GAIN, "raised TypeError: .* when it was made"),
        ("Own = 3\n", "is no class"),
        (GOOD + GAIN + "    def steps(self, d, t, n): return 1\n", r"raised TypeError: .* in steps\(0, 1, 8\)"),
        (GOOD + GAIN + "    def steps(self, d, t, n): return [2.0], [1.0, 1.0]\n", "shape .* must be one length"),
        (GOOD + GAIN + "    def steps(self, d, t, n): return [1.0], [1.0]\n", "must rise strictly from above 1"),
        (GOOD + GAIN + "    def steps(self, d, t, n): return [2.0], [-1.0]\n", "must be finite and at least 0"),
        (GOOD + GAIN + "    def steps(self, d, t, n): 1 / 0\n", r"raised ZeroDivisionError: .* in steps\(0, 1, 8\)"),
    ],
)
def test_a_wrong_answer_is_one_line(tmp_path: Path, body: str, line: str) -> None:
    (tmp_path / "mine.py").write_text("from prefine.emulator.channel.base import Channel\n" + body)
    with pytest.raises(InputError, match=rf"^channel mine\.py:Own: .*{line}") as caught:
        own(tmp_path, "Own").steps(0, 1.0, 8)
    assert "\n" not in str(caught.value)


def test_other_mistakes_are_one_line(tmp_path: Path) -> None:
    steps = "    def steps(self, device, start_s, count): return [float('inf')], [1e-9]\n"
    negative = "    def gain(self, device, time_s): return -1.0\n"
    (tmp_path / "mine.py").write_text("from prefine.emulator.channel.base import Channel\n" + GOOD + negative + steps)
    with pytest.raises(InputError, match=r"gain\(0, 2\) is -1\.0, must be finite and at least 0"):
        own(tmp_path, "Own").gain(0, 2.0)
    said = r"channel\.parameters\.dept: unknown key; allowed: depth; did you mean 'depth'\?"
    with pytest.raises(InputError, match=said):
        own(tmp_path, "Own", parameters={"dept": 2.0})
    with pytest.raises(InputError, match=r"nowhere\.py"):
        channel_model({"model": "nowhere.py:Own"}).build(Site(DISTANCE_M, 3, tmp_path), 5)
    (tmp_path / "mine.py").write_text(FADING.replace("np.full(grid.count, 0.5)", "np.zeros(3)"))
    with pytest.raises(InputError, match=r"sample\(0, Grid\(.*\)\) has shape \(3,\), must be 256 finite numbers"):
        own(tmp_path, "Halves", step_s=1.0).gain(0, 0.0)


def test_its_file_is_an_input_and_every_policy_meets_it(folder: Path) -> None:
    text = SMALL.replace('model = "static"', 'model = "mine.py:TwoState"\n[channel.parameters]\nbad_db = -115.0')
    (folder / "small.toml").write_text(text)
    source = read_source(folder / "small.toml")
    before = dict(source.checksums)
    assert list(before) == ["mine.py"]
    world = source.world()
    policy = world.policy("uniform")
    result = run(world.run_spec("uniform", policy, world.plan("uniform", policy), 0), "uniform", 0)
    assert result.run.finetune_rounds > 0
    (folder / "mine.py").write_text((folder / "mine.py").read_text() + "# edited\n")
    assert dict(read_source(folder / "small.toml").checksums) != before
