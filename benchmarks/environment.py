"""The Gymnasium environment against the engine: the same rounds, decided from outside and by a policy.

``python -m benchmarks.environment [--runs 5]`` prints fine-tuning rounds a second of both, with one model that really
trains and with a linear one, and their ratio.
"""

import argparse
import time
from typing import Any

import numpy as np

from prefine.emulator.encoding import decided
from prefine.emulator.environment import EdgeLearning
from prefine.emulator.simulation.run import run
from prefine.emulator.types import Observation, Plan, Problem, RoundDecision
from prefine.policies.joint import JointFinetune


class Constant:
    """The plan of joint-ft; then always the same round."""

    def __init__(self, action: np.ndarray[Any, np.dtype[np.float64]]) -> None:
        self._action = action

    def plan(self, problem: Problem) -> Plan:
        """Of joint-ft."""
        return JointFinetune().plan(problem)

    def adapt(self, observation: Observation) -> RoundDecision:
        """What `EdgeLearning` makes of the same action."""
        plan = observation.plan
        if observation.pretrain_rounds_done < plan.pretrain_rounds:
            return RoundDecision("pretrain", plan.server, plan.devices)
        return decided(self._action, observation)


def measure(overrides: list[str], runs: int) -> tuple[float, float]:
    """Rounds a second in the environment, and of a policy's runs: the best of ``runs``."""
    env = EdgeLearning("default", overrides)
    action = np.full(env.action_space.sample().shape, 0.3)
    sent = action.astype(np.float32)
    world, policy = env._world, Constant(action)
    plan = world.plan("gym", policy)
    outside, inside = [], []
    for seed in range(runs):
        begin, steps, ended = time.process_time(), 0, False
        env.reset(seed=seed)
        while not ended:
            _, _, ended, _, _ = env.step(sent)
            steps += 1
        outside.append(steps / (time.process_time() - begin))
        begin = time.process_time()
        done = run(world.run_spec("gym", policy, plan, seed), "gym", seed).run.finetune_rounds
        inside.append(done / (time.process_time() - begin))
    return max(outside), max(inside)


def main() -> None:
    """Print a row for each model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    print("model     rounds/s in gym   of a policy   ratio")
    for model in ("logistic", "mlp"):
        overrides = [f"task.model={model}", "budget.delay_s=40", "budget.energy_j=400", "compare.evaluate_every=10"]
        outside, inside = measure(overrides, runs)
        print(f"{model:9} {outside:15.0f} {inside:13.0f} {outside / inside:7.2f}")


if __name__ == "__main__":
    main()
