"""What the clients of a population hold: rows of shared task samples, drawn by the client's number when asked for.

No list of clients is ever made. A client's samples are drawn independently of each other from a law of its own, so two
clients may hold the same sample, and over all clients the mean of the laws is that of the shared samples.
"""

from dataclasses import dataclass

import numpy as np

from prefine.emulator.randomness import stream
from prefine.emulator.types import IntArray
from prefine.models.data.partition import classes
from prefine.models.data.samples import Samples


@dataclass(frozen=True)
class Clients:
    """Each client's ``samples`` rows; ``of_class`` are the shared rows of each class, or all of them as one.

    ``alpha`` is None where all clients draw alike. Else a client's shares of the classes are drawn from
    Dirichlet(alpha C p), p being the shares of the C classes among the shared samples, as in Hsu, Qi and Brown (2019),
    "Measuring the effects of non-identical data distribution for federated visual classification".
    """

    of_class: tuple[IntArray, ...]
    samples: int
    alpha: float | None
    seed: int

    def rows(self, client: int) -> IntArray:
        """Rows (samples,) of ``client``."""
        generator = stream(self.seed, "client samples", client)
        sizes = np.array([len(rows) for rows in self.of_class])
        shares = sizes / sizes.sum()
        if self.alpha is not None:
            shares = generator.dirichlet(self.alpha * len(sizes) * shares)
        counts = generator.multinomial(self.samples, shares)
        place = (generator.random(self.samples) * np.repeat(sizes, counts)).astype(np.int64)
        starts = np.cumsum(sizes) - sizes
        found: IntArray = np.concatenate(self.of_class)[np.repeat(starts, counts) + place]
        return found


def clients_of(shared: Samples, partition: str, alpha: float, samples: int, seed: int) -> Clients:
    """Clients that draw from ``shared``: alike with ``"iid"``, with ``"dirichlet"`` each with its own shares.

    Classes are tenths of the targets for a regression. Raises ValueError for any other partition.
    """
    if partition not in ("iid", "dirichlet"):
        raise ValueError(f"partition = {partition!r}: a population's clients hold no sources of their own")
    if partition == "iid":
        return Clients((np.arange(len(shared)),), samples, None, seed)
    names = classes(shared)
    return Clients(tuple(np.flatnonzero(names == name) for name in np.unique(names)), samples, alpha, seed)
