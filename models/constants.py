"""The constants of the convergence bound, measured by calibration runs on the actual data and model.

What they are and how runs are summed up: `prefine.models.estimates`.
"""

from collections.abc import Callable, Sequence

import numpy as np

from prefine.emulator import cache
from prefine.emulator.randomness import stream
from prefine.emulator.scenario.training import TrainingSettings
from prefine.emulator.watch import stage
from prefine.models.calibration import (
    DivergedError,
    Trajectory,
    initial_curvature,
    largest_curvature,
    measure,
    training_of,
)
from prefine.models.estimates import Estimate, dump, load, summarise
from prefine.models.federation import Federation
from prefine.models.objective import Objective, one_thread
from prefine.models.pilot import Pilot
from prefine.models.task_gap import task_losses
from prefine.models.tuning import Tuning

VERSION = 5
"""Counts changes of method or of the cached file, so that older results are not taken for new ones."""

STEP_TOLERANCE = 0.05
"""The search for the step size ends when a pass changes it by less than this, relative."""

SHORTENINGS = 10
SHORTER = 0.25
"""A step size at which a run diverges is multiplied by this, so often at most."""


def estimate(
    federation: Federation,
    objective: Callable[[int], Objective],
    tuning: Tuning,
    training: TrainingSettings,
    pilot: Pilot,
    content: bytes,
) -> Estimate:
    """Measure, or read what was measured before under the same ``content`` (data, partition, model, what
    is tuned, weight decay).

    ``objective`` gives the network with the initial weights of a seed, ``tuning`` what of it is fine-tuned,
    ``training`` the recipe, ``pilot`` how closely to look.
    Raises ValueError where training diverges at every step size that is tried.
    """

    def compute() -> Estimate:
        passes = pilot.passes(len(federation.general), len(federation.task))
        with one_thread(), stage("measuring the constants", passes):
            return _estimate(federation, objective, tuning, training, pilot)

    recipe = f"{training.learning_rate} {training.momentum} {training.decay}"
    name = f"constants-{cache.digest(content, f'{VERSION} {pilot} {recipe}'.encode())}.json"
    return cache.remember(name, compute, dump, load)


def _estimate(
    federation: Federation,
    objective: Callable[[int], Objective],
    tuning: Tuning,
    training: TrainingSettings,
    pilot: Pilot,
) -> Estimate:
    seeds = [int(stream(run, "pilot").integers(2**62)) for run in range(pilot.runs)]
    rate, searches = _search_rate(federation, objective, tuning, pilot, seeds[0])
    runs, attempts = _trajectories(federation, objective, tuning, pilot, rate, seeds)
    largest = max(float(run.smoothness.max()) for run in runs)
    losses = [task_losses(federation, objective(seed), training, pilot, largest, seed) for seed in seeds]
    return summarise(
        runs,
        pilot.losses_at,
        np.array(losses),
        training_of(pilot, searches, attempts * pilot.runs, len(federation.parts)),
    )


def _trajectories(
    federation: Federation,
    objective: Callable[[int], Objective],
    tuning: Tuning,
    pilot: Pilot,
    rate: float,
    seeds: Sequence[int],
) -> tuple[list[Trajectory], int]:
    """A calibration run for each seed, and how often all were begun: anew with shorter steps where one diverges."""
    for attempt in range(1, SHORTENINGS + 1):
        try:
            return [measure(federation, objective(seed), tuning, pilot, rate, seed) for seed in seeds], attempt
        except DivergedError:
            rate *= SHORTER
    raise ValueError(f"the constants cannot be measured: training diverges even at step size {rate:g}")


def _search_rate(
    federation: Federation, objective: Callable[[int], Objective], tuning: Tuning, pilot: Pilot, seed: int
) -> tuple[float, int]:
    """1/L along a trajectory that itself runs at 1/L: a fixed point, approached from a quarter of 1/L at w_0.

    With it, the number of runs that it took.
    """
    rate = 0.25 / initial_curvature(federation, objective(seed), seed)
    searches = shortenings = passes = 0
    while searches < pilot.searches and shortenings < SHORTENINGS:
        passes += 1
        try:
            found = 1.0 / largest_curvature(federation, objective(seed), tuning, pilot, rate, seed)
        except DivergedError:
            rate, shortenings = SHORTER * rate, shortenings + 1
            continue
        settled = abs(found / rate - 1.0) < STEP_TOLERANCE
        rate, searches = found, pilot.searches if settled else searches + 1
    return rate, passes
