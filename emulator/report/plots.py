"""The report's plots one by one, for a notebook: each draws on a pyplot figure and returns its axes."""

from collections.abc import Iterator
from dataclasses import dataclass

import matplotlib as mpl
from matplotlib.axes import Axes

from prefine.emulator.analysis.output import Tables
from prefine.emulator.errors import InputError
from prefine.emulator.report import bars, course, fairness, predicted, regret, rehearsed, sweeps, tradeoff
from prefine.emulator.report.few import few_policies
from prefine.emulator.report.figure import SETTINGS, Figure

_FAMILIES = (tradeoff, sweeps, course, regret, rehearsed, bars, fairness, predicted)


def figures(tables: Tables) -> Iterator[Figure]:
    """All plots that ``tables`` have, in the order of the report; of many policies, those that `few_policies` names."""
    shown = few_policies(tables)
    for family in _FAMILIES:
        yield from family.figures(shown)


@dataclass(frozen=True)
class Plots:
    """The plots of ``tables``; each method returns the axes of its panels, one per combination of varied values."""

    tables: Tables

    @property
    def names(self) -> list[str]:
        """The names that `draw` knows for these tables: those of the report's files in figures/."""
        return [figure.name for figure in figures(self.tables)]

    def draw(self, name: str) -> tuple[Axes, ...]:
        """The plot called ``name``; raises InputError where these tables have none of that name."""
        drawn = {figure.name: figure for figure in figures(self.tables)}
        if name not in drawn:
            raise InputError(f"plot {name!r}: these tables have {', '.join(drawn) or 'none'}")
        from matplotlib import pyplot  # chooses the display of whoever draws; files need none

        with mpl.rc_context(SETTINGS):
            canvas = pyplot.figure(figsize=drawn[name].shape.size_in("page"), layout="constrained")
            drawn[name].draw(canvas, drawn[name].data)
        return tuple(canvas.axes)

    def trade_off(self) -> tuple[Axes, ...]:
        """Test accuracy against energy and against time, with the Pareto front."""
        return self.draw("trade-off")

    def accuracy_over_time(self) -> tuple[Axes, ...]:
        """Test accuracy over virtual time, mean over seeds with its 95 % interval."""
        return self.draw("test-accuracy-over-time-s")

    def accuracy_over_energy(self) -> tuple[Axes, ...]:
        """Test accuracy over the energy spent."""
        return self.draw("test-accuracy-over-energy-j")

    def gradient_over_time(self) -> tuple[Axes, ...]:
        """The squared gradient norm, which the bound is about, over virtual time."""
        return self.draw("grad-norm-sq-over-time-s")

    def gradient_over_energy(self) -> tuple[Axes, ...]:
        """The squared gradient norm over the energy spent."""
        return self.draw("grad-norm-sq-over-energy-j")

    def timeline(self) -> tuple[Axes, ...]:
        """What each device did in the first fine-tuning rounds of each policy."""
        return self.draw("timeline")

    def energy_by_part(self) -> tuple[Axes, ...]:
        """Where the energy went: server, compute on devices, uplink, downlink."""
        return self.draw("energy-by-part")

    def delay_by_part(self) -> tuple[Axes, ...]:
        """Where the time went."""
        return self.draw("delay-by-part")

    def rounds_chosen(self) -> tuple[Axes, ...]:
        """Rounds of both stages, carried out and planned."""
        return self.draw("rounds-chosen")
