"""Measures the constants of docs/learning.md's table anew and prints the table: ``python docs/results/constants.py``.

Takes a minute or two of one core; measured constants are cached.
"""

import math
from statistics import fmean
from typing import Any

import prefine

MILD, STRONG = "task.stretch_columns=20", "task.stretch_columns=32"
FEW, ALL = "task.samples=100", "task.samples=1400"
LOGISTIC = "task.model=logistic"
COLUMNS = {
    "mild, 100 samples, MLP": (MILD, FEW),
    "mild, MLP": (MILD, ALL),
    "strong, 100 samples, MLP": (STRONG, FEW),
    "strong, MLP": (STRONG, ALL),
    "mild, 100 samples, logistic": (MILD, FEW, LOGISTIC),
    "mild, logistic": (MILD, ALL, LOGISTIC),
    "strong, 100 samples, logistic": (STRONG, FEW, LOGISTIC),
    "strong, logistic": (STRONG, ALL, LOGISTIC),
    "mild, Dirichlet(.3), logistic": (MILD, ALL, LOGISTIC, "task.partition=dirichlet", "task.dirichlet_alpha=0.3"),
}
WORLD = {"budget": {"delay_s": 1.0, "energy_j": 1.0}, "devices": {"count": 10}}
HORIZONS = (20, 60, 200)


def rows(measured: dict[str, Any]) -> dict[str, str]:
    """The cells of one column, by the first cell of their row."""
    smoothness = measured["smoothness"]["value"]
    shift = [measured[name]["value"] for name in ("discrepancy", "discrepancy_relief", "discrepancy_rate")]
    return {
        "L": _spread(measured["smoothness"]),
        "L_n0 / L": _spread(measured["server_curvature"], smoothness),
        "L_nk / L, mean": f"{_short(fmean(measured['device_curvature']['value']) / smoothness)}",
        "Delta^2 at its end": _spread(measured["discrepancy"]),
        "c": _spread(measured["discrepancy_relief"]),
        "r": _spread(measured["discrepancy_rate"]),
        **{f"D({n}) / {n}": _short(_mean_shift(n, *shift)) for n in HORIZONS},
        "Delta^2, least to most": " to ".join(_short(measured["discrepancy"][end]) for end in ("least", "most")),
        "sigma_0^2": _spread(measured["server_variance"]),
        "sigma_k^2, mean": _short(fmean(measured["device_variance"]["value"])),
        "initial gap": _spread(measured["initial_gap"]),
        "G_floor": _spread(measured["pretrain_floor"]),
        "a": _spread(measured["pretrain_contraction"]),
        "v": _spread(measured["pretrain_noise"]),
    }


def _mean_shift(rounds: int, slope: float, relief: float, rate: float) -> float:
    return slope - relief * (1.0 - math.exp(-rate * rounds)) / rounds


def _spread(constant: dict[str, Any], unit: float = 1.0) -> str:
    return f"{_short(constant['value'] / unit)} ± {_short(constant['spread'] / unit)}"


def _short(value: float) -> str:
    """Three figures, and no zero before the point."""
    digits = max(0, 3 - max(0, math.floor(math.log10(value)) + 1)) if value else 0
    return f"{value:.{min(digits, 3)}f}".removeprefix("0") or "0"


def main() -> None:
    """Print the table in Markdown."""
    columns = {name: rows(prefine.calibrate(WORLD, overrides=keys)) for name, keys in COLUMNS.items()}
    print(f"| | {' | '.join(columns)} |\n|{'---|' * (len(columns) + 1)}")
    for row in next(iter(columns.values())):
        print(f"| {row} | {' | '.join(column[row] for column in columns.values())} |")


if __name__ == "__main__":
    main()
