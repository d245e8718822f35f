"""Processors: ladders, stolen cycles and heat against closed forms."""

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from prefine.emulator.randomness import stream
from prefine.emulator.simulation.availability import AlwaysOn, ExponentialOnOff, Switches
from prefine.emulator.simulation.processor import (
    BackgroundWork,
    Load,
    NoLoad,
    OnOffLoad,
    Processor,
    ProcessorModel,
    ProcessorState,
)
from prefine.emulator.simulation.thermal import Heat, ThermalState

KAPPA = 1e-28


def processor_of(capacitance: float = KAPPA, load: Load | None = None, **keys: Any) -> Processor:
    """Device 0's processor, with the keys of ``[processor]``."""
    return Processor(ProcessorModel(**keys), 0, capacitance, load or NoLoad())


def _segments(processor: Processor, wanted_hz: float, cycles: float) -> Iterator[tuple[float, float, float]]:
    """(begin, frequency, energy) of each segment of one computation from rest at time 0."""
    state = processor.rest(processor.start(wanted_hz), 0.0)
    while cycles > 0.0:
        segment = processor.next_segment(state, wanted_hz, cycles)
        yield state.time_s, segment.frequency_hz, segment.power_w * segment.duration_s
        state = processor.after(state, segment, state.time_s + segment.duration_s)
        cycles -= segment.cycles
    yield state.time_s, state.frequency_hz, 0.0


def test_continuous_processor_is_kappa_c_f_squared() -> None:
    (_, _, energy), (end, _, _) = _segments(processor_of(), 1.5e9, 3e9)
    assert end == pytest.approx(2.0, rel=1e-15)
    assert energy == pytest.approx(KAPPA * 3e9 * 1.5e9**2, rel=1e-15)


@pytest.mark.parametrize(("wanted", "got"), [(0.3e9, 0.5e9), (0.5e9, 0.5e9), (0.6e9, 1e9), (1e9, 1e9), (3e9, 2e9)])
def test_ladder_takes_the_next_level_up_or_the_highest(wanted: float, got: float) -> None:
    assert ProcessorModel(levels_hz=(0.5e9, 1e9, 2e9)).level(wanted) == got


def test_switching_takes_its_latency_once() -> None:
    processor = processor_of(levels_hz=(1e9, 2e9), switching_latency_s=0.01, static_power_w=0.5)
    state = ProcessorState(0.0, 1e9, ThermalState(0.0, False))
    switching = processor.next_segment(state, 2e9, 1e9)
    assert (switching.duration_s, switching.cycles, switching.power_w) == (0.01, 0.0, 0.5)
    running = processor.next_segment(processor.after(state, switching, 0.01), 2e9, 1e9)
    assert running.duration_s == pytest.approx(0.5)
    assert running.power_w == pytest.approx(KAPPA * 2e9**3 + 0.5)


def test_switching_heats_by_leakage_alone() -> None:
    """Nothing is computed meanwhile: without leakage the processor stays as warm as it was, with it R P (1 - 1/e)."""
    for static_w, expected_c in ((0.0, 20.0), (0.5, 20.0 + 25.0 * (1.0 - math.exp(-1.0)))):
        processor = processor_of(levels_hz=(1e9, 2e9), switching_latency_s=10.0, static_power_w=static_w, heat=HEAT)
        state = processor.start(1e9)
        after = processor.after(state, processor.next_segment(state, 2e9, 1e9), 10.0)
        assert after.thermal.temperature_c == pytest.approx(expected_c, rel=1e-12)


def test_who_stays_at_its_level_or_switches_at_once_loses_no_time() -> None:
    levels_hz = (1e9, 2e9)
    assert ProcessorModel(levels_hz=levels_hz, switching_latency_s=0.5).switching_s(1e9, 1e9) == 0.0
    assert ProcessorModel(levels_hz=levels_hz).switching_s(1e9, 2e9) == 0.0


