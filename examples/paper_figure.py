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
tables = prefine.sweep(world, ["budget.delay_s=4,8,16"], policies=["joint-ft", "uniform"], seeds=3)
tables

# %% [markdown]
# `comparison` has one row for each policy and value, with mean, 95 % interval and paired difference of every
# figure. Fonts of type 42 are embedded whole, which the checkers of IEEE and ACM ask for.

# %%
wanted = {"font.size": 8, "font.family": "serif", "pdf.fonttype": 42, "ps.fonttype": 42}
with mpl.rc_context(wanted):
    figure, axes = pyplot.subplots(figsize=(3.5, 2.2), layout="constrained")
    for marker, (policy, rows) in zip("os", tables.comparison.groupby("policy", sort=False), strict=True):
        mean, half = rows["test_accuracy_mean"], rows["test_accuracy_ci95"]
        axes.errorbar(rows["budget.delay_s"], mean, half, marker=marker, markersize=3, capsize=2, label=policy)
    axes.set(xlabel="budget of time in s", ylabel="test accuracy", xscale="log", ylim=(0.0, 1.0))
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
