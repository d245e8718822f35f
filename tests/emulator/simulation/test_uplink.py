"""Multiple access: rates that change in mid-transfer, against sums done by hand."""

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import simpy

from prefine.emulator.channel.base import StaticChannel
from prefine.emulator.simulation.energy import Battery, BatteryEmptyError, EnergyAccount, EnergyExhaustedError
from prefine.emulator.simulation.ownband import carrier_of
from prefine.emulator.simulation.radio import Access, Fdma, Ofdma, Tdma
from prefine.emulator.simulation.uplink import Uplink

NOISE, POWER_W, GAIN = 4e-21, 0.1, 1e-11
OWN_HZ = np.array([1e6, 1e6])


def _rate(band_hz: float) -> float:
    return band_hz * math.log2(1.0 + POWER_W * GAIN / (NOISE * band_hz))


def _send(
    access: Access, starts: list[float], bits: list[float], budget_j: float = 1e3, battery_j: float = math.inf
) -> list[Any]:
    """(end, energy, delivered) of one upload per device."""
    env = simpy.Environment()
    account = EnergyAccount(budget_j)
    uplink = carrier_of(env, StaticChannel(np.full(len(bits), GAIN)), access, np.full(len(bits), NOISE))

    def upload(device: int) -> Any:
        yield env.timeout(starts[device])
        booked = SimpleNamespace(uplink_energy_j=0.0, delivered_bits=0.0)
        try:
            yield from uplink.carry(device, bits[device], POWER_W, math.inf, Battery(battery_j, account), 1e6, booked)
        except BatteryEmptyError:
            assert booked.uplink_energy_j <= battery_j
        return env.now, booked.uplink_energy_j, booked.delivered_bits

    processes = [env.process(upload(k)) for k in range(len(bits))]
    env.run(env.all_of(processes))
    done: list[Any] = [process.value for process in processes]
    assert account.total_j == pytest.approx(sum(energy for _, energy, _ in done), rel=1e-12)
    assert uplink.peak_band_hz == pytest.approx(2e6, rel=1e-12)  # at some time all of it is in use
    assert account.covers(budget_j - account.total_j)  # nothing is held any more
    return done


def test_fdma_uploads_do_not_touch_each_other() -> None:
    alone = _rate(1e6)
    ends = _send(Fdma(OWN_HZ), [0.0, 0.1], [alone, 2.0 * alone])
    assert [end for end, _, _ in ends] == pytest.approx([1.0, 2.1], rel=1e-12)
    assert [energy for _, energy, _ in ends] == pytest.approx([0.1, 0.2], rel=1e-12)


def test_ofdma_gives_the_band_of_who_has_finished_to_who_has_not() -> None:
    half, whole = _rate(1e6), _rate(2e6)
    (first, _, _), (second, energy, sent) = _send(Ofdma(OWN_HZ), [0.0, 0.0], [half, half + whole])
    assert first == pytest.approx(1.0, rel=1e-12)
    assert second == pytest.approx(2.0, rel=1e-12)
    assert energy == pytest.approx(0.2, rel=1e-12)
    assert sent == pytest.approx(half + whole, rel=1e-12)


def test_ofdma_takes_band_from_who_sends_when_another_begins() -> None:
    half, whole = _rate(1e6), _rate(2e6)
    (first, _, _), (second, _, _) = _send(Ofdma(OWN_HZ), [0.0, 1.0], [whole + half, half + whole])
    assert first == pytest.approx(2.0, rel=1e-12)
    assert second == pytest.approx(3.0, rel=1e-12)


def test_tdma_first_come_first_served() -> None:
    whole = _rate(2e6)
    (first, one_j, _), (second, two_j, _) = _send(Tdma(OWN_HZ), [0.0, 0.5], [whole, whole])
    assert (first, second) == pytest.approx((1.0, 2.0), rel=1e-12)
    assert (one_j, two_j) == pytest.approx((0.1, 0.1), rel=1e-12)


def test_tdma_slots_take_turns_and_waiting_costs_nothing() -> None:
    whole = _rate(2e6)
    (first, one_j, _), (second, two_j, _) = _send(Tdma(OWN_HZ, slot_s=0.25), [0.0, 0.0], [whole / 2, whole])
    assert first == pytest.approx(0.75, rel=1e-9)
    assert second == pytest.approx(1.5, rel=1e-9)
    assert (one_j, two_j) == pytest.approx((0.05, 0.1), rel=1e-9)


