"""The engine against bare SimPy: what the physics, the books and the records cost beyond the event loop.

The floor does the same events with nothing inside: per device and round a download, a computation and an upload of
known lengths, and a barrier. Rounds in which nothing goes wrong and no battery ends take the fast path
(`emulator/simulation/fastpath.py`), which can take less than the floor; so do rounds before a device leaves. In the
rows "lived" a round ends with so many arrivals, which happen to be all: so every device's process lives through every
round. Run it as: python -m benchmarks.engine
"""

import argparse
import math
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import simpy
from numpy.typing import NDArray

from prefine.emulator.bound import predict
from prefine.emulator.channel.base import Channel, StaticChannel
from prefine.emulator.channel.mobility import Site
from prefine.emulator.channel.models import Rayleigh
from prefine.emulator.simulation.aggregation import SemiSynchronous
from prefine.emulator.simulation.availability import Switches
from prefine.emulator.simulation.control import FollowPlan
from prefine.emulator.simulation.downlink import FixedDownlink
from prefine.emulator.simulation.faults import Faults
from prefine.emulator.simulation.radio import Fdma
from prefine.emulator.simulation.run import run
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
)

FLOOR = "bare SimPy"


class NoLearner:
    """Learns nothing: the clock alone is measured."""

    def pretrain(self, batch: int) -> None:
        """Nothing."""

    def finetune(self, batches: NDArray[np.int64], weights: FloatArray) -> None:
        """Nothing."""

    def evaluate(self) -> Evaluation:
        """Nothing to evaluate."""
        return Evaluation(0.0, 0.0, 0.0)


def world(devices: int, channel: Channel, gain: FloatArray, rounds: int) -> RunSpec:
    """``rounds`` fine-tuning rounds of ``devices`` devices, with budgets that never bind."""
    same = np.ones(devices)
    problem = Problem(
        Budget(1e9, 1e12),
        Learning(10.0, 0.05, 1.0, 0.05),
        Server(2e7, 1e-29, 8.0, 1e8, 2e10, 1.0, 512.0),
        Devices(
            cycles_per_sample=np.linspace(1e7, 4e7, devices),
            capacitance=1e-28 * same,
            gradient_variance=8.0 * same,
            weight=same / devices,
            min_frequency_hz=1e7 * same,
            max_frequency_hz=2e9 * same,
            min_batch=same,
            max_batch=256.0 * same,
            max_power_w=0.2 * same,
            gain=gain,
            bandwidth_hz=1e6 * same,
        ),
        Radio(4e-21, 154e3, 0.0, 0.0),
    )
    everyone = DevicesPlan(8.0 * same, 1e9 * same, 0.2 * same, 0.1 * same)
    plan = Plan(0, rounds, ServerPlan(32.0, 1e9), everyone)
    return RunSpec(
        problem=problem,
        plan=plan,
        prediction=predict(problem, plan),
        controller=FollowPlan(plan),
        learner=NoLearner(),
        channel=channel,
        access=Fdma(problem.devices.bandwidth_hz),
        downlink=FixedDownlink(delay_s=0.001),
        selection=np.random.default_rng(0),
    )


def floor(devices: int, rounds: int) -> None:
    """The same events in bare SimPy."""
    env = simpy.Environment()

    def device(k: int) -> Generator[simpy.Event, Any, None]:
        yield env.timeout(0.001)
        yield env.timeout(0.1 + 0.001 * k)
        yield env.timeout(0.05)

    def server() -> Generator[simpy.Event, Any, None]:
        for _ in range(rounds):
            yield env.all_of([env.process(device(k)) for k in range(devices)])

    env.run(env.process(server()))


def seconds(calls: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """The least processor time of each of ``calls``, which take turns: so what else goes on meets all of them alike."""
    least = dict.fromkeys(calls, math.inf)
    for _ in range(repeats):
        for name, call in calls.items():
            start = time.process_time()
            call()
            least[name] = min(least[name], time.process_time() - start)
    return least


def ratios(devices: int, repeats: int) -> tuple[float, dict[str, float]]:
    """Processor seconds of a device's round in bare SimPy, and how many times as long it takes in each world."""
    rounds = max(2, 5000 // devices)
    gain = 10.0 ** np.linspace(-12.0, -9.0, devices)
    still = StaticChannel(gain)
    fading = Rayleigh().build(Site(np.linspace(50.0, 500.0, devices), layout_seed=0), seed=0)
    leaving: dict[str, Any] = {"availability": Switches((True,) * devices, ((1e8,), *[()] * (devices - 1)))}
    living: dict[str, Any] = {"aggregation": SemiSynchronous(buffer=devices)}
    batteries: dict[str, Any] = {"faults": Faults(battery_j=1e9)}
    worlds: dict[str, tuple[Channel, dict[str, Any]]] = {
        "static": (still, {}),
        "Rayleigh": (fading, {}),
        "static, batteries": (still, batteries),
        "Rayleigh, batteries": (fading, batteries),
        "static, leaving": (still, batteries | leaving),
        "Rayleigh, leaving": (fading, batteries | leaving),
        "static, lived": (still, batteries | living),
        "Rayleigh, lived": (fading, batteries | living),
    }

    bare = partial(floor, devices, rounds)

    def emulate(channel: Channel, parts: dict[str, Any]) -> None:
        run(replace(world(devices, channel, gain, rounds), **parts), "bench", 0)

    found = seconds({name: partial(emulate, *each) for name, each in worlds.items()} | {FLOOR: bare}, repeats)
    return found[FLOOR] / (devices * rounds), {name: found[name] / found[FLOOR] for name in worlds}


def main() -> None:
    """Print device-rounds per second and the ratio to the floor."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    print(f"{'K':>6} {'engine':>20} {'device-rounds/s':>16} {'times the floor':>16}")
    for devices in options.devices:
        bare_s, found = ratios(devices, options.repeats)
        for name, ratio in {FLOOR: 1.0, **found}.items():
            print(f"{devices:6d} {name:>20} {1.0 / (bare_s * ratio):16.0f} {ratio:16.2f}")


if __name__ == "__main__":
    main()
