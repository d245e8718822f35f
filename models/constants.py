"""The constants of the convergence bound, measured by pilots on the actual data and model.

What each is, which summary over the trajectory is used and why: docs/learning.md.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import numpy as np

from prefine.models import cache
from prefine.models.federation import Federation
from prefine.models.objective import Objective, one_thread
from prefine.models.pilot import (
    ROUNDS,
    DivergedError,
    Pilot,
    fit_contraction,
    initial_curvature,
    largest_curvature,
    run,
)
from prefine.models.records import Constants, FloatArray
from prefine.models.sampling import stream

VERSION = 1
"""Counts changes of method, so that older cached results are not taken for new ones."""

PILOTS = 4
STEP_SEARCHES = 3
STEP_TOLERANCE = 0.05

SHORTENINGS = 10
SHORTER = 0.25
"""A rate at which a pilot diverges is shortened by this, so often at most."""


DEFINITIONS = {
    "smoothness": "L: largest eigenvalue of the task loss's Hessian along the pilots",
    "initial_gap": "F(w0) - F*: task loss at the start above the least one seen",
    "discrepancy": "Delta^2: squared distance of general and task gradient, mean along the pilots",
    "server_variance": "sigma0^2: variance of one general sample's gradient, mean along the pilots",
    "device_variance": "sigma_k^2: variance of one sample's gradient on device k, mean along the pilots",
    "pretrain_contraction": "a: rate at which pre-training closes the task gap, fitted",
    "pretrain_floor": "G_floor: task gap that pre-training cannot close, fitted",
}
"""In one line each; docs/learning.md says more."""


@dataclass(frozen=True)
class Measured:
    """One constant: its value, its standard error over the pilots, and the least and most seen at any one point."""

    value: float
    standard_error: float
    least: float
    most: float


@dataclass(frozen=True)
class Estimate:
    """All constants with their spread, as ``prefine calibrate`` shows them.

    ``learning_rate`` is 1 / ``smoothness.value``; ``pilots`` and ``rounds`` (of each stage) say what was run.
    """

    smoothness: Measured
    initial_gap: Measured
    discrepancy: Measured
    server_variance: Measured
    device_variance: tuple[Measured, ...]
    pretrain_contraction: Measured
    pretrain_floor: Measured
    pilots: int
    rounds: int

    @property
    def learning_rate(self) -> float:
        """The largest step size the bound allows: 1/L."""
        return 1.0 / self.smoothness.value

    def calibration(self) -> dict[str, dict[str, object]]:
        """By name: ``value``, ``spread`` (standard error over the pilots; lists for the devices), ``definition``."""
        measured = {name: getattr(self, name) for name in DEFINITIONS}
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

    ``objective`` gives the network with the initial weights of a seed. Raises ValueError where no pilot stays finite.
    """

    def measure() -> Estimate:
        with one_thread():
            return _measure(federation, objective)

    name = f"constants-{cache.digest(content, f'{VERSION} {PILOTS} {ROUNDS}'.encode())}.json"
    return cache.remember(name, measure, _dump, _load)


def _measure(federation: Federation, objective: Callable[[int], Objective]) -> Estimate:
    seeds = [int(stream(pilot, "pilot").integers(2**62)) for pilot in range(PILOTS)]
    rate = _search_rate(federation, objective, seeds[0])
    for _ in range(SHORTENINGS):
        try:
            return summarise([run(federation, objective(seed), rate, seed) for seed in seeds])
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


def summarise(pilots: list[Pilot]) -> Estimate:
    """Each pilot's largest curvature; of everything else its mean over the points; then the mean over pilots.

    The lowest loss of any pilot stands for F* in all of them.
    """
    lowest = min(pilot.lowest_loss for pilot in pilots)
    fits = np.array([fit_contraction(pilot.task_loss, lowest) for pilot in pilots])
    gaps = np.array([pilot.task_loss[0] - lowest for pilot in pilots])
    smoothness = np.array([pilot.smoothness for pilot in pilots])
    device = np.array([pilot.device_variance for pilot in pilots])
    largest = _mean(smoothness.max(axis=1)[:, None])
    return Estimate(
        smoothness=replace(largest, least=float(smoothness.min())),
        initial_gap=_mean(gaps[:, None]),
        discrepancy=_mean(np.array([pilot.discrepancy for pilot in pilots])),
        server_variance=_mean(np.array([pilot.server_variance for pilot in pilots])),
        device_variance=tuple(_mean(device[:, :, k]) for k in range(device.shape[2])),
        pretrain_contraction=_mean(fits[:, :1]),
        pretrain_floor=_mean(fits[:, 1:]),
        pilots=len(pilots),
        rounds=ROUNDS,
    )


def _mean(seen: FloatArray) -> Measured:
    """Of (pilots, points): the mean, its standard error from the pilots' own means, and the extremes."""
    means = seen.mean(axis=1)
    error = float(means.std(ddof=1) / np.sqrt(len(means))) if len(means) > 1 else 0.0
    return Measured(float(means.mean()), error, float(seen.min()), float(seen.max()))


def _dump(measured: Estimate) -> bytes:
    return json.dumps(asdict(measured), indent=1).encode()


def _load(content: bytes) -> Estimate:
    """Raises ValueError where the file is not what `_dump` wrote."""
    try:
        fields = json.loads(content)
        pilots, rounds = int(fields.pop("pilots")), int(fields.pop("rounds"))
        device = tuple(Measured(**one) for one in fields.pop("device_variance"))
        others = {name: Measured(**one) for name, one in fields.items()}
        return Estimate(**others, device_variance=device, pilots=pilots, rounds=rounds)
    except (KeyError, TypeError, AttributeError) as damage:
        raise ValueError("damaged cache") from damage
