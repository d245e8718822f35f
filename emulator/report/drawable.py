"""Tables that can draw themselves; nothing is loaded for that before they do."""

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from prefine.emulator.analysis.output import Tables

if TYPE_CHECKING:
    from prefine.emulator.report.plots import Plots


@dataclass(frozen=True, repr=False)
class DrawableTables(Tables):
    """`Tables` with the report's plots: ``tables.plot.accuracy_over_time()``."""

    @classmethod
    def of(cls, tables: Tables) -> "DrawableTables":
        """The same tables."""
        return cls(**{each.name: getattr(tables, each.name) for each in fields(Tables)})

    @property
    def plot(self) -> "Plots":
        """Draws one plot at a time."""
        from prefine.emulator.report.plots import Plots

        return Plots(self)
