"""The constants of the convergence bound, measured by calibration runs on the actual data and model.

What each is, which summary over the trajectory is used and why: docs/learning.md.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import numpy as np

from prefine.emulator import cache
from prefine.emulator.randomness import stream
from prefine.emulator.types import Calibrated, Constants, FloatArray
from prefine.models.calibration import (
    ROUNDS,
    DivergedError,
    Trajectory,
    fit_contraction,
    initial_curvature,
    largest_curvature,
    measure,
)
from prefine.models.federation import Federation
from prefine.models.objective import Objective, one_thread

VERSION = 2
"""Counts changes of method or of the cached file, so that older results are not taken for new ones."""

RUNS = 4
"""The standard error of a constant is that of the mean over so many calibration runs."""

STEP_SEARCHES = 3
STEP_TOLERANCE = 0.05
"""The search for the step size ends after so many passes, or when a pass changes it by less than this, relative."""

SHORTENINGS = 10
SHORTER = 0.25
"""A step size at which a run diverges is multiplied by this, so often at most."""


DEFINITIONS = {
    "smoothness": "L: largest eigenvalue of the task loss's Hessian along the calibration runs",
    "initial_gap": "F(w0) - F*: task loss at the start above the least one seen",
    "discrepancy": "Delta^2: squared distance of general and task gradient, mean along the calibration runs",
    "server_variance": "sigma0^2: variance of one general sample's gradient, mean along the calibration runs",
    "device_variance": "sigma_k^2: variance of one sample's gradient on device k, mean along the calibration runs",
    "pretrain_contraction": "a: rate at which pre-training closes the task gap, fitted",
    "pretrain_floor": "G_floor: task gap that pre-training cannot close, fitted",
}
"""Each constant in one line; docs/learning.md has the formulas."""


@dataclass(frozen=True)
class Measured:
    """One constant: its value, its standard error over the runs, and the least and most seen at any one point."""

    value: float
    standard_error: float
    least: float
    most: float


@dataclass(frozen=True)
class Estimate:
    """All constants with their spread, as ``prefine calibrate`` shows them.

    ``learning_rate`` is 1 / ``smoothness.value``; ``runs`` and ``rounds`` (of each stage) say how long it was measured.
    """

    smoothness: Measured
    initial_gap: Measured
    discrepancy: Measured
    server_variance: Measured
    device_variance: tuple[Measured, ...]
    pretrain_contraction: Measured
    pretrain_floor: Measured
    runs: int
    rounds: int

    @property
    def learning_rate(self) -> float:
        """The largest step size the bound allows: 1/L."""
        return 1.0 / self.smoothness.value

    def calibration(self) -> dict[str, Calibrated]:
        """Value, standard error over the runs, and definition of each constant, by its name."""
        measured: dict[str, Measured | tuple[Measured, ...]] = {name: getattr(self, name) for name in DEFINITIONS}
        return {
            name: {
                "value": [m.value for m in one] if isinstance(one, tuple) else one.value,
                "spread": [m.standard_error for m in one] if isinstance(one, tuple) else one.standard_error,
                "definition": DEFINITIONS[name],
            }
            for name, one in measured.items()
        }

    def constants(self) -> Constants:
        """The values alone."""
        return Constants(
            smoothness=self.smoothness.value,
            learning_rate=self.learning_rate,
            initial_gap=self.initial_gap.value,
            discrepancy=self.discrepancy.value,
            server_variance=self.server_variance.value,
            device_variance=tuple(one.value for one in self.device_variance),
            pretrain_contraction=self.pretrain_contraction.value,
            pretrain_floor=self.pretrain_floor.value,
        )


def estimate(federation: Federation, objective: Callable[[int], Objective], content: bytes) -> Estimate:
    """Measure, or read what was measured before under the same ``content`` (data, partition, model, weight decay).

    ``objective`` gives the network with the initial weights of a seed.
    Raises ValueError where training diverges at every step size that is tried.
    """

    def compute() -> Estimate:
        with one_thread():
            return _estimate(federation, objective)

    name = f"constants-{cache.digest(content, f'{VERSION} {RUNS} {ROUNDS}'.encode())}.json"
    return cache.remember(name, compute, _dump, _load)


def _estimate(federation: Federation, objective: Callable[[int], Objective]) -> Estimate:
    seeds = [int(stream(run, "pilot").integers(2**62)) for run in range(RUNS)]
    rate = _search_rate(federation, objective, seeds[0])
    for _ in range(SHORTENINGS):
        try:
            return summarise([measure(federation, objective(seed), rate, seed) for seed in seeds])
        except DivergedError:
            rate *= SHORTER
    raise ValueError(f"the constants cannot be measured: training diverges even at step size {rate:g}")


def _search_rate(federation: Federation, objective: Callable[[int], Objective], seed: int) -> float:
    """1/L along a trajectory that itself runs at 1/L: a fixed point, approached from a quarter of 1/L at w_0."""
    rate = 0.25 / initial_curvature(federation, objective(seed), seed)
    searches = shortenings = 0
    while searches < STEP_SEARCHES and shortenings < SHORTENINGS:
        try:
            found = 1.0 / largest_curvature(federation, objective(seed), rate, seed)
        except DivergedError:
            rate, shortenings = SHORTER * rate, shortenings + 1
            continue
        settled = abs(found / rate - 1.0) < STEP_TOLERANCE
        rate, searches = found, STEP_SEARCHES if settled else searches + 1
    return rate


def summarise(runs: list[Trajectory]) -> Estimate:
    """Each run's largest curvature; of everything else its mean over the points; then the mean over runs.

    The lowest loss of any run stands for F* in all of them.
    """
    lowest = min(run.lowest_loss for run in runs)
    fits = np.array([fit_contraction(run.task_loss, lowest) for run in runs])
    gaps = np.array([run.task_loss[0] - lowest for run in runs])
    smoothness = np.array([run.smoothness for run in runs])
    device = np.array([run.device_variance for run in runs])
    largest = _mean(smoothness.max(axis=1)[:, None])
    return Estimate(
        smoothness=replace(largest, least=float(smoothness.min())),
        initial_gap=_mean(gaps[:, None]),
        discrepancy=_mean(np.array([run.discrepancy for run in runs])),
        server_variance=_mean(np.array([run.server_variance for run in runs])),
        device_variance=tuple(_mean(device[:, :, k]) for k in range(device.shape[2])),
        pretrain_contraction=_mean(fits[:, :1]),
        pretrain_floor=_mean(fits[:, 1:]),
        runs=len(runs),
        rounds=ROUNDS,
    )


def _mean(seen: FloatArray) -> Measured:
    """Of ``seen`` (runs, points): the mean, its standard error from the runs' own means, and the extremes."""
    means = seen.mean(axis=1)
    error = float(means.std(ddof=1) / np.sqrt(len(means))) if len(means) > 1 else 0.0
    return Measured(float(means.mean()), error, float(seen.min()), float(seen.max()))


def _dump(measured: Estimate) -> bytes:
    return json.dumps(asdict(measured), indent=1).encode()


def _load(content: bytes) -> Estimate:
    """Raises ValueError where the file is not what `_dump` wrote."""
    try:
        fields = json.loads(content)
        runs, rounds = int(fields.pop("runs")), int(fields.pop("rounds"))
        device = tuple(Measured(**one) for one in fields.pop("device_variance"))
        others = {name: Measured(**one) for name, one in fields.items()}
        return Estimate(**others, device_variance=device, runs=runs, rounds=rounds)
    except (KeyError, TypeError, AttributeError) as damage:
        raise ValueError("damaged cache") from damage
