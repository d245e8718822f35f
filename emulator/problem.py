"""What a policy may know before a run: budgets, constants of the bound, server, devices, radio."""

from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np

from prefine.emulator.arrays import ArrayFields, FloatArray, IntArray

AccessName = Literal["fdma", "tdma", "ofdma"]
"""Each device its own band; one at a time on the whole band; own bands, and of those who are not sending a share."""


@dataclass(frozen=True)
class Budget:
    """What a whole training run, both stages together, may use."""

    delay_s: float
    energy_j: float


@dataclass(frozen=True)
class Learning:
    """Constants of the convergence bound (docs/theory.md): L, eta, F(w0) - F*, Delta^2; and of its fitted variant.

    The shift summed over N pre-training rounds is D(N) = ``discrepancy`` N - c (1 - exp(-r N)) with c =
    ``discrepancy_relief`` and r = ``discrepancy_rate`` per round (section 3d); c r <= ``discrepancy``, so that D never
    falls. ``pretrain_contraction`` (a) and ``pretrain_floor`` (G_floor) describe how pre-training closes the task gap;
    they are ``None`` where nobody measured them, and then Phi_FT cannot be evaluated. ``pretrain_noise`` (loss times
    samples) is what the noise of the server's batches adds to the gap in the end; ``None``: it adds up without end.
    ``effective_rate`` is how far a round of the recipe moves along a steady gradient, rate / (1 - momentum), which
    Phi_FT reckons with; ``None``: ``learning_rate``, the step of the bound.
    """

    smoothness: float
    learning_rate: float
    initial_gap: float
    discrepancy: float
    pretrain_contraction: float | None = None
    pretrain_floor: float | None = None
    discrepancy_relief: float = 0.0
    discrepancy_rate: float = 0.0
    pretrain_noise: float | None = None
    effective_rate: float | None = None


@dataclass(frozen=True)
class Server:
    """The edge server: cycles per sample, capacitance in J/(cycle Hz^2), gradient variance, and box limits.

    ``noise_curvature`` is the curvature of the task loss that its gradient noise meets (docs/theory.md, section 3d), in
    the unit of ``Learning.smoothness``; ``None`` is ``smoothness``, the largest it can be.
    """

    cycles_per_sample: float
    capacitance: float
    gradient_variance: float
    min_frequency_hz: float
    max_frequency_hz: float
    min_batch: float
    max_batch: float
    noise_curvature: float | None = None


@dataclass(frozen=True)
class Devices(ArrayFields):
    """The K devices; every field has shape (K,). ``weight`` sums to one; ``gain`` is what a planner reckons with.

    ``noise_curvature`` is that of `Server`, for the noise of each device. ``min_power_w`` is the least power that it
    can send with (``None``: any). ``interference_w`` is the power of others' signals in the band it sends in, under
    TDMA the whole band (``None``: nothing): spread evenly over it, so a wider band lets more in.
    """

    cycles_per_sample: FloatArray
    capacitance: FloatArray
    gradient_variance: FloatArray
    weight: FloatArray
    min_frequency_hz: FloatArray
    max_frequency_hz: FloatArray
    min_batch: FloatArray
    max_batch: FloatArray
    max_power_w: FloatArray
    gain: FloatArray
    bandwidth_hz: FloatArray
    noise_curvature: FloatArray | None = None
    min_power_w: FloatArray | None = None
    interference_w: FloatArray | None = None

    @property
    def least_power_w(self) -> FloatArray:
        """``min_power_w``, or zeros, (K,)."""
        return np.zeros(len(self)) if self.min_power_w is None else self.min_power_w

    def __len__(self) -> int:
        return len(self.gain)

    def at(self, index: IntArray) -> "Devices":
        """The devices with the numbers ``index`` (n,), which may repeat; their weights as they are."""
        columns: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        chosen: dict[str, Any] = {name: None if column is None else column[index] for name, column in columns.items()}
        return Devices(**chosen)


@dataclass(frozen=True)
class Radio:
    """Noise power spectral density, payload of one device and round, what one round's downlink costs, and the access.

    ``access`` says who sends when (`prefine.emulator.access`). The whole band is ``total_bandwidth_hz``; ``None`` is
    the sum of the devices' own. With ``bandwidth = "optimise"`` a plan decides what part of it each device has, and
    where it does not say, each has its own.
    """

    noise_psd_w_hz: float
    uplink_bits: float
    downlink_delay_s: float
    downlink_energy_j: float
    access: AccessName = "fdma"
    bandwidth: Literal["given", "optimise"] = "given"
    total_bandwidth_hz: float | None = None


@dataclass(frozen=True)
class Problem:
    """All a policy may know before a run starts."""

    budget: Budget
    learning: Learning
    server: Server
    devices: Devices
    radio: Radio
    name: str = ""

    @property
    def as_trained(self) -> "Problem":
        """The same with the recipe's effective rate as the step, as Phi_FT sees it (docs/theory.md, section 3d)."""
        rate = self.learning.effective_rate
        learning = self.learning if rate is None else replace(self.learning, learning_rate=rate, effective_rate=None)
        return replace(self, learning=learning)
