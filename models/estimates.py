"""The constants of the convergence bound: what each is, its value with its spread, and how runs are summed up.

What each is, which summary over the trajectory is used and why: docs/learning.md.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from prefine.emulator.types import Calibrated, CalibrationWork, Constants, FloatArray
from prefine.models.calibration import Trajectory
from prefine.models.fits import GapFit, fit_gap, fit_shift
from prefine.models.lack_of_fit import Misfit, gap_misfit
from prefine.models.task_gap import batches

DEFINITIONS = {
    "smoothness": "L: largest eigenvalue of the loss's Hessian seen at any point of any calibration run",
    "server_curvature": "L_n0: curvature that the noise of general samples meets, tr(H C) / tr(C)",
    "device_curvature": "L_nk: curvature that the noise of device k's samples meets, tr(H C_k) / tr(C_k)",
    "initial_gap": "F(w0) - F*: task loss at the start above the least one seen",
    "discrepancy": "Delta^2: squared distance of general and task gradient, as long pre-training meets it, fitted",
    "discrepancy_relief": "c: by how much the shift summed over pre-training stays below Delta^2 a round, fitted",
    "discrepancy_rate": "r: rate per round at which the shift rises to Delta^2, fitted",
    "server_variance": "sigma0^2: variance of one general sample's gradient, mean along the calibration runs",
    "device_variance": "sigma_k^2: variance of one sample's gradient on device k, mean along the calibration runs",
    "pretrain_contraction": "a: rate at which pre-training by the recipe closes the task gap, fitted at three batches",
    "pretrain_floor": "G_floor: task gap that pre-training by the recipe cannot close, fitted at three batches",
    "pretrain_noise": "v: task gap that server batches of one sample would add in the end, fitted at three batches",
}
"""Each constant in one line; docs/learning.md has the formulas."""

MOST_UNKNOWN = 0.25
"""Standard error of a, as a part of it, above which the runs were too few or too short to tell how the gap closes."""


@dataclass(frozen=True)
class Measured:
    """One constant: its value, its standard error over the runs, and the extremes.

    ``least`` and ``most`` are the least and most seen at any one point; of a fitted constant, fitted to any one run.
    """

    value: float
    standard_error: float
    least: float
    most: float


@dataclass(frozen=True)
class Estimate:
    """All constants with their spread, as ``prefine calibrate`` shows them.

    ``learning_rate`` is 1 / ``smoothness.value``; ``work`` says what training it took.
    """

    smoothness: Measured
    server_curvature: Measured
    device_curvature: tuple[Measured, ...]
    initial_gap: Measured
    discrepancy: Measured
    discrepancy_relief: Measured
    discrepancy_rate: Measured
    server_variance: Measured
    device_variance: tuple[Measured, ...]
    pretrain_contraction: Measured
    pretrain_floor: Measured
    pretrain_noise: Measured
    misfit: Misfit
    work: CalibrationWork

    @property
    def learning_rate(self) -> float:
        """The largest step size the bound allows: 1/L."""
        return 1.0 / self.smoothness.value

    def calibration(self) -> dict[str, Calibrated]:
        """Value, standard error over the runs, extremes, and definition of each constant, by its name.

        ``pretrain_misfit`` stands with them, and a warning where a fitted constant is not to be relied on.
        """
        measured: dict[str, Measured | tuple[Measured, ...]] = {name: getattr(self, name) for name in DEFINITIONS}
        entries: dict[str, Calibrated] = {
            name: {
                "value": _each(one, "value"),
                "spread": _each(one, "standard_error"),
                "least": _each(one, "least"),
                "most": _each(one, "most"),
                "definition": DEFINITIONS[name],
            }
            for name, one in measured.items()
        }
        if self.pretrain_contraction.standard_error > MOST_UNKNOWN * self.pretrain_contraction.value:
            entries["pretrain_contraction"]["warning"] = _UNKNOWN.format(self.pretrain_contraction)
        return entries | {"pretrain_misfit": _misfit_entry(self.misfit)}

    def constants(self) -> Constants:
        """The values alone."""
        parts: dict[str, Any] = {name: _each(getattr(self, name), "value") for name in DEFINITIONS}
        values: dict[str, Any] = {name: tuple(one) if isinstance(one, list) else one for name, one in parts.items()}
        return Constants(learning_rate=self.learning_rate, work=self.work, **values)


_UNKNOWN = (
    "how fast pre-training closes the task gap is not known: pretrain_contraction = {0.value:.3g} +- "
    "{0.standard_error:.2g}; joint-ft rests on it, joint does not"
)


def _misfit_entry(misfit: Misfit) -> Calibrated:
    entry: Calibrated = {
        "value": misfit.ratio,
        "spread": 0.0,
        "definition": f"squared distance of the fitted task gap from the runs: 1 if right, {misfit.most:.3g} by chance",
    }
    if misfit.is_significant:
        entry["warning"] = (
            f"the fitted task gap misses the runs: pretrain_misfit = {misfit.ratio:.3g}, and chance allows "
            f"{misfit.most:.3g}; joint-ft rests on it, joint does not"
        )
    return entry


def _each(measured: Measured | tuple[Measured, ...], part: str) -> Any:
    """One part of a constant; of one that each device has, a list of them."""
    return [getattr(one, part) for one in measured] if isinstance(measured, tuple) else getattr(measured, part)


def summarise(runs: list[Trajectory], at: FloatArray, task_loss: FloatArray, work: CalibrationWork) -> Estimate:
    """The largest curvature of all; means over points and runs; fits to the mean curve of the runs.

    ``task_loss`` (runs, 3, m) is F over pre-training by the recipe at the rounds ``at`` (m,), as `task_losses` gives
    it. The lowest loss of any run stands for F* in all of them.
    """
    lowest = min(run.lowest_loss for run in runs)
    shifts = np.array([run.shift for run in runs])
    gaps = task_loss - lowest
    slope, relief, rate = _fitted(lambda some: fit_shift(runs[0].shift_rounds, some.mean(axis=0), at[-1]), shifts)
    curve = _fitted(lambda some: fit_gap(at, batches(), some.mean(axis=0)), gaps)
    contraction, floor, noise = curve
    misfit = gap_misfit(GapFit(*(one.value for one in curve)), at, batches(), gaps)
    smoothness = np.array([run.smoothness for run in runs])
    server = np.array([(run.server_curved, run.server_variance) for run in runs])
    device = np.array([(run.device_curved, run.device_variance) for run in runs])
    most = float(smoothness.max())
    return Estimate(
        smoothness=Measured(most, _error(smoothness.max(axis=1)), float(smoothness.min()), most),
        server_curvature=_curvature(server, most),
        device_curvature=tuple(_curvature(device[..., k], most) for k in range(device.shape[-1])),
        initial_gap=_mean(gaps[:, 0, :1]),
        discrepancy=replace(slope, least=float(shifts.min()), most=float(shifts.max())),
        discrepancy_relief=relief,
        discrepancy_rate=rate,
        server_variance=_mean(server[:, 1]),
        device_variance=tuple(_mean(device[:, 1, :, k]) for k in range(device.shape[-1])),
        pretrain_contraction=contraction,
        pretrain_floor=floor,
        pretrain_noise=noise,
        misfit=misfit,
        work=work,
    )


def _mean(seen: FloatArray) -> Measured:
    """Of ``seen`` (runs, points): the mean, its standard error from the runs' own means, and the extremes."""
    return Measured(float(seen.mean()), _error(seen.mean(axis=1)), float(seen.min()), float(seen.max()))


