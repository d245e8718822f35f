"""Small worlds to run the clock in: a problem, a learner that learns nothing, channels given by hand."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prefine.emulator.bound import predict
from prefine.emulator.channel.base import Channel, StaticChannel, Steps
from prefine.emulator.simulation.control import FollowPlan
from prefine.emulator.simulation.downlink import FixedDownlink
from prefine.emulator.simulation.radio import Fdma
from prefine.emulator.simulation.spec import RunSpec
from prefine.emulator.types import (
    Budget,
    Devices,
    DevicesPlan,
    Evaluation,
    FloatArray,
    Learning,
    Plan,
    Problem,
    Radio,
    Server,
    ServerPlan,
    frozen_array,
)


@dataclass
class CountingLearner:
    """Remembers what it was asked for."""

    pretrained: list[int] = field(default_factory=list)
    finetuned: list[tuple[tuple[int, ...], tuple[float, ...]]] = field(default_factory=list)
    handed: dict[int, int] = field(default_factory=dict)
    """How many updates the model had seen that each device was last handed."""
    buffer: list[tuple[int, int, int]] = field(default_factory=list)
    """Device, batch and the updates its model had seen, of each arrival."""
    merged: list[tuple[list[tuple[int, int, int]], tuple[float, ...], str]] = field(default_factory=list)

    def pretrain(self, batch: int) -> None:
        self.pretrained.append(batch)

    def finetune(self, batches: NDArray[np.int64], weights: FloatArray) -> None:
        self.finetuned.append((tuple(int(b) for b in batches), tuple(float(w) for w in weights)))

    def hand_out(self, devices: NDArray[np.int64]) -> None:
        self.handed |= dict.fromkeys(devices.tolist(), len(self.merged))

    def receive(self, device: int, batch: int) -> None:
        self.buffer.append((device, batch, self.handed.pop(device)))

    def merge(self, weights: FloatArray, by: str) -> None:
        self.merged.append((self.buffer, tuple(float(w) for w in weights), by))
        self.buffer = []

    def evaluate(self) -> Evaluation:
        steps = len(self.pretrained) + len(self.finetuned) + len(self.merged)
        return Evaluation(1.0 / (1.0 + steps), 1.0 - 1.0 / (1.0 + steps), 2.0**-steps)


@dataclass(frozen=True)
class StepChannel(Channel):
    """The same step function for every device: gain ``gains[i]`` until ``ends[i]``, the last one for good."""

    ends: tuple[float, ...]
    gains: tuple[float, ...]

    def gain(self, device: int, time_s: float) -> float:
        return self.gains[int(np.searchsorted(self.ends, time_s, side="right"))]

    def steps(self, device: int, start_s: float, count: int) -> Steps:
        first = int(np.searchsorted(self.ends, start_s, side="right"))
        ends = np.array([*self.ends, np.inf])[first : first + count]
        return Steps(ends, np.array(self.gains)[first : first + count])


def problem(devices: int = 3, seed: int = 0, **budget: float) -> Problem:
    """A world of ``devices`` unequal devices."""
    rng = np.random.default_rng(seed)

    def all_(value: float) -> FloatArray:
        return frozen_array(np.full(devices, value))

    return Problem(
        Budget(budget.get("delay_s", 100.0), budget.get("energy_j", 1000.0)),
        Learning(10.0, 0.05, 1.0, 0.05, 0.03, 0.4),
        Server(2e7, 5e-28, 8.0, 1e8, 5e9, 1.0, 512.0),
        Devices(
            cycles_per_sample=frozen_array(rng.uniform(1e7, 4e7, devices)),
            capacitance=all_(1e-28),
            gradient_variance=frozen_array(rng.uniform(4.0, 15.0, devices)),
            weight=all_(1.0 / devices),
            min_frequency_hz=all_(1e7),
            max_frequency_hz=all_(2e9),
            min_batch=all_(1.0),
            max_batch=all_(256.0),
            max_power_w=all_(0.2),
            gain=frozen_array(10.0 ** rng.uniform(-12.0, -9.0, devices)),
            bandwidth_hz=all_(1e6),
        ),
        Radio(3.98e-21, 640_000.0, 0.0, 0.0),
    )


def plan(problem: Problem, pretrain_rounds: int = 2, finetune_rounds: int = 3, **changes: float) -> Plan:
    """Batch 16, half of the top frequency, full power, unless changed."""
    devices = problem.devices
    count = len(devices)
    power_w = frozen_array(devices.max_power_w * changes.get("power_share", 1.0))
    noise_w = problem.radio.noise_psd_w_hz * devices.bandwidth_hz
    rate = devices.bandwidth_hz * np.log2(1.0 + power_w * devices.gain / noise_w)
    return Plan(
        pretrain_rounds,
        finetune_rounds,
        ServerPlan(32.0, 2e9),
        DevicesPlan(
            batch=np.full(count, changes.get("batch", 16.0)),
            frequency_hz=devices.max_frequency_hz / 2.0,
            power_w=power_w,
            upload_s=problem.radio.uplink_bits / rate,
        ),
    )


def run_spec(problem: Problem, plan: Plan, channel: Channel | None = None, **parts: Any) -> RunSpec:
    """Everything else at its simplest."""
    simple = RunSpec(
        problem=problem,
        plan=plan,
        prediction=predict(problem, plan),
        controller=FollowPlan(plan),
        learner=CountingLearner(),
        channel=channel or StaticChannel(problem.devices.gain),
        access=Fdma(problem.devices.bandwidth_hz),
        downlink=FixedDownlink(delay_s=problem.radio.downlink_delay_s, energy_j=problem.radio.downlink_energy_j),
        selection=np.random.default_rng(0),
    )
    return replace(simple, **parts)
