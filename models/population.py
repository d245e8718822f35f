"""A learner whose devices are other clients of a population from round to round."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from prefine.emulator.randomness import stream
from prefine.emulator.types import ClientResults, IntArray
from prefine.models.asynchronous import AsynchronousLearner
from prefine.models.data.clients import Clients
from prefine.models.fairness import losses_of
from prefine.models.objective import one_thread


class Visit:
    """The draws of one client while it is there; ``taken`` says how many every client has made, and is kept up."""

    def __init__(self, client: int, rows: Callable[[int], IntArray], seed: int, taken: dict[int, int]) -> None:
        self._client, self._rows, self._seed, self._taken = client, rows, seed, taken

    def take(self, count: int) -> IntArray:
        """The next ``count`` rows, (count,), of an endless order that goes on when the client comes again."""
        rows, generator = self._rows(self._client), stream(self._seed, "task samples", self._client)
        before = self._taken.get(self._client, 0)
        if isinstance(generator.bit_generator, np.random.PCG64):
            generator.bit_generator.advance(before)  # a number each
        self._taken[self._client] = before + count
        return rows[(generator.random(count) * len(rows)).astype(np.int64)]


class PopulationLearner(AsynchronousLearner):
    """`Learner` with ``clients`` in the devices' places; nothing is kept of a client but how much it has drawn."""

    def __init__(self, clients: Clients, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._clients = clients
        self._taken: dict[int, int] = {}

    def seat(self, clients: Sequence[int]) -> None:
        """From now on device k is the client ``clients[k]``, (K,)."""
        self._devices = [Visit(client, self._clients.rows, self._seed, self._taken) for client in clients]

    def results_of(self, clients: IntArray) -> ClientResults:
        """The model that would be kept on the own samples of ``clients`` (n,); they have no held-out ones."""
        parts = tuple(self._clients.rows(client) for client in clients.tolist())
        none, unknown = np.zeros(len(parts), dtype=np.int64), np.full(len(parts), np.nan)
        with one_thread(), self.objective.at(self._kept()):
            losses = losses_of(self.objective, self._data.task, parts)
        return ClientResults(np.full(len(parts), self._clients.samples), losses, none, unknown, unknown)
