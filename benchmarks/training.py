"""Federated rounds a second: this learner, alone and inside the engine, against plain torch loops on the same work.

Every contestant does the same rounds: ten devices, mini-batches out of the UCI digits, one weighted SGD step. The floor
is the loop anyone would write if all data lay in one place: draw one mini-batch, forward, backward, step; no devices,
no clock, no records. Rounds are timed in turns and in processor time of one thread, so that other work on the machine
matters little. Flower, where it is installed (`benchmarks.flower`), is timed in wall time, since its devices run in
other processes. Run it as: python -m benchmarks.training
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from typing import Literal

import numpy as np
import torch
from torch.nn import functional

from benchmarks.digits import DECAY, DEVICES, RATE, workload
from benchmarks.engine import world
from prefine.emulator.channel.base import StaticChannel
from prefine.emulator.scenario.study import CompareSettings
from prefine.emulator.simulation.control import FollowPlan
from prefine.emulator.simulation.deferred import MOST
from prefine.emulator.simulation.run import run

WEIGHTS = np.full(DEVICES, 1.0 / DEVICES)
GAIN = np.full(DEVICES, 1e-10)
FLOWER = find_spec("flwr") is not None and find_spec("ray") is not None
FLOWER_ROUNDS = 10, 40
"""Rounds left out, while its workers load libraries and data; rounds in all."""

Loop = Callable[[int], object]


def plain(model: str, batch: int) -> Loop:
    """The floor: all devices' samples as one mini-batch, torch's own SGD."""
    made = workload(model)
    network, task = made.objective(0).network, made._federation.task
    optimiser = torch.optim.SGD(network.parameters(), lr=RATE, weight_decay=DECAY)
    generator = torch.Generator().manual_seed(0)

    def loop(rounds: int) -> None:
        for _ in range(rounds):
            rows = torch.randint(len(task), (DEVICES * batch,), generator=generator)
            optimiser.zero_grad()
            functional.cross_entropy(network(task.x[rows]), task.y[rows]).backward()  # type: ignore[no-untyped-call]
            optimiser.step()

    return loop


def device_by_device(model: str, batch: int) -> Loop:
    """A lean federated loop: every device's gradient in turn, then their mean."""
    made = workload(model)
    network, task = made.objective(0).network, made._federation.task
    parameters = list(network.parameters())
    held = [torch.from_numpy(part) for part in made._federation.parts]
    generator = torch.Generator().manual_seed(0)

    def loop(rounds: int) -> None:
        for _ in range(rounds):
            total = [DECAY * p.detach() for p in parameters]
            for part in held:
                rows = part[torch.randint(len(part), (batch,), generator=generator)]
                loss = functional.cross_entropy(network(task.x[rows]), task.y[rows])
                for mean, gradient in zip(total, torch.autograd.grad(loss, parameters), strict=True):
                    mean.add_(gradient, alpha=1.0 / DEVICES)
            with torch.no_grad():
                for parameter, mean in zip(parameters, total, strict=True):
                    parameter.sub_(mean, alpha=RATE)

    return loop


def learner(model: str, batch: int, **training: object) -> Loop:
    """`prefine.models.learner.Learner`, without a clock, told of as many rounds at once as a run puts off."""
    trained = workload(model, **training).learner(0, RATE)
    batches = np.full(DEVICES, batch)

    def loop(rounds: int) -> None:
        for done in range(0, rounds, MOST):
            trained.finetune_rounds(batches, WEIGHTS, min(MOST, rounds - done))

    return loop


def emulated(model: str, batch: int, evaluate_every: int | Literal["auto"]) -> Loop:
    """The same rounds on the virtual clock, with uploads, energies, records and audit."""
    made = workload(model)
    compare = CompareSettings(evaluate_every=evaluate_every)

    def loop(rounds: int) -> object:
        spec = world(DEVICES, StaticChannel(GAIN), GAIN, rounds)
        everyone = replace(spec.plan.devices, batch=np.full(DEVICES, float(batch)))
        plan = replace(spec.plan, devices=everyone)
        spec = replace(spec, plan=plan, controller=FollowPlan(plan), evaluate_every=compare.spacing(plan, made))
        return run(replace(spec, learner=made.learner(0, RATE)), "bench", 0)

    return loop


def print_flower(model: str, batch: int, floor_s: float) -> None:
    """Flower's row and what its start takes; ``floor_s`` is the processor time of a round of the plain loop."""
    from benchmarks.flower import flower

    first, rounds = FLOWER_ROUNDS
    ran = flower(model, batch)(rounds)
    round_s = ran.round_s(first)
    print(f"{model:>8} {'Flower, wall time':>30} {1.0 / round_s:10.1f} {floor_s / round_s:13.4f}")
    print(f"{'':>8} {'':>30} its timer allows 10 a second; start and stop took {ran.startup_s(first):.1f} s")


def main() -> None:
    """Print rounds a second and the ratio to the plain loop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=["mlp", "cnn"])
    parser.add_argument("--batch", type=int, default=16, help="samples of a device in a round")
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'model':>8} {'contestant':>30} {'rounds/s':>10} {'of the floor':>13}")
    for model in options.models:
        contestants: dict[str, Loop] = {
            "plain fused loop (floor)": plain(model, options.batch),
            "learner": learner(model, options.batch),
            "learner in the engine": emulated(model, options.batch, options.rounds),
            "same, evaluated every 10": emulated(model, options.batch, 10),
            "same, evaluated by auto": emulated(model, options.batch, "auto"),
            "lean loop, device by device": device_by_device(model, options.batch),
            "learner, top-k uploads": learner(model, options.batch, upload="top-k"),
            "learner, 3 local steps": learner(model, options.batch, local_steps=3),
        }
        times: dict[str, list[float]] = {name: [] for name in contestants}
        for loop in contestants.values():
            loop(20)
        for _ in range(options.repeats):
            for name, loop in contestants.items():
                start = time.process_time()
                loop(options.rounds)
                times[name].append(time.process_time() - start)
        floor = float(np.median(times["plain fused loop (floor)"]))
        for name, spent in times.items():
            median = float(np.median(spent))
            print(f"{model:>8} {name:>30} {options.rounds / median:10.0f} {floor / median:13.2f}")
        share = workload(model).evaluation_samples / (DEVICES * options.batch)
        print(f"{model:>8} {'':>30} an evaluation has the arithmetic of {share:.1f} rounds")
        if FLOWER:
            print_flower(model, options.batch, floor / options.rounds)
    if not FLOWER:
        print(
            "Flower is not installed; it needs an environment of its own: pip install --editable . 'flwr[simulation]'"
        )


if __name__ == "__main__":
    main()
