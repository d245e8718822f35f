"""The energy account: what it lets begin, and what it has on its books afterwards."""

import pytest

from prefine.emulator.simulation.energy import (
    BUDGET_SLACK,
    Battery,
    BatteryEmptyError,
    EnergyAccount,
    EnergyExhaustedError,
)


def test_a_budget_covers_itself_and_its_rounding_and_no_more() -> None:
    account = EnergyAccount(8.0)
    assert account.covers(8.0)
    assert account.covers(8.0 * (1.0 + 0.5 * BUDGET_SLACK))
    assert not account.covers(8.0 * (1.0 + 2.0 * BUDGET_SLACK))


def test_without_a_budget_only_what_costs_nothing_begins() -> None:
    assert EnergyAccount(0.0).covers(0.0)
    assert not EnergyAccount(0.0).covers(1e-12)


def test_what_is_held_counts_until_it_is_settled() -> None:
    """8 J, of which 5 are held and 2 used in the end: 3 more fit before, 6 after."""
    account = EnergyAccount(8.0)
    held_j = account.hold(5.0)
    assert (account.total_j, account.covers(3.0), account.covers(3.1)) == (0.0, True, False)
    with pytest.raises(EnergyExhaustedError):
        account.hold(3.1)
    account.settle("uplink", held_j, 2.0)
    assert (account.covers(6.0), account.covers(6.1)) == (True, False)
    account.settle("server", account.hold(1.0), 1.0)
    account.settle("uplink", account.hold(1.0), 0.5)
    assert account.spent_j == {"server": 1.0, "compute": 0.0, "uplink": 2.5, "downlink": 0.0}
    assert (account.total_j, account.wasted_j) == (3.5, 0.0)


def test_a_battery_holds_for_itself_and_for_the_run() -> None:
    """5 J in the battery, 8 J in the budget: 4 held leave 1 here and 4 there; 3 used leave 2 here and 5 there."""
    account = EnergyAccount(8.0)
    battery = Battery(5.0, account)
    held_j = battery.hold(4.0)
    assert (account.covers(4.0), account.covers(4.1)) == (True, False)
    with pytest.raises(BatteryEmptyError):
        battery.hold(1.1)
    battery.settle("compute", held_j, 3.0)
    assert account.spent_j["compute"] == account.total_j == 3.0
    assert not battery.is_empty
    with pytest.raises(BatteryEmptyError):
        battery.hold(2.1)
    battery.settle("uplink", battery.hold(2.0), 2.0)
    assert battery.is_empty


def test_what_the_budget_refuses_the_battery_does_not_hold() -> None:
    account = EnergyAccount(3.0)
    battery = Battery(5.0, account)
    with pytest.raises(EnergyExhaustedError):
        battery.hold(4.0)
    assert battery.hold(3.0) == 3.0


def test_a_battery_that_gave_up_is_empty_for_good() -> None:
    battery = Battery(5.0, EnergyAccount(8.0))
    battery.give_up()
    assert battery.is_empty
    with pytest.raises(BatteryEmptyError):
        battery.hold(1e-9)
