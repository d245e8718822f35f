"""The ``[radio]`` section: bands, noise, access, power control, payload and downlink."""

import math
from collections.abc import Callable
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from prefine.emulator.channel.interference import Interference, traced
from prefine.emulator.channel.trace import Trace
from prefine.emulator.section import Decibel, DecibelSpread, Positive, Section, Spread, draw
from prefine.emulator.simulation.downlink import Downlink, FreeDownlink
from prefine.emulator.simulation.radio import Access, Fdma, FixedPower, Ofdma, PowerControl, TargetPower, Tdma
from prefine.emulator.types import FloatArray, Radio, WorkloadCost, frozen_array
from prefine.emulator.units import THERMAL_NOISE_DBM_HZ, dbm_to_watt, from_db

DEFAULT_BAND_HZ = 1e6


class RadioSettings(Section):
    """The uplink.

    Bands are given per device (``bandwidth_hz``), or as ``total_bandwidth_hz`` split equally or by ``shares``.
    ``access`` decides who may use whose band when: ``fdma`` (each its own), ``tdma`` (the whole band in turn, in slots
    of ``slot_s`` or, without, each to its end), ``ofdma`` (the band of those who have finished is re-shared).
    ``interference_dbm`` is what others' signals are at the receiver, in the band that each device sends in: a number, a
    list, a range drawn from in dB, or a file of it over time. ``bandwidth = "optimise"`` leaves the shares of
    ``total_bandwidth_hz`` to the policy: a device keeps for the whole round what it was given; a policy that decides
    nothing gives equal shares.
    """

    bandwidth_hz: Spread | None = None
    total_bandwidth_hz: Positive | None = None
    shares: tuple[Positive, ...] | None = None
    bandwidth: Literal["given", "optimise"] = "given"
    access: Literal["fdma", "tdma", "ofdma"] = "fdma"
    slot_s: Positive | None = None
    noise_dbm_hz: Decibel = THERMAL_NOISE_DBM_HZ
    noise_figure_db: Annotated[float, Field(ge=0.0, le=400.0)] = 0.0
    interference_dbm: DecibelSpread | str | None = None
    payload_bits: Positive | None = None
    power_control: Literal["fixed", "target"] = "fixed"
    downlink: Downlink = FreeDownlink()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.bandwidth_hz is not None and self.total_bandwidth_hz is not None:
            raise ValueError("bandwidth_hz (per device) and total_bandwidth_hz exclude each other")
        if self.shares is not None and self.total_bandwidth_hz is None:
            raise ValueError("shares needs total_bandwidth_hz")
        if self.shares is not None and abs(sum(self.shares) - 1.0) > 1e-9:
            raise ValueError(f"shares sum to {sum(self.shares):g}, must sum to 1")
        if self.bandwidth == "optimise" and (self.total_bandwidth_hz is None or self.shares is not None):
            raise ValueError('bandwidth = "optimise" needs total_bandwidth_hz, and no shares')
        if self.bandwidth == "optimise" and self.access == "tdma":
            raise ValueError('bandwidth = "optimise" needs access = "fdma" or "ofdma": with "tdma" each has all of it')
        if self.slot_s is not None and self.access != "tdma":
            raise ValueError(f'slot_s belongs to access = "tdma", access is "{self.access}"')
        return self

    @property
    def noise_psd_w_hz(self) -> float:
        """Noise power spectral density N0 at the receiver in W/Hz, its noise figure included."""
        return dbm_to_watt(self.noise_dbm_hz) * from_db(self.noise_figure_db)

    def bands_hz(self, devices: int, seed: int) -> FloatArray:
        """Each device's own uplink band, (K,); ``seed`` draws a range. Raises InputError where a list is too short."""
        if self.total_bandwidth_hz is None:
            return frozen_array(draw(self.bandwidth_hz or DEFAULT_BAND_HZ, "radio.bandwidth_hz", range(devices), seed))
        shares = draw(self.shares or 1.0 / devices, "radio.shares", range(devices), seed)
        return frozen_array(self.total_bandwidth_hz * shares)

    @property
    def interference_file(self) -> str | None:
        """The file that says how the interference varies, if there is one."""
        return self.interference_dbm if isinstance(self.interference_dbm, str) else None

    def interference(self, devices: int, seed: int, trace: Callable[[str], Trace]) -> Interference | None:
        """What disturbs the uplinks of ``devices``; ``seed`` draws a range, ``trace`` reads a file. None: nothing."""
        if self.interference_dbm is None:
            return None
        if isinstance(self.interference_dbm, str):
            return traced(trace(self.interference_dbm), devices)
        drawn_dbm = draw(self.interference_dbm, "radio.interference_dbm", range(devices), seed)
        return Interference(frozen_array([dbm_to_watt(value) for value in drawn_dbm.tolist()]))

    def counted_on_hz(self, own_hz: FloatArray) -> FloatArray:
        """The band (K,) that each of the devices with the bands ``own_hz`` (K,) can count on while it sends."""
        return np.full(len(own_hz), own_hz.sum()) if self.access == "tdma" else own_hz

    def build(self, cost: WorkloadCost, own_hz: FloatArray, downlink_s: float, downlink_j: float) -> Radio:
        """The radio as policies see it, of devices with the bands ``own_hz`` (K,)."""
        uplink = self.noise_psd_w_hz, self.uplink_bits(cost), downlink_s, downlink_j
        if self.access == "fdma" and self.bandwidth == "given":
            return Radio(*uplink)
        return Radio(*uplink, self.access, self.bandwidth, float(own_hz.sum()))

    def uplink_bits(self, cost: WorkloadCost) -> float:
        """What one device uploads in a round."""
        return self.payload_bits or cost.uplink_bits

    def downlink_of(self, cost: WorkloadCost) -> Downlink:
        """The downlink with what every device downloads in a round: the model, at full precision."""
        return self.downlink.carrying(self.payload_bits or cost.model_bits)

    def access_to(self, own_hz: FloatArray) -> Access:
        """The access to the band that devices with the bands ``own_hz`` (K,) have together.

        Bands that are decided are kept for a round, whoever else sends.
        """
        if self.bandwidth == "optimise":
            return Fdma(own_hz)
        accesses: dict[str, Access] = {
            "fdma": Fdma(own_hz),
            "tdma": Tdma(own_hz, self.slot_s or math.inf),
            "ofdma": Ofdma(own_hz),
        }
        return accesses[self.access]

    def power(self) -> PowerControl:
        """The power control that ``power_control`` names."""
        controls: dict[str, PowerControl] = {"fixed": FixedPower(), "target": TargetPower()}
        return controls[self.power_control]
