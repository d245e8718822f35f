"""How long and how closely calibration runs look, and what that takes: bounded, whatever the model costs.

Work is counted in passes: one sample, forwards and backwards through the model.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from prefine.emulator.randomness import stream
from prefine.emulator.types import FloatArray, IntArray
from prefine.models.federation import Federation, stretches
from prefine.models.objective import Batch, evenly

SERVER_BATCH = 32
"""Samples of a pre-training round."""

DEVICE_SAMPLES = 160
"""Samples of a fine-tuning round, over all devices."""

BATCHES = (32, 8, 128)
"""Server batches at which the task gap is followed; three tell noise, which a larger batch removes, from a floor."""

EARLY_SHIFT = (3, 7, 13, 30)
"""Further rounds at which the shift is measured: designs choose between few rounds of pre-training."""

PROBE_COUNT = 8
"""Random directions at each point: their error averages out over points and runs."""

OPERATIONS = 1.8e12
"""What measuring takes at most unless told, in floating-point operations: two minutes of one core at 15e9 a second."""

PRODUCT, NOISE, LOSS = 3.0, 3.0, 0.4
"""Passes of a sample's part in a Hessian product, in the noise of its gradient, in the loss alone: measured."""

PRODUCTS = 10
"""Hessian products of one search for an eigenvalue: measured."""

LEAST_HELD = 600
"""Samples of a data set that are kept where all of it would take too long."""

HALVINGS = 7


@dataclass(frozen=True)
class Pilot:
    """The calibration runs of one scenario; the defaults are the closest look.

    Each of ``runs`` trains ``rounds`` of each stage and measures everything every ``probe_every`` rounds; curvature and
    noise on at most ``general`` general and ``task`` task samples, the Hessian that noise meets on ``curved``. The
    lowest loss is looked for in ``descents`` steps, the task gap followed every ``loss_every`` rounds. A data set has
    ``held`` samples at most, drawn anew for each run. Before that ``searches`` runs look for the step size.
    """

    runs: int = 4
    searches: int = 3
    rounds: int = 200
    probe_every: int = 20
    general: int = 1000
    task: int = 2**62
    curved: int = 512
    descents: int = 300
    loss_every: int = 5
    held: int = 2**62

    @property
    def losses_at(self) -> FloatArray:
        """The rounds of pre-training at which the task gap is followed, (m,)."""
        return np.arange(0.0, self.rounds + 1.0, self.loss_every)

    def looks_at_shift(self, done: int) -> bool:
        """Whether the shift is measured after ``done`` rounds of pre-training."""
        return done % self.probe_every == 0 or done in EARLY_SHIFT

    def passes(self, general: int, task: int) -> float:
        """What all the runs take, with so many ``general`` and ``task`` samples."""
        general, task = min(general, self.held), min(task, self.held)
        points = -(-self.rounds // self.probe_every)
        training = self.rounds * (SERVER_BATCH + DEVICE_SAMPLES)
        looked = PRODUCT * PRODUCTS * (min(general, self.general) + 2 * min(task, self.task)) + 2 * LOSS * task
        noise = 2 * PRODUCT * PROBE_COUNT * min(task, self.curved) + NOISE * (
            min(general, self.general) + min(task, self.task)
        )
        shift = (points + len(EARLY_SHIFT)) * (general + task)
        gap = len(BATCHES) * len(self.losses_at) * LOSS * task + self.rounds * sum(BATCHES)
        run = training + points * (looked + noise) + shift + self.descents * task + gap
        return self.searches * (training + points * looked) + self.runs * run

    def halved(self, times: int) -> "Pilot":
        """A look about 2^``times`` times as cheap: fewer samples first, then fewer points and runs."""
        share, every = 2**times, 2 ** (times // 2)
        rounds = self.rounds if times < 6 else self.rounds // 2
        return Pilot(
            runs=max(2, self.runs - times // 2),
            searches=max(1, self.searches - times),
            rounds=rounds,
            probe_every=min(rounds // 2, self.probe_every * every),
            general=max(64, self.general // share),
            task=self.task if times == 0 else max(64, 1024 // share),
            curved=max(64, self.curved // share),
            descents=max(20, self.descents // share),
            loss_every=min(rounds // 5, self.loss_every * every),
            held=self.held if times < 4 else max(LEAST_HELD, 2**15 // share),
        )


def pilot_within(effort: float, general: int, task: int) -> Pilot:
    """The closest look that takes at most ``effort`` passes; the least there is where none does."""
    looks = [Pilot().halved(times) for times in range(HALVINGS)]
    return next((look for look in looks if look.passes(general, task) <= effort), looks[-1])


def looked_at(federation: Federation, held: int, seed: int) -> Federation:
    """``federation`` with at most ``held`` general and task samples, drawn by ``seed``; each device keeps its share."""
    if max(len(federation.general), len(federation.task)) <= held:
        return federation
    general = sample(federation.general, held, seed, "general held")
    share = min(1.0, held / len(federation.task))
    kept = [_some(part, share, seed, device) for device, part in enumerate(federation.parts)]
    return Federation(general, evenly(federation.task, np.concatenate(kept)), federation.test, stretches(kept))


def sample(batch: Batch, most: int, seed: int, purpose: str) -> Batch:
    """At most so many samples of ``batch``, drawn without replacement, each with the same share."""
    return evenly(batch, stream(seed, purpose).permutation(len(batch))[:most])


def shares_of(wanted: int, sizes: Sequence[int]) -> list[int]:
    """How many of ``wanted`` samples sets of ``sizes`` give: in proportion, each at least two if it has them."""
    total = sum(sizes)
    return [min(size, max(2, round(wanted * size / total))) for size in sizes]


def _some(part: IntArray, share: float, seed: int, device: int) -> IntArray:
    count = max(1, round(share * len(part)))
    return np.sort(stream(seed, "task held", device).permutation(part)[:count])
