"""
How accurate are lattices at what price?
========================================

Accuracy and resources trade off, and no price is right for everybody. So train a
lattice for each of many prices, keep them all, and compare them. Here six small
lattices are trained, at three prices of channels and two prices of steps. The same
lines make a sweep of a thousand: see :doc:`/sweeps`.
"""

# %%
# What it will take
# -----------------
#
# With ``memory``, every fitted lattice stays in a folder. The first one tells how long
# the sweep will take, and how much disk. No time is lost, because the search finds this
# lattice in the folder.

import os
import tempfile

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, train_test_split

from growlattice import LatticeClassifier, read_sweep
from growlattice.metrics import pareto_front

X, y = load_digits(n_class=5, return_X_y=True)  # zeros to fours
train, test = train_test_split(
    np.arange(len(y)), train_size=448, stratify=y, random_state=0
)
breadth_pressures, time_pressures = [0.0, 1.0, 5.0], [0.0, 0.8]
n_fits = len(breadth_pressures) * len(time_pressures)
folder = tempfile.mkdtemp()
lattice = LatticeClassifier(
    max_channels=8,
    max_layers=3,
    max_steps=3,
    max_epochs=8,
    lr=0.02,
    memory=folder,
    random_state=0,
)

lattice.fit(X[train], y[train])
first = read_sweep(folder).loc[0]
print(f"{n_fits} lattices of {first['n_parameters']:,} parameters")
print(f"time: about {n_fits * first['seconds']:.0f} seconds")
print(f"disk: about {n_fits * os.path.getsize(first['path']) / 1e3:.0f} kB")

# %%
# The sweep
# ---------
#
# If you kill the program here and start it again with the same folder, it trains only
# what is missing.

search = GridSearchCV(
    lattice,
    {"breadth_pressure": breadth_pressures, "time_pressure": time_pressures},
    cv=[(train, test)],
    refit=False,
)
search.fit(X, y)

# %%
# What is in the folder
# ---------------------
#
# ``read_sweep`` gives a row for each lattice, with figures on the training images. For
# others, ``load`` gives the lattice itself. Here each lattice is pruned to 98 % of its
# accuracy above chance on the training images, and scored on unseen images.

sweep = read_sweep(folder).sort_values(["breadth_pressure", "time_pressure"])
lattices = [load().prune(X[train], y[train]) for load in sweep["load"]]
sweep["macs_pruned"] = [lattice.macs_per_image_ for lattice in lattices]
sweep["test_accuracy"] = [lattice.score(X[test], y[test]) for lattice in lattices]
sweep["on_front"] = pareto_front(
    sweep, minimize=["macs_pruned"], maximize=["test_accuracy"]
)
columns = [
    "breadth_pressure",
    "time_pressure",
    "time_used",
    "macs_pruned",
    "test_accuracy",
    "on_front",
]
print(sweep[columns].round(3).to_string(index=False))

# %%
# Which lattice to take
# ---------------------
#
# On the left is accuracy before pruning, as the search measured it. On the right, each
# point is a pruned lattice. For those on the line, no other is both cheaper and more
# accurate. Which one to take depends on what an image may cost.

figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.9), layout="constrained")
accuracy = search.cv_results_["mean_test_score"].reshape(
    len(breadth_pressures), len(time_pressures)
)
left.imshow(accuracy, origin="lower", aspect="auto")
for (row, column), value in np.ndenumerate(accuracy):
    dark = value < (accuracy.min() + accuracy.max()) / 2
    left.text(
        column,
        row,
        f"{value:.2f}",
        ha="center",
        va="center",
        color="white" if dark else "black",
    )
left.set_xticks(range(len(time_pressures)), time_pressures)
left.set_yticks(range(len(breadth_pressures)), breadth_pressures)
left.set(
    title="Before pruning: accuracy on unseen images",
    xlabel="time pressure",
    ylabel="breadth pressure",
)

for pressure, marker in zip(breadth_pressures, "osD", strict=True):
    rows = sweep[sweep["breadth_pressure"] == pressure]
    points = right.scatter(
        rows["macs_pruned"] / 1e6,
        rows["test_accuracy"],
        c=rows["time_pressure"],
        cmap="plasma",
        vmin=0,
        vmax=1.8,
        marker=marker,
        label=f"breadth pressure {pressure}",
        zorder=2,
    )
front = sweep[sweep["on_front"]].sort_values("macs_pruned")
right.plot(
    front["macs_pruned"] / 1e6,
    front["test_accuracy"],
    color="0.6",
    zorder=1,
    label="Pareto front",
)
figure.colorbar(points, ax=right, label="time pressure", ticks=time_pressures)
figure.legend(loc="outside lower right", ncols=4, fontsize="small")
right.set(
    title="After pruning",
    xlabel="multiply-accumulates per image (millions)",
    ylabel="accuracy on unseen images",
)
plt.show()
