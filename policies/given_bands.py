"""Devices with bands that a plan has decided on: by a given barrier each device's decision is its own."""

from dataclasses import replace

from prefine.emulator.types import FloatArray
from prefine.policies.device_barrier import DeviceStage
from prefine.policies.device_response import Response
from prefine.policies.finetuning_stage import BarrierRound


class GivenBands:
    """The devices with bands that a plan has decided on; else as `prefine.policies.device_barrier.DeviceStage`."""

    def __init__(self, stage: DeviceStage, bands_hz: FloatArray, snr: FloatArray | None) -> None:
        self._stage, self._bands_hz, self._snr = stage, bands_hz, snr

    def at_batches(self, batch: FloatArray) -> "GivenBands":
        """The same devices with ``batch`` (K,) given."""
        return GivenBands(self._stage.at_batches(batch), self._bands_hz, self._snr)

    def finish_by(self, finish_s: float, energy_price: float, snr_state: FloatArray | None = None) -> BarrierRound:
        """What every device does to finish by ``finish_s``; a state of other bands is of no use here."""
        made = self._stage.finish_by(finish_s, energy_price, self._snr)
        return replace(made, plan=replace(made.plan, bandwidth_hz=self._bands_hz))

    def states_at(self, finish_s: float, energy_price: float) -> Response:
        """What they do to finish by ``finish_s``."""
        return self._stage.states_at(finish_s, energy_price, self._stage.priced.ceiling(energy_price))[1]
