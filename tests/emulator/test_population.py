"""A population: clients are made when they are drawn, and what one of them is depends on its number alone."""

import math
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

import prefine
from prefine.emulator.errors import InputError
from prefine.emulator.scenario.population import PopulationSettings
from prefine.emulator.scenario.source import read_source
from prefine.emulator.simulation.population import within
from prefine.emulator.types import Plan, Problem
from prefine.emulator.world import World
from prefine.models.data.clients import clients_of
from prefine.models.data.samples import Samples
from prefine.models.population import Visit
from prefine.policies.baselines import Uniform

PLACES = 4
SCENARIO = """
[budget]
delay_s = 100.0
energy_j = 1e4
[population]
clients = 1_000_000
samples = 20
[task]
model = "logistic"
partition = "dirichlet"
[learning]
smoothness = 1.0
initial_gap = 1.0
discrepancy = 0.05
server_variance = 8.0
device_variance = 8.0
pretrain_contraction = 0.03
pretrain_floor = 0.4
[devices]
count = 4
distance_m = { low = 50.0, high = 300.0 }
cycles_per_sample = { low = 1e5, high = 4e5 }
max_frequency_hz = { low = 1e8, high = 2e9 }
max_power_w = { low = 0.01, high = 0.2 }
min_power_w = 0.005
[radio]
total_bandwidth_hz = 1e6
[channel]
model = "rayleigh"
shadowing_db = 6.0
"""


class Rounds(Uniform):
    """Uniform's plan for 1 + 6 rounds."""

    def plan(self, problem: Problem) -> Plan:
        return replace(super().plan(problem), pretrain_rounds=1, finetune_rounds=6)


def world(**overrides: object) -> World:
    return read_source(SCENARIO, {key.replace("__", "."): value for key, value in overrides.items()}).world()


def test_a_clients_hardware_gain_and_data_are_its_numbers_own() -> None:
    """Neither its place, nor who else is there, nor the size of the population changes a bit of them."""
    small, large = world(population__clients=1000), world(population__clients=10**9)
    alone, among = small.channel(5), large.channel(5)
    before, after = [7, 500, 13, 2], [999, 8, 10**8, 7]
    alone.seat(before)  # type: ignore[attr-defined]
    among.seat(after)  # type: ignore[attr-defined]
    for time_s in (0.0, 3.21, 70.0):
        assert alone.gain(0, time_s) == among.gain(3, time_s) != among.gain(0, time_s)
    one, other = small._devices(before), large._devices(after)
    for name in ("cycles_per_sample", "max_frequency_hz", "max_power_w"):
        assert getattr(one, name)[0] == getattr(other, name)[3] != getattr(other, name)[0]
    learners = [each.learner(3) for each in (small, large)]
    held = [learner.results_of(np.array([7, 8])).train_loss.tolist() for learner in learners]  # type: ignore[attr-defined]
    assert held[0] == held[1]
    assert held[0][0] != held[0][1]


def test_same_seed_same_records_and_every_client_within_its_own_limits() -> None:
    first, again = (prefine.run(SCENARIO, Rounds) for _ in range(2))
    assert all(
        getattr(first, name).to_csv() == getattr(again, name).to_csv() for name in ("runs", "devices", "clients")
    )
    devices, clients = first.devices, first.clients
    assert devices.groupby("round").device.nunique().tolist() == [PLACES] * 6
    assert clients.device.tolist() == sorted(set(devices.device))
    assert clients.finetune_rounds.sum() == 6 * PLACES
    assert clients.samples.unique().tolist() == [20]
    of = world().scenario.fleet_of(devices.device.tolist())
    assert (devices.power_w <= of.max_power_w).all()
    assert (devices.power_w == of.max_power_w).any()
    distance_m = of.distance_m.reshape(6, PLACES)
    assert (np.diff(distance_m) >= 0.0).all(), "who is nearer sits where somebody near was planned"


def test_rounds_that_are_lived_are_those_that_are_computed() -> None:
    """A deadline that nobody meets the end of leaves every round to the processes of that round's clients."""
    computed, lived = (
        prefine.run(SCENARIO, Rounds, overrides=keys).devices for keys in ({}, {"faults.round_deadline_s": 99.0})
    )
    columns = ["device", "batch", "outcome"]
    assert computed[columns].equals(lived[columns])
    np.testing.assert_allclose(computed.upload_end_s, lived.upload_end_s, rtol=1e-9)
    np.testing.assert_allclose(computed.compute_energy_j, lived.compute_energy_j, rtol=1e-9)