def test_an_upload_beyond_the_budget_is_not_begun() -> None:
    with pytest.raises(EnergyExhaustedError):
        _send(Fdma(OWN_HZ), [0.0, 0.0], [_rate(1e6), _rate(1e6)], budget_j=0.15)


@pytest.mark.parametrize("access", [Fdma(OWN_HZ), Ofdma(OWN_HZ)], ids=["fdma", "ofdma"])
def test_an_upload_aborted_where_the_budget_ends_is_no_error(access: Access) -> None:
    """Its device may be interrupted in the very instant in which the budget refuses it: nobody waits for it then."""
    env = simpy.Environment()
    account, booked = EnergyAccount(0.05), SimpleNamespace(uplink_energy_j=0.0, delivered_bits=0.0)
    uplink = carrier_of(env, StaticChannel(np.full(2, GAIN)), access, np.full(2, NOISE))

    def upload() -> Any:
        try:
            yield from uplink.carry(0, _rate(1e6), POWER_W, math.inf, Battery(math.inf, account), 1e6, booked)
        except simpy.Interrupt as interrupt:
            return interrupt.cause

    def interrupting(sending: simpy.Process) -> Any:
        sending.interrupt("late")
        yield env.timeout(0.0)

    sending = env.process(upload())
    env.process(interrupting(sending))
    env.run()
    assert sending.value == "late"
    assert (account.total_j, booked.uplink_energy_j, booked.delivered_bits) == (0.0, 0.0, 0.0)


def test_an_aborted_upload_keeps_what_it_delivered_and_gives_its_band_back() -> None:
    env = simpy.Environment()
    account = EnergyAccount(0.4)
    uplink = Uplink(env, StaticChannel(np.full(2, GAIN)), Ofdma(OWN_HZ), np.full(2, NOISE))
    aborted, other = (uplink.send(k, 2.0 * _rate(1e6), POWER_W, math.inf, Battery(1.0, account)) for k in range(2))
    env.run(until=0.5)
    uplink.abort(aborted)
    env.run(other.done)
    assert (aborted.delivered_bits, aborted.energy_j) == pytest.approx((0.5 * _rate(1e6), 0.05), rel=1e-12)
    assert env.now == pytest.approx(0.5 + 1.5 * _rate(1e6) / _rate(2e6), rel=1e-12)
    assert not aborted.done.triggered
    env.run()
    assert not aborted.done.triggered
    assert account.total_j == pytest.approx(aborted.energy_j + other.energy_j, rel=1e-12)


def test_a_battery_pays_for_each_stretch_before_it_begins() -> None:
    """Slots cost 0.025 J: a battery of 0.06 J sends two, and whoever is left has the band to itself."""
    whole = _rate(2e6)
    first, second = _send(Tdma(OWN_HZ, slot_s=0.25), [0.0, 0.0], [whole / 2, whole], battery_j=0.06)
    assert first == pytest.approx((0.75, 0.05, whole / 2), rel=1e-9)
    assert second == pytest.approx((1.0, 0.05, whole / 2), rel=1e-9)


def test_a_battery_that_cannot_pay_for_its_turn_lets_the_next_one_send() -> None:
    """First come, first served: the second waits for the first, cannot send, and the third begins at once."""
    whole = _rate(2e6)
    ends = _send(Tdma(np.ones(3) * OWN_HZ[0] * 2 / 3), [0.0, 0.1, 0.2], [whole, 2.0 * whole, whole], battery_j=0.15)
    assert [end for end, _, _ in ends] == pytest.approx([1.0, 1.0, 2.0], rel=1e-9)
    assert [energy for _, energy, _ in ends] == pytest.approx([0.1, 0.0, 0.1], rel=1e-9)
    assert [sent for _, _, sent in ends] == pytest.approx([whole, 0.0, whole], rel=1e-9)


def test_a_battery_that_cannot_pay_for_a_slower_transfer_gives_its_band_to_the_others() -> None:
    """Alone it would have lasted; when another comes, what is left at half the band is more than the battery holds."""
    whole = _rate(2e6)
    first, second = _send(Ofdma(OWN_HZ), [0.0, 0.9], [2.0 * whole, whole], battery_j=0.21)
    assert first == pytest.approx((0.9, 0.09, 0.9 * whole), rel=1e-9)
    assert second == pytest.approx((1.9, 0.1, whole), rel=1e-9)
