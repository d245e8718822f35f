# %% [markdown]
# # Own trace, model and data
#
# Links as they were measured, a network of your own, and data of your own: three files that the scenario names.

# %%
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

import prefine

folder = Path(tempfile.mkdtemp())

# %% [markdown]
# **The trace** is a CSV file with three columns: from `time_s` on, `device` has the gain `gain_db`. Here are
# two walkers who pass behind a house. Logs of other forms (rates, SNR, phone logs, packet traces) become one by
# `prefine trace convert`.

# %%
time_s = np.arange(0.0, 20.0, 0.5)
behind = np.stack([(time_s > 6.0) & (time_s < 9.0), (time_s > 12.0) & (time_s < 17.0)])
noise_db = np.random.default_rng(0).normal(0.0, 2.0, behind.shape)
gain_db = -100.0 - 15.0 * behind + noise_db
walkers = [pd.DataFrame({"time_s": time_s, "device": k, "gain_db": gain_db[k]}) for k in range(2)]
measured = pd.concat(walkers)
measured.to_csv(folder / "walk.csv", index=False)

# %% [markdown]
# **The data** come from a function that returns general, task and test samples, each as features and targets.
# Whole-number targets are classes. Here the server knows strong wines only, and the devices meet all of them.

# %%
_ = (folder / "wine.py").write_text('''
import numpy as np
from sklearn.datasets import load_wine


def wine():
    """Three cultivars by 13 features; general samples are above the median of alcohol."""
    x, y = load_wine(return_X_y=True)
    x = ((x - x.mean(axis=0)) / x.std(axis=0)).astype(np.float32)
    order = np.random.default_rng(0).permutation(len(x))
    test, rest = order[:50], order[50:]
    strong = x[rest, 0] > np.median(x[rest, 0])
    return (x[rest[strong]], y[rest[strong]]), (x[rest], y[rest]), (x[test], y[test])
''')

# %% [markdown]
# **The model** is a function of the shape of a sample and the number of classes; it returns a
# `torch.nn.Module`. What a sample costs and how many bits an upload has is counted.

# %%
_ = (folder / "net.py").write_text('''
from torch import nn


def net(shape, outputs):
    """One hidden layer."""
    return nn.Sequential(nn.Linear(shape[0], 16), nn.Tanh(), nn.Linear(16, outputs))
''')

# %% [markdown]
# The scenario names all three. Paths in a dictionary start from the working directory, in a TOML file from the
# file's folder.

# %%
world = prefine.read_scenario(
    {
        "name": "own",
        "budget": {"delay_s": 4.0, "energy_j": 20.0},
        "task": {
            "data": f"{folder}/wine.py:wine",
            "model": f"{folder}/net.py:net",
            "samples": 60,
        },
        "server": {"cycles_per_sample": 2e7},
        "devices": {"count": 6, "cycles_per_sample": 2e7},
        "radio": {"bandwidth_hz": 2e4},
        "compare": {"evaluate_every": 5},
        "channel": {"model": "trace", "trace": f"{folder}/walk.csv"},
    }
)
problem = prefine.validate(world)
print(f"upload of {problem.radio.uplink_bits / 1e3:.1f} kbit")
gain_db = 10.0 * np.log10(problem.devices.gain)
print("gains that a planner reckons with, in dB:", gain_db.round(1))

# %% [markdown]
# Six devices replay two walkers, each from a place of its own.

# %%
tables = prefine.compare(world, ["joint-ft", "uniform"], seeds=2, reference="uniform")
tables

# %%
axes = tables.plot.timeline()
