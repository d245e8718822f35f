"""Where the devices of a world are and what stands in the way: the same in every run."""

from dataclasses import dataclass, field
from pathlib import Path

from prefine.emulator.channel.mobility import place
from prefine.emulator.channel.trace import Trace
from prefine.emulator.channel.tracefile import read_trace
from prefine.emulator.types import FloatArray


@dataclass(frozen=True)
class Site:
    """K devices around a base station at (0, 0).

    ``location_m`` are distances (K,) from it, or positions (K, 2). ``layout_seed`` draws what belongs to the place:
    directions, routes, line of sight and shadowing. Relative paths start in ``folder``; ``traces`` keeps what was read.
    """

    location_m: FloatArray
    layout_seed: int
    folder: Path = Path()
    traces: dict[str, Trace] = field(default_factory=dict, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.location_m)

    @property
    def position_m(self) -> FloatArray:
        """Positions (K, 2); of devices given by their distance, in random directions."""
        return place(self.location_m, self.layout_seed) if self.location_m.ndim == 1 else self.location_m

    def trace(self, name: str) -> Trace:
        """The trace in the file ``name``, read once. Raises InputError where it is missing or malformed."""
        if name not in self.traces:
            self.traces[name] = read_trace(self.folder / name)
        return self.traces[name]
