# %% [markdown]
# # A first comparison
#
# Ten devices with few samples each, thin bands and Rayleigh fading. The server has other data, roughly like
# theirs. Both share one budget of time and one of energy: how much of it should go into pre-training, how much
# into fine-tuning? `joint-ft` works it out, `finetune-only` never pre-trains, `uniform` shares everything
# equally.

# %%
import prefine

world = prefine.read_scenario("default", {"budget.delay_s": 8.0, "budget.energy_j": 40.0})
tables = prefine.compare(world, ["joint-ft", "finetune-only", "uniform"], seeds=3)
tables

# %% [markdown]
# Under a seed every policy meets the same channel, the same mini-batches and the same initial model, so gains
# are differences seed by seed. The course of the training over virtual time:

# %%
(axes,) = tables.plot.accuracy_over_time()

# %% [markdown]
# And where the energy went. `tables.plot.names` has all plots there are.

# %%
(axes,) = tables.plot.energy_by_part()

# %% [markdown]
# Everything is a pandas table: a row for each run, each round, each device in a round.

# %%
rounds = ["pretrain_rounds", "finetune_rounds"]
tables.runs[["policy", "seed", *rounds, "test_accuracy", "delay_s", "stop_reason"]]

# %% [markdown]
# What did the plan promise, and what does it make a device do? A plan needs no run.

# %%
solution = prefine.plan(world, "joint-ft")
plan = solution.plan
promised = solution.predicted
print(f"{plan.pretrain_rounds} + {plan.finetune_rounds} rounds, server batch {plan.server.batch:g}")
print(f"promised: {promised.delay_s:.2f} s, {promised.energy_j:.1f} J")
print("devices' batches:", plan.devices.batch.astype(int))
print("devices' powers in W:", plan.devices.power_w.round(3))

# %% [markdown]
# The same on the command line, with files and a report in `out/first`:
#
#     prefine compare default --set budget.delay_s=8 --set budget.energy_j=40 \
#         --policies joint-ft,finetune-only,uniform --seeds 3 --out out/first
