"""
How large a network do handwritten digits need?
===============================================

A lattice may use up to 16 channels in each of 4 layers, over 4 recurrent steps. How much of that it does use depends
on what channels, layers and steps cost. Here a grid search sets the three prices, and we look at what each lattice
came to: its accuracy, the time it takes, and its costs.
"""

# %%
# A grid over the three pressures
# -------------------------------
#
# The pressures are hyperparameters like any other. Each scales a cost that is about 1 for a fresh lattice, so values
# around 1 are felt, and 0 switches a cost off. To be quick, the search sees 700 images. Scikit-learn's progress bar
# shows the search, its fits and their epochs.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.callback import ProgressBar
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, train_test_split

from growlattice import LatticeClassifier

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)


def resources(estimator, X, y):
    """Scores of one fit: accuracy and steps used on images it has not seen, and the costs of its three resources."""
    costs = {f"{name} cost": estimator.costs_[name] for name in ("breadth", "depth", "time")}
    return {"accuracy": estimator.score(X, y), "time used": estimator.time_used(X).mean(), **costs}


search = GridSearchCV(
    LatticeClassifier(max_epochs=20, random_state=0),
    {"breadth_pressure": [0.0, 1.0], "depth_pressure": [0.0, 1.0], "time_pressure": [0.0, 0.2]},
    scoring=resources,
    refit=False,
    cv=2,
    n_jobs=2,
)
search.set_callbacks(ProgressBar())
search.fit(X_train[:700], y_train[:700])

# %%
# What the pressures buy
# ----------------------
#
# Each pressure lowers its own cost. The accuracy tells what that was worth.

results = pd.DataFrame(search.cv_results_)
columns = [name for name in results if name.startswith(("param_", "mean_test_"))]
table = results[columns].rename(columns=lambda name: name.removeprefix("param_").removeprefix("mean_test_"))
print(table.round(3).to_string(index=False))

# %%
# One lattice, looked at
# ----------------------
#
# With all three pressures on, the weights gather in few channels, most of them in the lower layers. Most images take
# two steps, and some three.

clf = LatticeClassifier(breadth_pressure=1.0, depth_pressure=1.0, time_pressure=0.2, random_state=0, verbose=1)
clf.fit(X_train, y_train)
print(f"accuracy on unseen images: {clf.score(X_test, y_test):.3f}")
print(f"time used on unseen images: {clf.time_used(X_test).mean():.2f} of {clf.max_steps} steps")

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
magnitude = -np.sort(-clf.channel_magnitude_, axis=1)
n_layers, n_channels = magnitude.shape
extent = (0.5, n_channels + 0.5, 0.5, n_layers + 0.5)
picture = left.imshow(magnitude, origin="lower", aspect="auto", extent=extent, vmin=0)
figure.colorbar(picture, ax=left, label="weight magnitude (1 = untrained)")
left.set(title="Breadth and depth", xlabel="channel, by rank", ylabel="layer", yticks=range(1, n_layers + 1))
right.hist(clf.time_used(X_test), bins=np.linspace(1, clf.max_steps, 31), color="tab:blue")
right.set(title="Time", xlabel="time used (steps)", ylabel="images", xlim=(1, clf.max_steps))
figure.savefig("quickstart.png", dpi=120)
print("picture saved as quickstart.png")
