# %% [markdown]
# # A policy of one's own
#
# A policy is a class with `plan(problem) -> Plan`, and with `adapt(observation) -> RoundDecision` if it decides
# anew before each round. Its constructor takes keyword parameters with defaults.

# %%
from dataclasses import dataclass, replace

import prefine
from prefine.emulator.types import Observation, Plan, Problem, RoundDecision
from prefine.policies.baselines import Uniform


@dataclass(frozen=True)
class WaitForGoodChannels:
    """The plan of uniform; then only the devices take part whose gain is at least ``share`` of their own mean."""

    share: float = 0.5

    def plan(self, problem: Problem) -> Plan:
        return Uniform().plan(problem)

    def adapt(self, observation: Observation) -> RoundDecision:
        plan = observation.plan
        if observation.pretrain_rounds_done < plan.pretrain_rounds:
            return RoundDecision("pretrain", plan.server, plan.devices)
        if observation.finetune_rounds_done >= plan.finetune_rounds:
            return RoundDecision("stop", plan.server, plan.devices)
        good = observation.available * (observation.gain >= self.share * observation.facts.mean_gain)
        return RoundDecision("finetune", plan.server, plan.devices, participants=good if good.any() else None)


# %% [markdown]
# Is it one? `prefine.check_policy(WaitForGoodChannels)` tries it in a few small worlds and answers a line for
# each fault. What a run does not allow, it says in the same words; this one has a negative power:


# %%
class Negative:
    """What uniform plans, with the sign of the powers turned."""

    def plan(self, problem: Problem) -> Plan:
        plan = Uniform().plan(problem)
        return replace(plan, devices=replace(plan.devices, power_w=-plan.devices.power_w))


try:
    prefine.plan("default", Negative())
except prefine.PolicyError as error:
    print(error)

# %% [markdown]
# The first one competes. A dictionary gives labels, so one class can stand there several times.

# %%
world = prefine.read_scenario("default", {"compare.evaluate_every": 9})
policies = {"everybody": "uniform", "half": WaitForGoodChannels(), "all of the mean": WaitForGoodChannels(1.0)}
tables = prefine.compare(world, policies, seeds=4, reference="everybody")
tables

# %% [markdown]
# Who took part? `devices` has a row for each device and round.

# %%
finetuning = tables.rounds[tables.rounds["stage"] == "finetune"]
finetuning.groupby("policy", sort=False)["participants"].agg(["size", "mean"]).round(2)

# %% [markdown]
# Rounds without the devices in a fade are shorter, so more of the plan fits; each learns from fewer samples.

# %%
duration_s = (finetuning["end_s"] - finetuning["start_s"]).groupby(finetuning["policy"], sort=False).median()
duration_s.round(2)
