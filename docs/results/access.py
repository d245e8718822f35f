"""Draws the figure of docs/access.md and prints its table: ``python docs/results/access.py`` (a few seconds).

The bundled scenario ``access`` with constants given instead of measured, so that nothing has to be trained.
"""

from pathlib import Path

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

import prefine
from prefine.emulator.report.figure import COLOURS, LINES, MARKERS, SETTINGS
from prefine.emulator.types import Problem, Relaxed
from prefine.policies.dual import relax
from prefine.policies.objectives.settling import fine_tuned
from prefine.policies.subproblems import Stages

CONSTANTS = {
    "learning.smoothness": 5.0,
    "learning.initial_gap": 2.3,
    "learning.discrepancy": 0.4,
    "learning.server_variance": 10.0,
    "learning.device_variance": 8.0,
    "learning.pretrain_contraction": 0.03,
    "learning.pretrain_floor": 0.7,
}
ACCESSES = {
    "TDMA": {"radio.access": "tdma", "radio.bandwidth": "given"},
    "equal shares": {"radio.access": "fdma", "radio.bandwidth": "given"},
    "shares decided": {"radio.access": "fdma", "radio.bandwidth": "optimise"},
}
BANDS_HZ = (5e4, 1e5, 2e5, 4e5, 8e5)
PICTURE = Path(__file__).parent.parent / "pictures" / "access.svg"


def problem(band_hz: float, access: str) -> Problem:
    """What policies see with this band and access."""
    return prefine.validate("access", overrides={**CONSTANTS, **ACCESSES[access], "radio.total_bandwidth_hz": band_hz})


def optimum(band_hz: float, access: str) -> Relaxed:
    """The relaxed optimum of Phi_FT."""
    stages = Stages(problem(band_hz, access).as_trained)
    return relax(stages, fine_tuned(stages.terms))[0]


def table() -> str:
    """Phi_FT and fine-tuning rounds of each optimum, in Markdown."""
    lines = ["| whole band kHz |" + "|".join(f" {name} " for name in ACCESSES) + "|", "|---|" + "---|" * len(ACCESSES)]
    for band_hz in BANDS_HZ:
        cells = [optimum(band_hz, name) for name in ACCESSES]
        shown = " | ".join(f"{each.bound:.3f} ({each.finetune_rounds:.0f} rounds)" for each in cells)
        lines.append(f"| {band_hz / 1e3:.0f} | {shown} |")
    return "\n".join(lines)


def draw(path: Path) -> None:
    """The figure: Phi_FT against that of equal shares, over the whole band, a line for each access."""
    equal = [optimum(band_hz, "equal shares").bound for band_hz in BANDS_HZ]
    kilohertz = [band_hz / 1e3 for band_hz in BANDS_HZ]
    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=(5.0, 3.0), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        for name, colour, marker, line in zip(ACCESSES, COLOURS, MARKERS, LINES, strict=False):
            parts = [optimum(band_hz, name).bound / one for band_hz, one in zip(BANDS_HZ, equal, strict=True)]
            axes.plot(kilohertz, parts, color=colour, marker=marker, linestyle=line, label=name)
        axes.set(xscale="log", xlabel="whole band in kHz", ylabel="Phi_FT / Phi_FT of equal shares")
        axes.set_xticks(kilohertz, [f"{each:g}" for each in kilohertz])
        axes.minorticks_off()
        axes.legend(ncols=3, loc="upper center", bbox_to_anchor=(0.5, 1.15))
        figure.savefig(path, format="svg", metadata={"Date": None})


if __name__ == "__main__":
    draw(PICTURE)
    print(table())
