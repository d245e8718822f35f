"""What clients.csv says of each device, and how evenly all are served."""

import math
from dataclasses import replace

import numpy as np
import pytest

from prefine.emulator.records import ClientRecord
from prefine.emulator.simulation.clients import fairness
from prefine.emulator.simulation.faults import Dropout, Faults
from prefine.emulator.simulation.run import run
from prefine.emulator.types import ClientResults
from tests.emulator.simulation.worlds import CountingLearner, plan, problem, run_spec


def scored(*accuracies: float) -> list[ClientRecord]:
    return [ClientRecord(k, 5, 3, 1.0, 0.5, 4, accuracy) for k, accuracy in enumerate(accuracies)]


def test_fairness_of_known_scores() -> None:
    """Jain's index is 1 where all are level, and 1/n where one has all."""
    assert fairness(scored(0.5, 0.5, 0.5)) == pytest.approx((0.5, 0.5, 0.0, 1.0))
    assert fairness(scored(0.8, 0.0, 0.0, 0.0)).jain == pytest.approx(0.25)
    many = fairness(scored(*np.linspace(0.0, 0.95, 20)))
    assert many.worst == pytest.approx(0.025)  # of 0 and .05
    assert many.std == pytest.approx(np.linspace(0.0, 0.95, 20).std())
    assert fairness(scored(0.4, math.nan, 0.8)).mean == pytest.approx(0.6)
    assert math.isnan(fairness(scored(0.4, -0.1)).jain)
    assert all(math.isnan(value) for value in fairness(scored(math.nan)))


def test_a_learner_that_knows_nothing_of_devices_leaves_their_work_and_energy() -> None:
    world = problem(4)
    result = run(run_spec(world, plan(world), faults=Faults(dropout=Dropout(mean_up_s=2.0, mean_down_s=1.0))), "p", 0)
    spent = sum(client.energy_j for client in result.clients)
    assert spent == pytest.approx(result.run.compute_energy_j + result.run.uplink_energy_j, rel=1e-12)
    for client in result.clients:
        own = [record for record in result.devices if record.device == client.device]
        assert client.finetune_rounds == sum(record.outcome == "delivered" for record in own)
        assert client.samples == 0
        assert math.isnan(client.test_accuracy)
    assert math.isnan(result.run.client_accuracy_mean)


class Knowing(CountingLearner):
    """Knows that device k scores k / 10."""

    def client_results(self) -> ClientResults:
        scores = np.arange(3) / 10.0
        return ClientResults(np.full(3, 7), scores, np.full(3, 2), scores, np.full(3, np.nan))


def test_what_the_learner_knows_is_in_the_records() -> None:
    world = problem(3)
    result = run(replace(run_spec(world, plan(world)), learner=Knowing()), "p", 0)
    assert [client.test_accuracy for client in result.clients] == [0.0, 0.1, 0.2]
    assert [client.samples for client in result.clients] == [7, 7, 7]
    assert result.run.client_accuracy_mean == pytest.approx(0.1)
    assert result.run.client_accuracy_worst == 0.0