def test_background_work_steals_its_share_of_its_share_of_the_time() -> None:
    """0.4 of the cycles a quarter of the time, over 20,000 cycles: standard error about 0.0012, the interval four."""
    work = BackgroundWork(stolen=0.4, mean_on_s=1.0, mean_off_s=3.0)
    load = ProcessorModel(load=work).load_in_run(seed=0)
    time_s, lost_s, horizon_s = 0.0, 0.0, 80_000.0
    while time_s < horizon_s:
        share, until_s = load.share(0, time_s)
        assert share in {0.0, 0.4}
        lost_s += share * (min(until_s, horizon_s) - time_s)
        time_s = until_s
    assert lost_s / horizon_s == pytest.approx(0.1, abs=0.005)
    assert ProcessorModel().load_in_run(seed=0).share(0, 5.0) == (0.0, math.inf)


def test_stolen_cycles_stretch_the_work_not_its_energy() -> None:
    load = OnOffLoad(Switches((False,), ((1.0, 3.0),)), stolen=0.5)
    segments = list(_segments(processor_of(load=load), 1e9, 3e9))
    assert segments[-1][0] == pytest.approx(4.0, rel=1e-12)
    assert math.fsum(energy for _, _, energy in segments) == pytest.approx(KAPPA * 3e9 * 1e18, rel=1e-12)


HEAT = Heat(
    ambient_c=20.0, resistance_c_w=50.0, time_constant_s=10.0, throttle_c=60.0, resume_c=40.0, throttled_hz=0.5e9
)


def test_heat_approaches_power_times_resistance() -> None:
    warm = HEAT.advance(HEAT.start(), 0.5, 10.0)
    assert warm.temperature_c == pytest.approx(20.0 + 25.0 * (1.0 - math.exp(-1.0)), rel=1e-12)


def test_throttling_and_resuming_at_the_exponentials_crossing_times() -> None:
    processor = processor_of(1e-27, heat=HEAT)
    begins = [begin for begin, _, _ in _segments(processor, 1e9, 4e10)]
    hot = 10.0 * math.log((70.0 - 20.0) / (70.0 - 60.0))
    steady = 20.0 + 50.0 * 1e-27 * 0.5e9**3
    cooled = hot + 10.0 * math.log((steady - 60.0) / (steady - 40.0))
    again = cooled + 10.0 * math.log((70.0 - 40.0) / (70.0 - 60.0))
    assert begins[1:4] == pytest.approx([hot, cooled, again], rel=1e-9)


def test_energy_under_throttling_is_the_sum_over_levels() -> None:
    processor = processor_of(1e-27, heat=HEAT)
    segments = list(_segments(processor, 1e9, 4e10))
    cycles = [f * (after[0] - begin) for (begin, f, _), after in pairwise(segments)]
    assert math.fsum(cycles) == pytest.approx(4e10, rel=1e-9)
    expected = math.fsum(1e-27 * n * f**2 for n, (_, f, _) in zip(cycles, segments[:-1], strict=True))
    assert math.fsum(e for _, _, e in segments) == pytest.approx(expected, rel=1e-9)


def test_on_share_of_the_exponential_process() -> None:
    """Fraction of time on over 20,000 cycles; its standard error is about 0.003, the interval four of them."""
    process = ExponentialOnOff(3.0, 1.0, lambda device: stream(0, "test", device))
    time_s, on_s, horizon = 0.0, 0.0, 80_000.0
    while time_s < horizon:
        on, until = process.at(0, time_s)
        on_s += on * (min(until, horizon) - time_s)
        time_s = until
    assert abs(on_s / horizon - 0.75) < 0.012


def test_on_off_answers_do_not_depend_on_the_order_of_asking() -> None:
    times = np.linspace(0.0, 50.0, 101)
    forward, backward = (ExponentialOnOff(1.0, 2.0, lambda d: stream(5, "test", d)) for _ in range(2))
    assert [forward.at(1, t) for t in times] == [backward.at(1, t) for t in times[::-1]][::-1]


def test_always_on() -> None:
    assert AlwaysOn().at(3, 1e9) == (True, math.inf)
