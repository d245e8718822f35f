"""A scenario as a Gymnasium environment: one step is one fine-tuning round of the emulator."""

from collections.abc import Generator
from typing import Any

import gymnasium
import numpy as np
import simpy
from gymnasium import spaces
from numpy.typing import NDArray

from prefine.emulator.encoding import CHOICES, COMMON, EACH, LARGEST, decided, seen
from prefine.emulator.errors import InputError
from prefine.emulator.plugins import POLICY, part
from prefine.emulator.records import RunResult
from prefine.emulator.scenario.scenario import Overrides
from prefine.emulator.scenario.source import Source, read_source
from prefine.emulator.simulation.control import Observe, check_decision
from prefine.emulator.simulation.run import Emulation
from prefine.emulator.types import AdaptivePolicy, Observation, Plan, RoundDecision

Vector = NDArray[np.float32]

NAME = "gym"
"""What records and messages call the policy that is outside."""


def _too_early() -> Observation:
    raise RuntimeError("the run has not begun")


class Outside:
    """Pre-trains as the plan says; before each fine-tuning round the clock waits until somebody outside decides."""

    stop_reason = "policy"

    def __init__(self, plan: Plan) -> None:
        self._plan, self._left = plan, plan.pretrain_rounds
        self._decision = RoundDecision("pretrain", plan.server, plan.devices)
        self._waiting: simpy.Event | None = None
        self.observe: Observe = _too_early

    @property
    def is_asking(self) -> bool:
        """Whether the clock stands still until `answer`."""
        return self._waiting is not None and not self._waiting.triggered

    def wait(self, env: simpy.Environment, observe: Observe) -> Generator[simpy.Event, Any, None]:
        """Until `answer` is called, once pre-training is done."""
        self.observe = observe
        if not self._left:
            self._waiting = env.event()
            yield self._waiting

    def answer(self, decision: RoundDecision) -> None:
        """The next round; it begins at the instant that was waited in, before all else that happens then."""
        if self._waiting is None:
            raise RuntimeError("nothing was asked")
        self._decision, event = decision, self._waiting
        event._ok, event._value = True, None  # as succeed() does, but ahead of what else is due now
        event.env.schedule(event, priority=simpy.events.URGENT)

    def decide(self, observe: Observe) -> RoundDecision:
        """A round of pre-training while there are any, then what was answered."""
        if self._left:
            self._left -= 1
        return self._decision


class EdgeLearning(gymnasium.Env[Vector, Vector]):
    """``prefine/EdgeLearning-v0``: a scenario in which somebody decides each fine-tuning round.

    ``scenario`` and ``overrides`` are as for `prefine.compare`; ``[gym]`` says whose plan pre-trains, and the reward.
    The observation, float32 (4 + 7 K,), is that of a policy as `prefine.emulator.encoding.seen` writes it; the action,
    float32 (4 K,) in [0, 1], is read by `decided`. ``reset(seed)`` begins the run with that seed: the same channel,
    faults, initial model and order of samples as any policy meets in it. An episode ends with a budget.

    Raises InputError where the scenario is wrong or has a ``base`` that decides by itself.
    """

    metadata = {"render_modes": []}  # noqa: RUF012  # as gymnasium declares it

    def __init__(self, scenario: Any = None, overrides: Overrides = ()) -> None:
        self._source: Source = read_source(scenario, overrides)
        self._world, self._settings = self._source.world(), self._source.scenario.gym
        base = part(POLICY, self._settings.base)
        self._policy = self._world.policy(base.name)
        if isinstance(self._policy, AdaptivePolicy):
            raise InputError(f"gym.base = {self._settings.base!r}: decides by itself; name a policy that only plans")
        self._plan = self._world.plan(base.name, self._policy)
        count = len(self._world.problem.devices)
        self.observation_space = spaces.Box(-LARGEST, LARGEST, (COMMON + EACH * count,), np.float32)
        self.action_space = spaces.Box(0.0, 1.0, (CHOICES * count,), np.float32)
        self._seed = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Vector, dict[str, Any]]:
        """Begin the run with ``seed``, or with one drawn, and pre-train."""
        super().reset(seed=seed)
        self._seed = int(self.np_random.integers(2**31)) if seed is None else seed
        self._outside = Outside(self._plan)
        self._run = Emulation(self._world.run_spec(NAME, self._policy, self._plan, self._seed, self._outside))
        self._advance()
        self._used = self._look()
        return self._vector(), self._facts()

    def step(self, action: Vector) -> tuple[Vector, float, bool, bool, dict[str, Any]]:
        """One fine-tuning round; its reward is 0 where a budget cut it off."""
        if not self._outside.is_asking:
            raise InputError("the episode has ended; call reset()")
        decision = decided(np.asarray(action, dtype=np.float64), self._observation)
        self._outside.answer(check_decision(NAME, self._world.problem, decision))
        self._advance()
        before, self._used = self._used, self._look()
        ended = not self._outside.is_asking
        reward = self._reward(before, self._used)
        return self._vector(), reward, ended, False, self._facts()

    def result(self) -> RunResult:
        """The records of the run that has ended, as a policy's would be."""
        return self._run.result(NAME, self._seed)

    def _advance(self) -> None:
        """Let the clock run until it waits for a decision or the run ends."""
        process = self._run.server.process
        while process.is_alive and not self._outside.is_asking:
            self._run.env.step()
        self._observation = self._outside.observe()  # once for each decision: looking counts in the facts

    def _vector(self) -> Vector:
        return seen(self._observation).astype(np.float32)

    def _look(self) -> tuple[float, float, float]:
        """What the reward counts: what is gained, and the shares of both budgets that are used."""
        evaluation, budget = self._run.server.evaluation, self._world.problem.budget
        score = evaluation.validation_accuracy
        score = evaluation.test_accuracy if np.isnan(score) else score
        worth = -evaluation.train_loss if self._settings.reward == "loss" else score
        return worth, self._run.env.now / budget.delay_s, self._run.account.total_j / budget.energy_j

    def _reward(self, before: tuple[float, float, float], after: tuple[float, float, float]) -> float:
        gained, delay, energy = (float(b - a) for a, b in zip(before, after, strict=True))
        reward = gained - self._settings.delay_price * delay - self._settings.energy_price * energy
        return reward if np.isfinite(reward) else -1.0

    def _facts(self) -> dict[str, Any]:
        server, evaluation = self._run.server, self._run.server.evaluation
        facts: dict[str, Any] = {
            "round": server.rounds_done["finetune"],
            "time_s": float(self._run.env.now),
            "energy_j": float(self._run.account.total_j),
            "train_loss": evaluation.train_loss,
            "test_accuracy": evaluation.test_accuracy,
        }
        return facts if server.process.is_alive else facts | {"stop_reason": str(server.process.value)}