def test_distinct_clients_follow_the_closed_form() -> None:
    """After T rounds of K out of N, N (1 - (1 - K / N)^T) clients have been there on the mean."""
    clients, count, rounds = 2000, 100, 30
    population = PopulationSettings(clients=clients)
    found = [
        len(set().union(*(population.cohort(number, count, seed) for number in range(rounds)))) for seed in range(20)
    ]
    chance = 1.0 - (1.0 - count / clients) ** rounds
    error = math.sqrt(clients * chance * (1.0 - chance) / len(found))  # no more: rounds draw without replacement
    assert abs(np.mean(found) - clients * chance) < 4.0 * error
    assert len(set(population.cohort(1, clients, 0))) == clients
    tracemalloc.start()
    PopulationSettings(clients=10**9).cohort(1, 1000, 0)
    assert tracemalloc.get_traced_memory()[1] < 1e6, "nobody is listed"
    tracemalloc.stop()


def test_clients_hold_the_shared_samples_on_the_mean_and_one_sided_alone() -> None:
    labels = np.repeat([0, 1, 2], [600, 300, 100])
    shared = Samples(np.zeros((1000, 1), np.float32), labels)
    share = {}
    for partition in ("iid", "dirichlet"):
        held = clients_of(shared, partition, 0.5, 40, 3)
        counts = np.array([np.bincount(labels[held.rows(client)], minlength=3) for client in range(3000)]) / 40
        error = counts.std(axis=0) / math.sqrt(3000)
        assert (np.abs(counts.mean(axis=0) - [0.6, 0.3, 0.1]) < 4.0 * error).all()
        share[partition] = counts[:, 0].var()
        assert len(np.unique(np.concatenate([held.rows(client) for client in range(200)]))) > 900
    alpha, p = 0.5 * 3 * 0.6, 0.6
    spread = p * (1.0 - p) / (0.5 * 3 + 1.0)  # of Beta(alpha, 1.5 - alpha), and beside it that of 40 draws
    assert alpha == pytest.approx(0.9)
    assert share["dirichlet"] == pytest.approx(spread + (p * (1.0 - p) - spread) / 40, rel=0.1)
    assert share["iid"] == pytest.approx(p * (1.0 - p) / 40, rel=0.1)


def test_a_client_that_comes_again_goes_on_where_it_was() -> None:
    def visit(taken: dict[int, int]) -> Visit:
        return Visit(9, lambda client: np.arange(client * 10), 1, taken)

    whole, parts = visit({}).take(8), dict[int, int]()
    assert [*visit(parts).take(3), *visit(parts).take(5)] == whole.tolist()
    assert parts == {9: 8}


def test_plans_are_clipped_to_who_carries_them_out() -> None:
    problem = world().problem
    plan = Uniform().plan(problem).devices
    slow = replace(
        problem.devices, max_frequency_hz=problem.devices.max_frequency_hz * 1e-2, min_frequency_hz=np.ones(4)
    )
    clipped = within(plan, slow)
    assert (clipped.frequency_hz <= slow.max_frequency_hz).all()
    assert within(plan, problem.devices).frequency_hz.tolist() == plan.frequency_hz.tolist()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("population.clients", 3),
        ("devices.distance_m", [1.0, 2.0, 3.0, 4.0]),
        ("channel.gain_db", [-90.0, -91.0, -92.0, -93.0]),
        ("aggregation.mode", "asynchronous"),
        ("faults.battery_j", 5.0),
        ("training.upload", "top-k"),
        ("training.algorithm", "scaffold"),
        ("training.participation", 0.5),
        ("task.partition", "source"),
    ],
)
def test_what_needs_lasting_devices_is_refused_in_one_line(key: str, value: object) -> None:
    with pytest.raises(InputError) as refused:
        prefine.run(SCENARIO, Rounds, overrides={key: value})
    assert key.rpartition(".")[2] in str(refused.value)
    assert "\n" not in str(refused.value)


def test_policies_that_look_at_devices_are_refused() -> None:
    for policy in ("joint-online", "joint-rehearsed"):
        with pytest.raises(InputError, match="other clients"):
            world().plan(policy, world().policy(policy))
