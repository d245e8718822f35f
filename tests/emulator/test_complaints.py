"""One mistake, one line, whichever door it came through."""

import json
from collections.abc import Callable

import pytest

from prefine.emulator.errors import InputError
from prefine.emulator.problem_file import parse_problem
from prefine.emulator.scenario.scenario import parse_scenario, scenario_of, with_values

BUDGET = {"delay_s": 4.0, "energy_j": 30.0}


def complaint_of(call: Callable[[], object]) -> str:
    with pytest.raises(InputError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def in_toml(lines: str) -> str:
    return complaint_of(lambda: parse_scenario(f"[budget]\ndelay_s = 4.0\nenergy_j = 30.0\n{lines}", "s"))


def nested(place: str, value: object) -> dict[str, object]:
    """The tree of tables in which ``value`` stands at the dotted ``place``."""
    first, _, rest = place.partition(".")
    return {first: nested(rest, value) if rest else value}


@pytest.mark.parametrize(
    ("text", "overrides", "line"),
    [
        ("[budget]\ndelay_s = 4\nenergy_j = 3", ["bogus.key=1"], "--set bogus: unknown key; allowed: name"),
        ("[budget]\ndelay_s = 4\nenergy_j = 3", ["seed=1", "channel.model=trace"], "--set channel"),
        ("[budget]\ndelay_s = 4", ["budget.delay_s=2"], "s: budget.energy_j: is missing"),
        ("[budget]\ndelay_s = -4\nenergy_j = 3", ["seed=1"], "s: budget.delay_s = -4: must be greater than 0"),
        ("[budget]\ndelay_s = 4\nenergy_j = 3", ["processor.heat.ambient_c=3"], "--set processor.heat.ambient_c: proc"),
    ],
)
def test_the_file_is_blamed_for_its_own_mistakes_alone(text: str, overrides: list[str], line: str) -> None:
    assert complaint_of(lambda: parse_scenario(text, "s", overrides)).startswith(line)


@pytest.mark.parametrize(
    ("table", "key", "value", "line"),
    [
        ("devices", "cuont", 3, "s: devices.cuont: unknown key; allowed: count, distance_m"),
        ("radio.downlink", "powr_w", 1.0, "s: radio.downlink.powr_w: unknown key; allowed: mode, delay_s"),
        ("channel", "mode", "block", "s: channel.mode: unknown key; allowed: model, carrier_hz"),
        ("faults.outage", "snr_db", 1.0, "s: faults.outage.snr_db: unknown key; allowed: snr_threshold_db"),
        ("devices", "count", 0, "s: devices.count = 0: must be greater than or equal to 1"),
        ("radio.downlink", "mode", "brodcast", "s: radio.downlink.mode = 'brodcast': must be one of 'free'"),
        ("channel", "model", "rice", "s: channel.model = 'rice': must be one of 'static', 'rayleigh', 'rician'"),
        ("radio", "access", "cdma", "s: radio.access = 'cdma': must be 'fdma', 'tdma' or 'ofdma'"),
        ("channel", "trace_start_s", -1.0, "s: channel.trace_start_s = -1.0: must be greater than or equal to 0"),
        ("devices", "distance_m", {"lo": 1.0}, "s: devices.distance_m.lo: unknown key; allowed: low, high"),
        ("processor.heat", "ambient_c", 30.0, "s: processor.heat.resistance_c_w: is missing"),
    ],
)
def test_every_door_says_the_same(table: str, key: str, value: object, line: str) -> None:
    written = "{ lo = 1.0 }" if isinstance(value, dict) else json.dumps(value)
    said = in_toml(f"[{table}]\n{key} = {written}\n")
    assert said.startswith(line)
    plain = parse_scenario("[budget]\ndelay_s = 4.0\nenergy_j = 30.0\n", "s")
    what = said.removeprefix("s: ")
    overridden = complaint_of(lambda: with_values(plain, {f"{table}.{key}": value}, "s"))
    assert overridden in (f"override {what}", f"override {table}.{key}: {what}")
    override = f"{table}.{key}={written}"
    text = "[budget]\ndelay_s = 4.0\nenergy_j = 30.0\n"
    assert complaint_of(lambda: parse_scenario(text, "s", [override])) == overridden.replace("override", "--set")
    assert complaint_of(lambda: scenario_of({"budget": BUDGET, **nested(f"{table}.{key}", value)}, "s")) == said


@pytest.mark.parametrize(
    ("lines", "meant"),
    [
        ("[devises]\ncount = 3\n", "devices"),
        ("[devices]\ncuont = 3\n", "count"),
        ("[radio.downlink]\nmode = 'unicasst'\n", "unicast"),
        ("[radio]\naccess = 'tdm'\n", "tdma"),
        ("[channel]\nmodel = 'raleigh'\n", "rayleigh"),
    ],
)
def test_what_was_meant_is_named(lines: str, meant: str) -> None:
    assert in_toml(lines).endswith(f"; did you mean '{meant}'?")


def test_a_misspelt_key_is_named_before_the_one_that_is_missing_for_it() -> None:
    said = complaint_of(lambda: parse_scenario("[budget]\ndelays = 4.0\nenergy_j = 30.0\n", "s"))
    assert said == (
        "s: budget.delays: unknown key; allowed: delay_s, energy_j, on_budget; did you mean 'delay_s'? (and 1 more)"
    )


def test_a_problem_file_complains_alike() -> None:
    said = complaint_of(lambda: parse_problem(json.dumps({"budget": {"delay_s": 1.0, "enrgy_j": 1.0}}), "p"))
    assert said.startswith("p: budget.enrgy_j: unknown key; allowed: delay_s, energy_j; did you mean 'energy_j'? (and")


def test_a_key_below_a_value_is_named_in_full() -> None:
    said = complaint_of(lambda: parse_scenario("[budget]\ndelay_s = 4.0\n", "s", ["budget.delay_s.x=3"]))
    assert said == "budget.delay_s.x: budget.delay_s is a value, not a table"


@pytest.mark.parametrize("place", ["channel", "radio.downlink", "faults.outage", "device", "processor"])
def test_what_is_no_table_is_refused(place: str) -> None:
    said = complaint_of(lambda: scenario_of({"budget": BUDGET, **nested(place, 3)}, "s"))
    assert said.startswith(f"s: {place} = 3: must be a ")


def test_a_value_that_several_kinds_would_do_for_counts_once() -> None:
    assert "more" not in in_toml("[devices]\ndistance_m = { lo = 1.0 }\n")
    assert in_toml('[devices]\ndistance_m = { lo = 1.0 }\ncapacitance = "x"\n').endswith("(and 1 more)")
