"""Scenarios: what is accepted, and the one line that says why something is not."""

import pytest

from prefine.emulator.errors import InputError
from prefine.emulator.scenario.scenario import parse_scenario, with_values
from prefine.emulator.scenario.source import bundled, read_source
from tests.emulator.scenario.small import SMALL


def test_a_scenario_survives_its_own_json() -> None:
    scenario = parse_scenario(SMALL, "small.toml")
    assert type(scenario).model_validate_json(scenario.model_dump_json()) == scenario


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("delay_s = 4.0", "delay_s = -1.0", "budget.delay_s = -1.0: must be greater than 0"),
        ("delay_s = 4.0", "delay_s = nan", "budget.delay_s = nan: must be a finite number"),
        ("delay_s = 4.0", "delay_s = inf", "budget.delay_s = inf: must be a finite number"),
        ("delay_s = 4.0", 'delay_s = "4"', "budget.delay_s = '4': must be a valid number"),
        ("delay_s = 4.0", "", "budget.delay_s: is missing"),
        ("delay_s = 4.0", "delay_s = 4.0\ndelay = 1", "budget.delay: unknown key"),
        ("[radio]", "[radios]", "radios: unknown key"),
        ("count = 3", "count = 3\nmax_power_w = -0.2", "devices.max_power_w = -0.2: must be greater than 0"),
        ("count = 3", "count = 3\nmax_power_w = [0.1, -0.2, 0.1]", "devices.max_power_w[1] = -0.2"),
        ("count = 3", "count = 3\nmin_batch = 300", "devices: min_batch = 300 is above max_batch = 256"),
        ("count = 3", "count = 0", "devices.count = 0: must be greater than or equal to 1"),
        ('model = "static"', 'model = "magic"', "channel.model = 'magic'"),
        ('model = "static"', 'model = "trace"', 'channel: model = "trace" and trace'),
        ("bandwidth_hz = 1e5", "bandwidth_hz = 1e5\nshares = [0.5, 0.5]", "radio: shares needs total_bandwidth_hz"),
        ("bandwidth_hz = 1e5", "bandwidth_hz = 1e5\nslot_s = 0.1", "radio: slot_s belongs to access"),
        ("delay_s = 4.0", "delay_s = 4.0 4", "is not valid TOML"),
        ("samples = 60", "samples = 60\nmodel = 3", "task.model = 3"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(old: str, new: str, line: str) -> None:
    assert old in SMALL
    with pytest.raises(InputError) as caught:
        parse_scenario(SMALL.replace(old, new), "small.toml")
    assert str(caught.value).startswith("small.toml: ")
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_overrides_reach_any_key() -> None:
    scenario = parse_scenario(SMALL, "s", ["budget.delay_s=7", "channel.model=rayleigh", "policies.uniform.batch=8"])
    assert scenario.budget.delay_s == 7.0
    assert scenario.channel.model == "rayleigh"
    assert scenario.policies == {"uniform": {"batch": 8}}


@pytest.mark.parametrize(
    ("key", "steps"),
    [
        ('policies."mine.py:Mine".x', ["mine.py:Mine", "x"]),
        ('policies."my models/mine.py:Mine".x', ["my models/mine.py:Mine", "x"]),
        ('policies.a."b.c"', ["a", "b.c"]),
        ('policies."a.x', ['"a', "x"]),
        ('policies."a"b.x', ['"a"b', "x"]),
    ],
)
def test_a_step_with_dots_of_its_own_is_quoted(key: str, steps: list[str]) -> None:
    first, second = steps
    assert parse_scenario(SMALL, "s", [f"{key}=8"]).policies == {first: {second: 8}}


@pytest.mark.parametrize("override", ["budget.delay_s", "=3", "budget.delay_s.x=3", "nothing.here=1"])
def test_a_wrong_override_is_refused(override: str) -> None:
    with pytest.raises(InputError):
        parse_scenario(SMALL, "s", [override])


def test_values_of_a_sweep_are_set_like_overrides() -> None:
    scenario = parse_scenario(SMALL, "s")
    assert with_values(scenario, {"budget.delay_s": 9}, "s") == parse_scenario(SMALL, "s", ["budget.delay_s=9"])


def test_a_varied_preset_fills_in_its_own_values() -> None:
    scenario = parse_scenario(SMALL, "s")
    for preset, rate, momentum in (("practice", "3/L", 0.5), ("theory", "1/L", 0.0)):
        scenario = with_values(scenario, {"training.preset": preset}, "s")
        assert (scenario.training.learning_rate, scenario.training.momentum) == (rate, momentum)
    own = with_values(scenario, {"training.momentum": 0.2}, "s")
    assert with_values(own, {"training.preset": "practice"}, "s").training.momentum == 0.2


def test_device_tables_count_and_override() -> None:
    text = SMALL.replace("count = 3\n", "") + "[[device]]\ndistance_m = 10.0\n[[device]]\nmax_power_w = 0.05\n"
    assert parse_scenario(text, "s").device_count == 2
    with pytest.raises(InputError, match=r"devices\.count = 3, but there are 1"):
        parse_scenario(SMALL + "[[device]]\n", "s")


@pytest.mark.parametrize("name", bundled())
def test_bundled_scenarios_are_in_order_and_described(name: str) -> None:
    source = read_source(name)
    assert source.scenario.name == name
    assert source.scenario.description
    dict(source.checksums)


def test_an_unknown_scenario_names_the_bundled_ones() -> None:
    with pytest.raises(InputError, match=r"bundled \(.*default"):
        read_source("no such scenario")
