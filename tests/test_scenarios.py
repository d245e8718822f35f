"""Every bundled scenario runs, shows its feature, and is described in docs/scenarios.md."""

from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

from prefine.emulator.analysis.statistics import estimate
from prefine.emulator.api import compare
from prefine.emulator.experiment.job import Job, execute
from prefine.emulator.plugins import POLICY, part
from prefine.emulator.records import RunResult
from prefine.emulator.scenario.source import bundled, bundled_text, read_source
from prefine.emulator.simulation.run import run
from prefine.emulator.simulation.spec import RunSpec
from tests.emulator.scenario.small import SMALL

CONSTANTS = [
    f"learning.{line.replace(' ', '')}"
    for line in SMALL.partition("[learning]\n")[2].partition("[compare]")[0].splitlines()
]
"""Given instead of measured: what is tested here is the clock."""


@cache
def specified(name: str, *overrides: str) -> RunSpec:
    world = read_source(name, [*CONSTANTS, "compare.evaluate_every=1000", *overrides]).world()
    policy = world.policy("uniform")
    return world.run_spec("uniform", policy, world.plan("uniform", policy), 0)


@cache
def emulate(name: str, *overrides: str) -> RunResult:
    return run(specified(name, *overrides), "uniform", 0)


def sending(result: RunResult) -> list[tuple[float, float]]:
    """When each device of the first round sent, in order: at constant power, energy over power before its end."""
    records = [record for record in result.devices if record.round == 1 and record.outcome == "delivered"]
    assert len(records) == 10
    return sorted(
        (record.upload_end_s - record.uplink_energy_j / record.power_w, record.upload_end_s) for record in records
    )


@pytest.mark.parametrize("name", bundled())
def test_it_runs_and_is_described(name: str) -> None:
    assert emulate(name).run.status == "done"
    page = Path(__file__).parent.parent / "docs" / "scenarios.md"
    assert f"`{name}`" in page.read_text(encoding="utf-8")


def test_heat_throttles() -> None:
    assert any(record.frequency_hz == 0.6e9 for record in emulate("heat").devices)


def test_ladder_runs_at_its_levels_only() -> None:
    levels_hz = (0.5e9, 1e9, 2e9)
    wanted_hz = specified("ladder").plan.devices.frequency_hz
    next_up = [min((level for level in levels_hz if level >= hz * (1.0 - 1e-12)), default=2e9) for hz in wanted_hz]
    assert [record.frequency_hz for record in emulate("ladder").devices if record.round == 1] == next_up
    assert not set(wanted_hz) <= set(levels_hz)


def test_busy_devices_are_slower_at_the_same_energy_a_round() -> None:
    calm, busy = emulate("ofdma", "radio.access=fdma"), emulate("busy")
    assert busy.run.finetune_rounds < calm.run.finetune_rounds
    each = next(r.energy_j for r in calm.rounds if r.stage == "finetune")
    assert [r.energy_j for r in busy.rounds if r.stage == "finetune"] == pytest.approx(
        [each] * busy.run.finetune_rounds, rel=1e-9
    )


def test_dropout_changes_the_number_of_participants() -> None:
    assert len({r.participants for r in emulate("dropout").rounds if r.stage == "finetune"}) > 1
    assert emulate("dropout").run.wasted_energy_j > 0.0


def test_deadline_makes_devices_late() -> None:
    result = emulate("deadline")
    assert any(record.outcome == "late" for record in result.devices)
    assert all(r.end_s - r.start_s <= 0.8 * (1 + 1e-9) for r in result.rounds if r.stage == "finetune")


def test_batteries_run_empty() -> None:
    assert any(record.outcome == "battery" for record in emulate("battery").devices)


def test_outage_delays_uploads() -> None:
    waited = [record for record in emulate("outage").devices if record.uplink_energy_j > 0.0]
    assert waited
    assert any(record.upload_end_s - record.upload_start_s > 0.02 for record in waited)


@pytest.mark.parametrize("name", ["broadcast", "unicast"])
def test_downlink_costs_energy_and_time(name: str) -> None:
    result = emulate(name)
    assert result.run.downlink_energy_j > 0.0
    assert all(record.download_end_s > record.download_start_s for record in result.devices)


def test_tdma_sends_one_at_a_time() -> None:
    def overlap_s(uploads: list[tuple[float, float]]) -> float:
        return sum(max(0.0, end - later) for (_, end), (later, _) in pairwise(uploads))

    assert overlap_s(sending(emulate("tdma"))) == pytest.approx(0.0, abs=1e-9)
    assert overlap_s(sending(emulate("tdma", "radio.access=fdma"))) > 0.1


def test_reshared_bands_end_rounds_sooner() -> None:
    fdma, ofdma = emulate("ofdma", "radio.access=fdma"), emulate("ofdma")
    assert ofdma.run.delay_s < fdma.run.delay_s


def test_a_replayed_trace_is_the_same_under_every_seed() -> None:
    worlds = [read_source("trace-replay").world().channel(seed) for seed in (0, 1)]
    assert [worlds[0].gain(k, 3.3) for k in range(10)] == [worlds[1].gain(k, 3.3) for k in range(10)]


def test_default_is_what_its_header_says() -> None:
    """Both stages pay beyond the intervals, and the accuracies that the file's comment quotes are those of its runs."""
    policies = ["joint-ft", "separate", "finetune-only", "pretrain-only"]
    runs = compare("default", policies=policies, seeds=5, overrides={"compare.evaluate_every": 1000}).runs
    score = runs.pivot_table(index="seed", columns="policy", values="test_accuracy")
    for alone in ("finetune-only", "pretrain-only"):
        gain = estimate(score["joint-ft"] - score[alone])
        assert gain.mean > gain.half_width
    quoted = {"finetune-only": 0.71, "pretrain-only": 0.73, "separate": 0.82, "joint-ft": 0.85}
    text = bundled_text("default")
    for policy, accuracy in quoted.items():
        assert f"{accuracy:.2f}".lstrip("0") in text
        assert score[policy].mean() == pytest.approx(accuracy, abs=0.01)


def test_nobody_waits_for_stragglers_without_a_barrier() -> None:
    """Unlike behind one: the same budget holds many times the updates, and rounds of the first ten throw work away."""
    runs = {
        mode: emulate("stragglers", "budget.delay_s=6", f"aggregation.mode={mode}")
        for mode in ("synchronous", "semi-synchronous", "asynchronous")
    }
    arrived = {mode: sum(r.outcome == "delivered" for r in result.devices) for mode, result in runs.items()}
    assert arrived["asynchronous"] > arrived["semi-synchronous"] > arrived["synchronous"]
    assert {r.participants for r in runs["asynchronous"].rounds if r.stage == "finetune"} == {10}
    assert runs["semi-synchronous"].run.wasted_energy_j > 3 * runs["asynchronous"].run.wasted_energy_j
    ages = [r.staleness for r in runs["asynchronous"].devices if r.outcome == "delivered"]
    assert max(ages) > 1


def test_selection_chooses_five_of_twenty() -> None:
    source = read_source("selection", [*CONSTANTS, "compare.evaluate_every=1000"])
    result = execute(Job(source, part(POLICY, "joint-ft"), 0))
    assert {record.participants for record in result.rounds if record.stage == "finetune"} == {5}
    assert len({record.device for record in result.devices}) > 10
