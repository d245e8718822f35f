"""What the server asks of the devices of one fine-tuning round."""

from collections.abc import Iterator
from typing import NamedTuple

from prefine.emulator.types import FloatArray, IntArray


class Task(NamedTuple):
    """One device's part. Whatever it does is over by ``limit_s``."""

    round: int
    device: int
    batch: int
    frequency_hz: float
    power_w: float
    download_end_s: float
    start_compute_s: float
    limit_s: float


class Assignment(NamedTuple):
    """All parts; arrays are (n,), one entry per device that takes part, in the order of ``devices``.

    The model is on its way from ``start_s``; everyone begins to compute at ``start_compute_s``.
    """

    round: int
    devices: IntArray
    batch: IntArray
    frequency_hz: FloatArray
    power_w: FloatArray
    download_end_s: tuple[float, ...]
    start_s: float
    start_compute_s: float
    limit_s: float

    def tasks(self) -> Iterator[Task]:
        """Device by device."""
        columns = (column.tolist() for column in (self.devices, self.batch, self.frequency_hz, self.power_w))
        for device, batch, frequency_hz, power_w, end_s in zip(*columns, self.download_end_s, strict=True):
            yield Task(self.round, device, batch, frequency_hz, power_w, end_s, self.start_compute_s, self.limit_s)