def _error(of_runs: FloatArray) -> float:
    """Standard error of the mean of ``of_runs`` (runs,); 0 of a lone run."""
    return float(of_runs.std(ddof=1) / np.sqrt(len(of_runs))) if len(of_runs) > 1 else 0.0


def _curvature(seen: FloatArray, smoothness: float) -> Measured:
    """Of ``seen`` (runs, 2, points), tr(H C) and tr(C): the ratio of their sums, in [0, L]; L where there is no noise.

    So its product with the mean of tr(C) is the mean of tr(H C), which is what the bound adds up.
    """

    def ratio(curved: FloatArray, variance: FloatArray) -> FloatArray:
        known = np.where(variance > 0.0, curved / np.where(variance > 0.0, variance, 1.0), smoothness)
        clipped: FloatArray = np.clip(known, 0.0, smoothness)
        return clipped

    (measured,) = _fitted(lambda runs: [float(ratio(*runs.sum(axis=(0, 2))))], seen)
    points = ratio(seen[:, 0], seen[:, 1])
    return replace(measured, least=float(points.min()), most=float(points.max()))


def _fitted(fit: Callable[[FloatArray], Sequence[float]], runs: FloatArray) -> list[Measured]:
    """What ``fit`` makes of all ``runs`` (runs, ...), its jackknife standard error, and its extremes over single runs.

    Leaving out one run at a time says how far the fit depends on which runs there were (Tukey, 1958).
    """
    count, value = len(runs), fit(runs)
    alone = np.array([fit(runs[run : run + 1]) for run in range(count)])
    if count == 1:
        return [Measured(float(one), 0.0, float(one), float(one)) for one in value]
    without = np.array([fit(np.delete(runs, run, axis=0)) for run in range(count)])
    errors = np.sqrt((count - 1) * without.var(axis=0))
    return [
        Measured(float(one), float(error), float(least), float(most))
        for one, error, least, most in zip(value, errors, alone.min(axis=0), alone.max(axis=0), strict=True)
    ]


def dump(measured: Estimate) -> bytes:
    """``measured`` as JSON, for the cache."""
    return json.dumps(asdict(measured), indent=1).encode()


def load(content: bytes) -> Estimate:
    """Raises ValueError where the file is not what `dump` wrote."""
    try:
        fields = json.loads(content)
        work = CalibrationWork(*(_frozen(part) for part in fields.pop("work")))
        misfit = Misfit(*fields.pop("misfit"))
        measured: dict[str, Any] = {name: _measured(one) for name, one in fields.items()}
        return Estimate(work=work, misfit=misfit, **measured)
    except (KeyError, TypeError, AttributeError, RecursionError) as damage:
        raise ValueError("damaged cache") from damage


def _frozen(part: Any) -> Any:
    return tuple(tuple(pair) for pair in part) if isinstance(part, list) else int(part)


def _measured(written: Any) -> Measured | tuple[Measured, ...]:
    return tuple(Measured(**one) for one in written) if isinstance(written, list) else Measured(**written)
