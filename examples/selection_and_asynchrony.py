# %% [markdown]
# # Selection and asynchrony
#
# Who should take part in a round, and who waits for whom?

# %%
import prefine
from prefine.policies.baselines import Uniform
from prefine.policies.selection.scheduling import BestChannel, RandomK

few = {"budget.delay_s": 10.0, "devices.count": 10, "task.samples": 200}
constants = {"smoothness": 5.0, "initial_gap": 2.3, "discrepancy": 0.4}
constants |= {"server_variance": 10.0, "device_variance": 8.0}
constants |= {"pretrain_contraction": 0.02, "pretrain_floor": 1.0}
few |= {"learning": constants}  # given, so that nothing has to be measured first

# %% [markdown]
# **A rule of selection** goes on top of any policy: `RULE(...).over(POLICY)` is a policy again.

# %%
crowd = prefine.read_scenario("selection", few)
base = Uniform()
policies = {
    "everybody": base,
    "four at random": RandomK(count=4).over(base),
    "best four": BestChannel(count=4).over(base),
}
chosen = prefine.compare(crowd, policies, seeds=2, reference="everybody")
chosen

# %% [markdown]
# Best channels make the most rounds; they are always the same devices, and what only the others have seen is
# never learnt. `clients` says how the final model does on each device's own test samples.

# %%
chosen.clients.groupby("policy", sort=False)["test_accuracy"].agg(["mean", "min"]).round(2)

# %% [markdown]
# **Waiting** is the scenario's: `aggregation.mode`. The same budgets, used until one of them ends.

# %%
slow = {"devices.cycles_per_sample": [1e7] * 8 + [1e8] * 2, "aggregation.buffer": 5}
world = prefine.read_scenario("stragglers", few | slow)
modes = "aggregation.mode=synchronous,semi-synchronous,asynchronous"
waiting = prefine.sweep(world, [modes], policies=["uniform"], seeds=2)
waiting

# %%
panels = waiting.plot.accuracy_over_time()
