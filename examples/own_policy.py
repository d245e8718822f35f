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
    """As uniform plans, with the devices whose gain is at least ``share`` of its mean."""

    share: float = 0.5

    def plan(self, problem: Problem) -> Plan:
        return Uniform().plan(problem)

    def adapt(self, observation: Observation) -> RoundDecision:
        plan = observation.plan
        if observation.pretrain_rounds_done < plan.pretrain_rounds:
            return RoundDecision("pretrain", plan.server, plan.devices)
        if observation.finetune_rounds_done >= plan.finetune_rounds:
            return RoundDecision("stop", plan.server, plan.devices)
        enough = observation.gain >= self.share * observation.facts.mean_gain
        good = observation.available * enough
        chosen = good if good.any() else None  # None is everybody
        return RoundDecision("finetune", plan.server, plan.devices, participants=chosen)


# %% [markdown]
# Is it one? `prefine.check_policy(WaitForGoodChannels)` tries it in a few small worlds and answers a line for
# each fault. What a run does not allow, it says in the same words; this one has a negative power:


# %%
class Negative:
    """What uniform plans, with the sign of the powers turned."""

    def plan(self, problem: Problem) -> Plan:
        plan = Uniform().plan(problem)
        turned = replace(plan.devices, power_w=-plan.devices.power_w)
        return replace(plan, devices=turned)


try:
    prefine.plan("default", Negative())
except prefine.PolicyError as error:
    print(error)

# %% [markdown]
# The first one competes. A dictionary gives labels, so one class can stand there several times.

# %%
world = prefine.read_scenario("default", {"compare.evaluate_every": 9})
half, whole = WaitForGoodChannels(), WaitForGoodChannels(1.0)
policies = {"everybody": "uniform", "half the mean": half, "the mean": whole}
tables = prefine.compare(world, policies, seeds=4, reference="everybody")
tables

# %% [markdown]
# Who took part? `rounds` counts them; `devices` has a row for each device and round.

# %%
finetuning = tables.rounds[tables.rounds["stage"] == "finetune"]
finetuning.groupby("policy", sort=False)["participants"].agg(["size", "mean"]).round(2)

# %% [markdown]
# Fewer devices spend less energy, and each round learns from fewer samples. How long is a round?

# %%
duration_s = finetuning["end_s"] - finetuning["start_s"]
duration_s.groupby(finetuning["policy"], sort=False).median().round(2)
