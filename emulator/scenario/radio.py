"""The ``[radio]`` section: bands, noise, access, power control, payload and downlink."""

from typing import Literal, Self

from pydantic import model_validator

from prefine.emulator.scenario.base import Finite, NonNegative, Positive, Section
from prefine.emulator.scenario.spread import Spread
from prefine.emulator.units import THERMAL_NOISE_DBM_HZ


class DownlinkSettings(Section):
    """How the model reaches the devices.

    ``free``; ``fixed`` (``delay_s`` and ``energy_j`` a round); ``broadcast`` at the weakest device's rate; or
    ``unicast``, one copy after the other. The last two send the network's parameters (or ``payload_bits``) at
    ``power_w`` over ``bandwidth_hz``.
    """

    mode: Literal["free", "fixed", "broadcast", "unicast"] = "free"
    delay_s: NonNegative = 0.0
    energy_j: NonNegative = 0.0
    power_w: Positive = 1.0
    bandwidth_hz: Positive = 1e6
    payload_bits: Positive | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.mode != "fixed" and (self.delay_s or self.energy_j):
            raise ValueError(f'delay_s and energy_j belong to mode = "fixed", mode is "{self.mode}"')
        return self


class RadioSettings(Section):
    """The uplink.

    Bands are given per device (``bandwidth_hz``), or as ``total_bandwidth_hz`` split equally or by ``shares``.
    ``access`` decides who may use whose band when: ``fdma`` (each its own), ``tdma`` (the whole band in turn, in slots
    of ``slot_s`` or, without, each to its end), ``ofdma`` (the band of those who have finished is re-shared).
    """

    bandwidth_hz: Spread | None = None
    total_bandwidth_hz: Positive | None = None
    shares: tuple[Positive, ...] | None = None
    access: Literal["fdma", "tdma", "ofdma"] = "fdma"
    slot_s: Positive | None = None
    noise_dbm_hz: Finite = THERMAL_NOISE_DBM_HZ
    noise_figure_db: NonNegative = 0.0
    payload_bits: Positive | None = None
    power_control: Literal["fixed", "target"] = "fixed"
    downlink: DownlinkSettings = DownlinkSettings()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.bandwidth_hz is not None and self.total_bandwidth_hz is not None:
            raise ValueError("bandwidth_hz (per device) and total_bandwidth_hz exclude each other")
        if self.shares is not None and self.total_bandwidth_hz is None:
            raise ValueError("shares needs total_bandwidth_hz")
        if self.shares is not None and abs(sum(self.shares) - 1.0) > 1e-9:
            raise ValueError(f"shares sum to {sum(self.shares):g}, must sum to 1")
        if self.slot_s is not None and self.access != "tdma":
            raise ValueError(f'slot_s belongs to access = "tdma", access is "{self.access}"')
        return self
