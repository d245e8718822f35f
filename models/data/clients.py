"""What the clients of a population hold: rows of shared task samples, drawn by the client's number when asked for.

No list of clients is ever made. A client's samples are drawn independently of each other from a law of its own, so two
clients may hold the same sample, and over all clients the mean of the laws is that of the shared samples.
"""

from dataclasses import dataclass

import numpy as np

from prefine.emulator.randomness import stream
from prefine.emulator.types import FloatArray, IntArray
from prefine.models.data.partition import Partition, classes
from prefine.models.data.samples import Samples


@dataclass(frozen=True)
class Clients:
    """Each client's ``samples`` rows out of ``shared``, where the C classes lie one after the other in ``sizes`` (C,).

    ``concentration`` (C,) is that of the Dirichlet law of a client's shares of the classes; empty where all clients
    have the shares of ``sizes``.
    """

    shared: IntArray
    sizes: IntArray
    concentration: FloatArray
    samples: int
    seed: int

    def rows(self, client: int) -> IntArray:
        """Rows (samples,) of ``client``."""
        generator = stream(self.seed, "client samples", client)
        if not len(self.concentration):
            return self.shared[generator.integers(len(self.shared), size=self.samples)]
        counts = generator.multinomial(self.samples, generator.dirichlet(self.concentration))
        sizes, ends = np.repeat(self.sizes, counts), np.repeat(np.cumsum(self.sizes), counts)
        place = (generator.random(self.samples) * sizes).astype(np.int64)
        found: IntArray = self.shared[ends - sizes + place]
        return found


def clients_of(shared: Samples, partition: Partition, alpha: float, samples: int, seed: int) -> Clients:
    """Clients that draw from ``shared``: all alike with ``"iid"``, with ``"dirichlet"`` each with its own shares.

    These are drawn from Dirichlet(alpha C p), p being the shares of the C classes among the shared samples: Hsu, Qi and
    Brown (2019), "Measuring the effects of non-identical data distribution for federated visual classification".
    Classes are tenths of the targets for a regression. Raises ValueError for any other partition.
    """
    if partition == "source":
        raise ValueError("partition = 'source': a population's clients hold no sources of their own")
    names, sizes = np.unique(classes(shared), return_counts=True)
    concentration = np.zeros(0) if partition == "iid" else alpha * len(names) * sizes / sizes.sum()
    return Clients(np.argsort(classes(shared), kind="stable"), sizes, concentration, samples, seed)
