"""Train the policy of learned.py by PPO (Schulman et al., 2017) for two minutes, and write its weights without pickle.

It needs `pip install 'prefine[gym]' stable-baselines3`, best in an environment of its own. Training runs on the seeds
from 10,000 on, which no comparison uses.

    python examples/train_ppo.py default 120
"""

import sys
import time
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback

from prefine.gym import ENVIRONMENT

FIRST_SEED = 10_000


class OwnSeeds(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Every episode is another run, from `FIRST_SEED` on."""

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        self._next = FIRST_SEED

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """The next run."""
        self._next += 1
        return self.env.reset(seed=self._next, options=options)


class Deadline(BaseCallback):
    """Stops after so many seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._end_s = time.monotonic() + seconds

    def _on_step(self) -> bool:
        return time.monotonic() < self._end_s


def layers(model: PPO) -> list[Any]:
    """The linear layers from observation to the mean of the action."""
    hidden = [layer for layer in model.policy.mlp_extractor.policy_net if hasattr(layer, "weight")]
    return [*hidden, model.policy.action_net]


def main(scenario: str = "default", seconds: str = "120") -> None:
    """Train on ``scenario`` and write learned.npz beside this file."""
    env = OwnSeeds(gymnasium.make(ENVIRONMENT, scenario=scenario))
    model = PPO("MlpPolicy", env, n_steps=256, batch_size=64, gamma=1.0, learning_rate=1e-3, seed=0, device="cpu")
    model.policy.action_net.bias.data.fill_(0.6)  # begin in the middle: zero would be no power and the least batch
    model.policy.log_std.data.fill_(-1.5)
    model.learn(10**9, callback=Deadline(float(seconds)))
    arrays = {}
    for number, layer in enumerate(layers(model)):
        arrays[f"w{number}"] = layer.weight.detach().numpy()
        arrays[f"b{number}"] = layer.bias.detach().numpy()
    np.savez(Path(__file__).parent / "learned.npz", **arrays)
    print(f"{model.num_timesteps} rounds in {env._next - FIRST_SEED} runs")


if __name__ == "__main__":
    main(*sys.argv[1:])
