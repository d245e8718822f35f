"""``[server]``, ``[devices]`` and ``[[device]]``: who takes part, and with what hardware."""

from collections.abc import Sequence
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from prefine.emulator.errors import InputError
from prefine.emulator.scenario.learning import known
from prefine.emulator.section import Count, Positive, Range, Section, Spread, draw
from prefine.emulator.types import Constants, Devices, FloatArray, Server, WorkloadCost, frozen_array


class ServerSettings(Section):
    """The edge server. Cycles per sample default to the network's operations divided by ``flops_per_cycle``."""

    cycles_per_sample: Positive | None = None
    flops_per_cycle: Positive = 4.0
    capacitance: Positive = 1e-29
    min_frequency_hz: Positive = 1e8
    max_frequency_hz: Positive = 2e10
    min_batch: Count = 1
    max_batch: Count = 512

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        for name in ("frequency_hz", "batch"):
            least, most = getattr(self, f"min_{name}"), getattr(self, f"max_{name}")
            if least > most:
                raise ValueError(f"min_{name} = {least:g} is above max_{name} = {most:g}")
        return self

    def build(self, cost: WorkloadCost, constants: Constants) -> Server:
        """The server as policies see it."""
        return Server(
            cycles_per_sample=self.cycles_per_sample or cost.flops_per_sample / self.flops_per_cycle,
            capacitance=self.capacitance,
            gradient_variance=constants.server_variance,
            min_frequency_hz=self.min_frequency_hz,
            max_frequency_hz=self.max_frequency_hz,
            min_batch=float(self.min_batch),
            max_batch=float(self.max_batch),
            noise_curvature=known(constants.server_curvature),
        )


class DeviceSettings(Section):
    """One ``[[device]]``: what differs from ``[devices]``."""

    distance_m: Positive | None = None
    cycles_per_sample: Positive | None = None
    capacitance: Positive | None = None
    min_frequency_hz: Positive | None = None
    max_frequency_hz: Positive | None = None
    min_batch: Count | None = None
    max_batch: Count | None = None
    min_power_w: Positive | None = None
    max_power_w: Positive | None = None


MOST_DEVICES = 1_000_000
BYTES_A_DEVICE = 3600
"""Of memory, in a round that is simulated: measured."""


def _affordable(count: int) -> int:
    if count > MOST_DEVICES:
        needed = BYTES_A_DEVICE * count // 2**30
        raise ValueError(f"must be at most {MOST_DEVICES}; so many would need about {needed:,} GiB of memory")
    return count


class DevicesSettings(Section):
    """Every quantity may be one number, a list with one number a device, or a range ``{low = , high = }``.

    Cycles per sample default to the network's operations divided by ``flops_per_cycle``.
    """

    count: Annotated[int, Field(ge=1), AfterValidator(_affordable)] | None = None
    distance_m: Spread = Range(low=50.0, high=500.0)
    cycles_per_sample: Spread | None = None
    flops_per_cycle: Positive = 4.0
    capacitance: Spread = 1e-28
    min_frequency_hz: Spread = 1e7
    max_frequency_hz: Spread = 2e9
    min_batch: Count = 1
    max_batch: Count = 256
    min_power_w: Spread | None = None
    max_power_w: Spread = 0.2

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_batch > self.max_batch:
            raise ValueError(f"min_batch = {self.min_batch} is above max_batch = {self.max_batch}")
        return self


class Fleet:
    """The devices of ``[devices]`` with what their own ``[[device]]`` tables say.

    ``seed`` draws their spreads, each by its own of the ``numbers`` (K,).
    """

    def __init__(
        self, devices: DevicesSettings, own: tuple[DeviceSettings, ...], numbers: Sequence[int], seed: int
    ) -> None:
        self._devices = devices
        self._own = own
        self._numbers = numbers
        self._seed = seed

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def distance_m(self) -> FloatArray:
        """Distance of each device from the server in metres, (K,)."""
        return self._of_each("distance_m", self._devices.distance_m)

    @property
    def max_power_w(self) -> FloatArray:
        """Transmit power limit of each device in W, (K,)."""
        return self._of_each("max_power_w", self._devices.max_power_w)

    def build(
        self,
        cost: WorkloadCost,
        constants: Constants,
        weights: tuple[float, ...],
        gain: FloatArray,
        bandwidth_hz: FloatArray,
        interference_w: FloatArray | None,
    ) -> Devices:
        """The devices as policies see them; ``gain`` (K,) is the planner's, ``bandwidth_hz`` (K,) each device's band.
        ``interference_w`` (K,) is the mean of what disturbs each.

        A device that takes several local steps a round spends the cycles of all of them on each sample of its batch.
        Raises InputError where a minimum is above its maximum.
        """
        section = self._devices
        cycles = section.cycles_per_sample or cost.device_flops_per_sample / section.flops_per_cycle
        built = Devices(
            cycles_per_sample=self._of_each("cycles_per_sample", cycles) * cost.local_steps,
            capacitance=self._of_each("capacitance", section.capacitance),
            gradient_variance=frozen_array(constants.device_variance),
            weight=frozen_array(weights),
            min_frequency_hz=self._of_each("min_frequency_hz", section.min_frequency_hz),
            max_frequency_hz=self._of_each("max_frequency_hz", section.max_frequency_hz),
            min_batch=self._of_each("min_batch", float(section.min_batch)),
            max_batch=self._of_each("max_batch", float(section.max_batch)),
            max_power_w=self.max_power_w,
            gain=gain,
            bandwidth_hz=bandwidth_hz,
            noise_curvature=frozen_array(constants.device_curvature) if constants.device_curvature else None,
            min_power_w=self._min_power_w(),
            interference_w=interference_w,
        )
        for name in ("frequency_hz", "batch", "power_w"):
            least, most = getattr(built, f"min_{name}"), getattr(built, f"max_{name}")
            if least is None:
                continue
            for device in (least > most).nonzero()[0][:1]:
                raise InputError(
                    f"devices: device {device} has min_{name} = {least[device]:g} above max_{name} = {most[device]:g}"
                )
        return built

    def _min_power_w(self) -> FloatArray | None:
        """Least transmit power of each device in W, (K,); None where no device has one."""
        if self._devices.min_power_w is None and all(table.min_power_w is None for table in self._own):
            return None
        if self._devices.min_power_w is not None:
            return self._of_each("min_power_w", self._devices.min_power_w)
        return frozen_array([table.min_power_w or 0.0 for table in self._own])

    def _of_each(self, name: str, spread: Spread) -> FloatArray:
        values = draw(spread, f"devices.{name}", self._numbers, self._seed)
        for device, table in enumerate(self._own):
            own = getattr(table, name)
            values[device] = values[device] if own is None else own
        return frozen_array(values)
