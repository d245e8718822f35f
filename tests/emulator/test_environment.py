"""The Gymnasium environment, against the same decisions made by a policy, and gymnasium's own checker."""

import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import prefine
from prefine.emulator.encoding import COMMON, EACH, decided, seen
from prefine.emulator.errors import InputError
from prefine.emulator.simulation.run import run
from prefine.emulator.types import Observation, Plan, Problem, RoundDecision

gymnasium = pytest.importorskip("gymnasium")

from gymnasium.utils.env_checker import check_env  # noqa: E402

from prefine.emulator.environment import EdgeLearning  # noqa: E402
from prefine.gym import ENVIRONMENT  # noqa: E402
from prefine.policies.joint import JointFinetune  # noqa: E402

SCENARIO: dict[str, Any] = {
    "budget": {"delay_s": 6.0, "energy_j": 40.0},
    "task": {"samples": 60, "model": "logistic"},
    "devices": {"count": 4, "cycles_per_sample": 2e7, "max_batch": 32},
    "radio": {"bandwidth_hz": 1e5, "downlink": {"mode": "fixed", "delay_s": 0.05}},
    "channel": {"model": "rayleigh"},
    "faults": {"dropout": {"mean_up_s": 2.0, "mean_down_s": 0.3}},
    "learning": {
        "smoothness": 4.0,
        "initial_gap": 2.0,
        "discrepancy": 0.3,
        "server_variance": 10.0,
        "device_variance": 5.0,
        "pretrain_contraction": 0.03,
        "pretrain_floor": 0.8,
    },
}


def actions(count: int) -> Iterator[np.ndarray]:
    """The same endless sequence each time."""
    generator = np.random.default_rng(7)
    while True:
        yield generator.uniform(0.0, 1.0, count).astype(np.float32)


class Drawn:
    """The plan of joint-ft; then the rounds that `actions` mean."""

    def __init__(self) -> None:
        self._actions = actions(16)

    def plan(self, problem: Problem) -> Plan:
        return JointFinetune().plan(problem)

    def adapt(self, observation: Observation) -> RoundDecision:
        plan = observation.plan
        if observation.pretrain_rounds_done < plan.pretrain_rounds:
            return RoundDecision("pretrain", plan.server, plan.devices)
        return decided(np.asarray(next(self._actions), dtype=np.float64), observation)


def test_the_environment_is_the_run_that_a_policy_with_the_same_decisions_has() -> None:
    env = EdgeLearning(SCENARIO)
    _, facts = env.reset(seed=3)
    ended, steps, rewards, start = False, 0, 0.0, facts["train_loss"]
    source = actions(16)
    while not ended:
        _, reward, ended, truncated, facts = env.step(next(source))
        steps, rewards = steps + 1, rewards + reward
        assert not truncated
    mine = env.result()
    world = env._world
    policy = Drawn()
    theirs = run(world.run_spec("gym", policy, world.plan("gym", policy), 3), "gym", 3)
    assert repr(mine) == repr(theirs)  # to the last bit, NaN included
    assert mine.run.finetune_rounds in (steps - 1, steps)
    assert facts["stop_reason"] == mine.run.stop_reason in ("delay", "energy")
    assert rewards == pytest.approx(start - mine.run.train_loss, rel=1e-6)
    with pytest.raises(InputError, match="call reset"):
        env.step(next(source))


def test_gymnasium_finds_nothing_wrong() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(EdgeLearning(SCENARIO), skip_render_check=True)


def test_it_is_registered_and_can_be_vectorised() -> None:
    several = gymnasium.make_vec(ENVIRONMENT, num_envs=2, vectorization_mode="sync", scenario=SCENARIO)
    vectors, _ = several.reset(seed=5)
    assert vectors.shape == (2, COMMON + EACH * 4)
    assert np.isfinite(vectors).all()
    assert not np.array_equal(vectors[0], vectors[1])  # seeds 5 and 6
    vectors, rewards, *_ = several.step(several.action_space.sample())
    assert rewards.shape == (2,)
    several.close()


def test_prices_are_taken_from_the_reward() -> None:
    plain, priced = (
        EdgeLearning({**SCENARIO, "gym": {"reward": "accuracy", **prices}})
        for prices in ({}, {"delay_price": 2.0, "energy_price": 0.5})
    )
    action = np.full(16, 0.6, dtype=np.float32)
    seen_ = []
    for env in (plain, priced):
        _, before = env.reset(seed=1)
        _, reward, _, _, after = env.step(action)
        seen_.append((reward, after["time_s"] - before["time_s"], after["energy_j"] - before["energy_j"]))
    (gained, time_s, energy_j), (net, *_) = seen_
    assert net == pytest.approx(gained - 2.0 * time_s / 6.0 - 0.5 * energy_j / 40.0)


def test_what_fractions_mean() -> None:
    env = EdgeLearning(SCENARIO)
    env.reset(seed=0)
    observation = replace(env._observation, available=np.array([1.0, 0.0, 1.0, 1.0]))
    devices = observation.problem.devices
    low = decided(np.zeros((4, 4)), observation)
    assert low.participants is not None
    assert low.participants.tolist() == [1.0, 0.0, 1.0, 1.0]  # all level: all that are there
    assert low.devices.batch.tolist() == devices.min_batch.tolist()
    assert (low.devices.power_w > 0.0).all()
    some = np.full((4, 4), 0.5)
    some[0] = [0.2, 0.9, 0.4, 0.3]
    choice = decided(some, observation)
    assert choice.participants is not None
    assert choice.participants.tolist() == [0.0, 0.0, 1.0, 0.0]  # nobody has a half; the keenest that is there
    high = decided(np.full((4, 4), np.nan_to_num(np.inf)), observation)
    assert high.devices.frequency_hz.tolist() == devices.max_frequency_hz.tolist()
    assert high.devices.power_w.tolist() == devices.max_power_w.tolist()
    vector = seen(observation)
    assert vector[: COMMON - 1] == pytest.approx([1.0, 1.0, 0.0], abs=0.6)
    assert vector[COMMON + 1 :: EACH].tolist() == [1.0, 0.0, 1.0, 1.0]


def test_a_base_that_decides_by_itself_is_refused() -> None:
    with pytest.raises(InputError, match="decides by itself"):
        EdgeLearning({**SCENARIO, "gym": {"base": "joint-online"}})


def test_the_example_that_was_learnt_competes() -> None:
    spec = f"{Path(__file__).parents[2] / 'examples' / 'learned.py'}:Learned"
    scenario = {**SCENARIO, "devices": {**SCENARIO["devices"], "count": 10}}
    runs = prefine.compare(scenario, [spec, "uniform"], seeds=1, reference="uniform").runs
    assert runs["status"].tolist() == ["done", "done"]
    assert runs["finetune_rounds"].min() > 0
    with pytest.raises(InputError, match="trained on 10 devices, not 4"):
        prefine.compare(SCENARIO, [spec, "uniform"], seeds=1, reference="uniform")


def test_the_environment_looks_once_for_each_decision() -> None:
    env = EdgeLearning(SCENARIO)
    env.reset(seed=2)
    gains = [env._observation.gain]
    for _ in range(3):
        env.step(np.full(16, 0.4, dtype=np.float32))
        gains.append(env._observation.gain)
        assert env._observation.facts.mean_gain == pytest.approx(np.mean(gains, axis=0))
