"""A policy that was learnt: a small network reads what a policy sees and decides each fine-tuning round.

    prefine compare default --policies examples/learned.py:Learned,joint-online,joint-ft

Its weights are plain arrays in learned.npz beside this file; examples/train_ppo.py made them.
"""

from pathlib import Path

import numpy as np

from prefine.emulator.encoding import decided, seen
from prefine.emulator.errors import InputError
from prefine.emulator.types import Observation, Plan, Problem, RoundDecision
from prefine.policies.joint import JointFinetune


class Learned:
    """Pre-trains as joint-ft plans; then a perceptron with tanh units decides, round by round, until a budget ends."""

    def __init__(self, *, weights: str = "learned.npz") -> None:
        with np.load(Path(__file__).parent / weights, allow_pickle=False) as arrays:
            self._layers = [(arrays[f"w{i}"], arrays[f"b{i}"]) for i in range(len(arrays) // 2)]

    def plan(self, problem: Problem) -> Plan:
        """The plan of joint-ft."""
        wanted, have = self._layers[0][0].shape[1], 4 + 7 * len(problem.devices)
        if wanted != have:
            raise InputError(f"learned.npz was trained on {(wanted - 4) // 7} devices, not {len(problem.devices)}")
        return JointFinetune().plan(problem)

    def adapt(self, observation: Observation) -> RoundDecision:
        """A round of pre-training while the plan has any left, then what the network says."""
        plan = observation.plan
        if observation.pretrain_rounds_done < plan.pretrain_rounds:
            return RoundDecision("pretrain", plan.server, plan.devices)
        x = seen(observation).astype(np.float32)
        *hidden, last = self._layers
        for weight, bias in hidden:
            x = np.tanh(weight @ x + bias)
        return decided(np.clip(last[0] @ x + last[1], 0.0, 1.0), observation)
