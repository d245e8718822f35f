# %% [markdown]
# # A paper's figure
#
# A sweep, one figure as wide as a column, and the table in LaTeX.

# %%
import tempfile
from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot

import prefine

folder = Path(tempfile.mkdtemp())
world = prefine.read_scenario("default", {"compare.evaluate_every": 1000})
delays = "budget.delay_s=4,8,16"
tables = prefine.sweep(world, [delays], policies=["joint-ft", "uniform"], seeds=3)
tables

# %% [markdown]
# `comparison` has one row for each policy and value, with mean, 95 % interval and paired difference of every
# figure. Fonts of type 42 are embedded whole, which the checkers of IEEE and ACM ask for.

# %%
wanted = {"font.size": 8, "font.family": "serif", "pdf.fonttype": 42, "ps.fonttype": 42}
with mpl.rc_context(wanted):
    figure, axes = pyplot.subplots(figsize=(3.5, 2.2), layout="constrained")
    drawn = {"markersize": 3, "capsize": 2}
    groups = tables.comparison.groupby("policy", sort=False)
    for marker, (policy, rows) in zip("os", groups, strict=True):
        delay_s, mean = rows["budget.delay_s"], rows["test_accuracy_mean"]
        half = rows["test_accuracy_ci95"]
        axes.errorbar(delay_s, mean, half, marker=marker, label=policy, **drawn)
    axes.set(xlabel="budget of time in s", ylabel="test accuracy")
    axes.set(xscale="log", ylim=(0.0, 1.0))
    axes.set_xticks([4, 8, 16], ["4", "8", "16"])
    axes.set_xticks([], minor=True)
    axes.legend(frameon=False)
    figure.savefig(folder / "accuracy.pdf")

# %% [markdown]
# The table for the paper needs `\usepackage{booktabs}`.

# %%
print(tables.to_latex())

# %% [markdown]
# What to cite: a sweep with `out="DIR"` leaves its tables there, and `prefine.cite("DIR")` is BibTeX of what
# its runs used.
