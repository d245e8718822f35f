"""The rounds of `benchmarks.training` in Flower's simulation (Beutel et al., 2020): Ray's workers run the devices.

No Flower from 1.8 to 1.42 accepts the versions in constraints.txt (1.42 needs older packaging, rich and typer), so it
is no extra of this project but goes into an environment of its own:

    grep -vE '^(packaging|rich|typer)==' constraints.txt > /tmp/flower.txt
    pip install --constraint /tmp/flower.txt --editable . 'flwr[simulation]==1.42.0'
    python -m benchmarks.training

It learns the same: the devices draw the samples that `prefine.models.learner.Learner` draws, and one step of each and
the mean of their weights are one weighted step. Its rounds take a tenth of a second however small their work: the
runtime looks for new messages ten times a second, which no setting changes.
"""

import logging
import os
import time
from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.digits import DEVICES, RATE, workload
from prefine.emulator.randomness import stream
from prefine.models.objective import Batch, Objective
from prefine.models.sampling import Draws

BACKEND = {
    "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
    "init_args": {"include_dashboard": False, "log_to_driver": False, "logging_level": logging.ERROR},
}
QUIET = {"FLWR_TELEMETRY_ENABLED": "0", "RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
"""Nothing is reported to anybody; no warning about accelerators."""
PULL_S = 0.01
"""How often the server asks for replies, s; Flower's own 0.1 s makes some rounds twice as long."""

Weights = NDArray[np.float32]


class Ran(NamedTuple):
    """One simulation, in wall time because the workers are other processes."""

    total_s: float
    """From the call to its return: the workers' start and end included."""
    ends_s: list[float]
    """When each round ended, s; the first entry is the start of the first round."""
    weights: Weights
    """(P,) after the last round."""

    def round_s(self, first: int) -> float:
        """Mean seconds of a round, the ``first`` ones left out: in those the workers load libraries and data."""
        return (self.ends_s[-1] - self.ends_s[first]) / (len(self.ends_s) - 1 - first)

    def startup_s(self, first: int) -> float:
        """What the simulation took beyond its rounds, s."""
        return self.total_s - (len(self.ends_s) - 1) * self.round_s(first)


def flower(model: str, batch: int) -> Callable[[int], Ran]:
    """Every device takes one step on ``batch`` samples of its own, a worker for each core; the server averages."""
    os.environ |= QUIET
    from flwr.clientapp import ClientApp
    from flwr.serverapp import ServerApp
    from flwr.simulation import run_simulation

    logging.getLogger("flwr").setLevel(logging.ERROR)

    def loop(rounds: int) -> Ran:
        ends_s: list[float] = []
        final: list[Weights] = []
        server, client = ServerApp(), ClientApp()
        server.main()(lambda grid, _: final.append(_serve(grid, model, rounds, ends_s)))
        client.train()(partial(_answer, model, batch, rounds))
        start_s = time.perf_counter()
        run_simulation(server, client, DEVICES, backend_config=BACKEND)
        return Ran(time.perf_counter() - start_s, ends_s, final[0])

    return loop


def _serve(grid: Any, model: str, rounds: int, ends_s: list[float]) -> Weights:
    """Federated averaging; the weights (P,) after ``rounds`` rounds."""
    from flwr.app import ArrayRecord
    from flwr.serverapp.strategy import FedAvg

    grid.pull_interval = PULL_S
    initial = ArrayRecord([workload(model).objective(0).weights.numpy()])
    strategy = FedAvg(fraction_evaluate=0.0, min_train_nodes=DEVICES, min_available_nodes=DEVICES)
    result = strategy.start(grid, initial, num_rounds=rounds, evaluate_fn=lambda *_: ends_s.append(time.perf_counter()))
    weights: Weights = result.arrays.to_numpy_ndarrays()[0]
    return weights


def _answer(model: str, batch: int, rounds: int, message: Any, context: Any) -> Any:
    """A device's reply: its weights after one step."""
    from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict

    (start,) = message.content["arrays"].to_numpy_ndarrays()
    objective, task, rows = _worker(model, batch, rounds)
    own = rows[context.node_config["partition-id"], message.content["config"]["server-round"] - 1]
    moved = _step(objective, task.take(own, torch.full((batch,), 1.0 / batch)), start)
    examples = MetricRecord({"num-examples": batch})
    return Message(RecordDict({"arrays": ArrayRecord([moved]), "metrics": examples}), reply_to=message)


def _step(objective: Objective, batch: Batch, start: Weights) -> Weights:
    """The weights (P,) after one step from ``start`` (P,) on ``batch``."""
    objective.weights.copy_(torch.from_numpy(start))
    objective.differentiate(batch)
    objective.regularise(1.0)
    moved: Weights = (objective.weights - RATE * objective.gradient).numpy()
    return moved


@cache
def _worker(model: str, batch: int, rounds: int) -> tuple[Objective, Batch, torch.Tensor]:
    """What a worker process keeps between messages: network, data, and the rows (K, ``rounds``, ``batch``) to draw."""
    torch.set_num_threads(1)
    made = workload(model)
    parts = enumerate(made._federation.parts)
    rows = np.stack([Draws(part, stream(0, "task samples", device)).take(rounds * batch) for device, part in parts])
    return made.objective(0), made._federation.task, torch.from_numpy(rows.reshape(DEVICES, rounds, batch))
